# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Callbacks for any `transformers.Trainer`."""

import ctypes
import os
import signal
import sys
import time

import torch
from safetensors.torch import load_model, save_model
from torch.optim.swa_utils import AveragedModel
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from ..errors import DataError
from .checkpoints import MANIFEST_NAME


AVERAGE_NAME = "average.safetensors"


class ResumeCallback(TrainerCallback):
    """
    Makes a resumed run equal to an uninterrupted one: sets the epoch of collator and sampler, on which their draws
    depend, and restores the counter of early stopping.
    """

    def __init__(self, trainer: Trainer):
        self.trainer = trainer

    def on_train_begin(self, args, state, control, **kwargs):
        saved = state.stateful_callbacks.get(EarlyStoppingCallback.__name__)
        for callback in self.trainer.callback_handler.callbacks:
            if isinstance(callback, EarlyStoppingCallback) and isinstance(saved, dict) and state.global_step:
                callback.early_stopping_patience_counter = saved["attributes"]["early_stopping_patience_counter"]

    def on_epoch_begin(self, args, state, control, **kwargs):
        for part in (self.trainer.data_collator, self.trainer.train_sampler):
            if hasattr(part, "set_epoch"):
                part.set_epoch(int(state.epoch))


class TrimHeapCallback(TrainerCallback):
    """
    Returns free memory to the system every `steps` steps, if the C library has malloc_trim: batches of varying lengths
    fragment its heap, which would grow with every epoch (on a CPU; by half in five epochs of MovieLens-1M).
    """

    def __init__(self, steps: int = 10):
        self.steps = steps
        self.trim = None if sys.platform == "win32" else getattr(ctypes.CDLL(None), "malloc_trim", None)

    def on_step_end(self, args, state, control, **kwargs):
        if self.trim is not None and state.global_step % self.steps == 0:
            self.trim(0)


class EMACallback(TrainerCallback):
    """
    The exponential moving average of the weights during a run, used for validation and as the final weights. It works
    with any [`Trainer`]; checkpoints keep the raw training weights, so that a run can be resumed.

    Args:
        decay (`float`, *optional*, defaults to 0.999):
            Fraction of the average kept per step; less in the first steps, `(1 + step) / (10 + step)`.
    """

    def __init__(self, decay: float = 0.999):
        self.decay, self.average, self.is_swapped, self.hook = decay, None, False, None

    def _blend(self, averaged: list[torch.Tensor], current: list[torch.Tensor], step: torch.Tensor | int):
        step = int(step)
        torch._foreach_lerp_(averaged, current, 1 - min(self.decay, (1 + step) / (10 + step)))

    def _use_average(self, model: torch.nn.Module, use: bool = True):
        """Swaps in the average, or the raw training weights."""
        if use != self.is_swapped:
            for average, parameter in zip(self.average.module.parameters(), model.parameters()):
                average.data, parameter.data = parameter.data, average.data
            self.is_swapped = use

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self.average = AveragedModel(model, multi_avg_fn=self._blend)
        # A checkpoint has the raw training weights, even if the average was just evaluated.
        self.hook = model.register_state_dict_pre_hook(lambda model, prefix, keep: self._use_average(model, False))
        file = os.path.join(args.output_dir, f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}", AVERAGE_NAME)
        if state.global_step:
            if not os.path.exists(file):
                raise DataError(f"{file} is missing: the run kept no average. Leave --ema_decay out.")
            self._load(file, state.global_step)

    def _load(self, file: str, step: int):
        load_model(self.average.module, file)
        self.average.n_averaged.fill_(step)

    def on_step_begin(self, args, state, control, model=None, **kwargs):
        self._use_average(model, False)

    def on_step_end(self, args, state, control, model=None, **kwargs):
        self._use_average(model, False)
        self.average.update_parameters(model)
        self._use_average(model, control.should_evaluate)

    def on_epoch_end(self, args, state, control, model=None, **kwargs):
        self._use_average(model, control.should_evaluate)

    def on_save(self, args, state, control, **kwargs):
        folder = os.path.join(args.output_dir, f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}")
        if state.is_world_process_zero and not os.path.exists(os.path.join(folder, MANIFEST_NAME)):
            self.save(folder)

    def save(self, checkpoint: str) -> None:
        """Writes the average into a checkpoint; [`Bert4RecTrainer`] calls it before the checkpoint is complete."""
        save_model(self.average.module, os.path.join(checkpoint, AVERAGE_NAME))

    def on_train_end(self, args, state, control, model=None, **kwargs):
        self.hook.remove()
        self._use_average(model, False)
        if args.load_best_model_at_end and state.best_model_checkpoint:
            self._load(os.path.join(state.best_model_checkpoint, AVERAGE_NAME), state.global_step)
        self._use_average(model)
        self.average, self.is_swapped = None, False  # the model keeps it


class StopOnSignalCallback(TrainerCallback):
    """
    Ends a run between two steps on SIGTERM or Ctrl-C: the step, and a validation that is due, is finished, a
    checkpoint saved, and the process exits with 128 + the signal's number, 143 or 130. A second Ctrl-C aborts at once.

        stop = StopOnSignalCallback()
        trainer = Bert4RecTrainer(..., callbacks=[stop])
        with stop:
            trainer.train()
    """

    def __init__(self):
        self.signal, self.since, self.agreed, self.before = 0, 0.0, 0, {}

    def __enter__(self):
        self.before = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, error_type, error, traceback):
        for number, handler in self.before.items():
            signal.signal(number, handler)
        if self.signal and error is None:  # it came after the last step
            name = signal.Signals(self.signal).name
            print(f"\n{name}: the training is done, what follows is not; go on with --resume.", file=sys.stderr)
            sys.exit(128 + self.signal)

    def _note(self, number: int, frame):
        # torchrun forwards a Ctrl-C that the terminal also sent to every process: it counts once.
        if number == signal.SIGINT and self.signal and time.monotonic() - self.since > 1:
            raise KeyboardInterrupt
        if not self.signal:
            self.signal, self.since = number, time.monotonic()

    def on_step_end(self, args, state, control, **kwargs):
        self.agreed = self.signal
        if args.world_size > 1:  # or one process would stop a step before the others
            agreed = torch.tensor(self.signal, device=args.device)
            torch.distributed.all_reduce(agreed, torch.distributed.ReduceOp.MAX)
            self.agreed = int(agreed)
        # The last step of an epoch is saved after the validation at its end.
        is_last = state.epoch == int(state.epoch) or state.global_step >= state.max_steps
        if self.agreed and not is_last:
            control.should_save = True

    def on_epoch_end(self, args, state, control, **kwargs):
        if self.agreed:
            control.should_save = True

    def on_save(self, args, state, control, **kwargs):
        if self.agreed:
            if state.is_world_process_zero:
                name, step = signal.Signals(self.agreed).name, state.global_step
                print(f"\n{name}: saved at step {step} in {args.output_dir}; go on with --resume.", file=sys.stderr)
            sys.exit(128 + self.agreed)
