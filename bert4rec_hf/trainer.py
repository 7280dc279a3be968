# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""What `transformers.Trainer` lacks for recommenders: top-k metrics, batches of similar length, whole checkpoints."""

import ctypes
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import nullcontext

import numpy as np
import torch
from datasets import Dataset
from huggingface_hub import CommitInfo, run_as_future
from huggingface_hub.utils import filter_repo_objects
from safetensors.torch import load_model, save_model
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import Sampler
from transformers import EarlyStoppingCallback, EvalPrediction, Trainer, TrainerCallback
from transformers.trainer import TRAINER_STATE_NAME, TRAINING_ARGS_NAME
from transformers.trainer_utils import (
    PREFIX_CHECKPOINT_DIR,
    HubStrategy,
    SaveStrategy,
    TrainOutput,
    rotate_checkpoints,
)
from transformers.utils import logging
from transformers.utils.hub import PushInProgress

from .arguments import check_report_dir
from .configuration_bert4rec import Bert4RecConfig
from .data_collator import DataCollatorForHistories, DataCollatorForItemMasking
from .distillation import Teacher
from .encoding import history_lengths
from .evaluation import ALL_USERS, MODEL, Targets
from .hub import CHECKPOINT_FILES, hub_errors, load_processor, push_checkpoint
from .metrics.ranking.ranking import ranking_scores
from .model_card import write_model_card
from .processing_bert4rec import VOCABULARY_NAME, Bert4RecProcessor
from .reports import DATA_REPORT, MODEL_REPORT, USERS_FILE
from .saving import (
    LOCK_NAME,
    MANIFEST_NAME,
    SAVING_DIR,
    checkpoints_of,
    newest_whole_checkpoint,
    sync,
    what_is_broken,
    write_errors,
    write_manifest,
    written_aside,
)
from .tables import DataError


logger = logging.get_logger(__name__)

AVERAGE_NAME = "average.safetensors"
# What a training leaves in its folder
RUN_FILES = [*CHECKPOINT_FILES, USERS_FILE]
RUN_FILES += [f"{name}.{ending}" for name in (DATA_REPORT, MODEL_REPORT) for ending in ("json", "txt", "png")]
RUN_FILES += [f"{name}.part" for name in ("", *RUN_FILES)] + ["checkpoint-[0-9]*", SAVING_DIR]


class SimilarLengthSampler(Sampler):
    """
    Random order in which the rows of a batch have similar lengths: chunks of `batches_a_chunk` batches, drawn at
    random, are sorted by length and their batches shuffled. Otherwise half of the positions would be padding.

    The order depends on `seed` and the epoch alone, so that a resumed run goes on with the rows it has not seen.
    """

    def __init__(self, lengths: np.ndarray, batch_size: int, seed: int = 0, batches_a_chunk: int = 16):
        self.lengths, self.batch_size, self.seed, self.batches_a_chunk = lengths, batch_size, seed, batches_a_chunk
        self.epoch = 0

    def set_epoch(self, epoch: int):
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self):
        generator = np.random.default_rng([self.seed, self.epoch])
        order = generator.permutation(len(self.lengths))
        full = len(order) // self.batch_size * self.batch_size  # the last, smaller batch is a random one
        batches = []
        for chunk in np.split(order[:full], range(0, full, self.batch_size * self.batches_a_chunk)[1:]):
            chunk = chunk[np.argsort(self.lengths[chunk], kind="stable")]
            batches.append(chunk.reshape(-1, self.batch_size))
        batches = generator.permutation(np.concatenate(batches)) if full else np.empty((0, self.batch_size), int)
        yield from batches.ravel().tolist()
        yield from order[full:].tolist()


class SetEpochCallback(TrainerCallback):
    """Tells the collator and the sampler which epoch it is: what they draw is keyed by it."""

    def __init__(self, trainer: "Bert4RecTrainer"):
        self.trainer = trainer

    def on_epoch_begin(self, args, state, control, **kwargs):
        for part in (self.trainer.data_collator, self.trainer.train_sampler):
            if hasattr(part, "set_epoch"):
                part.set_epoch(int(state.epoch))


class TrimHeapCallback(TrainerCallback):
    """
    Gives free memory back every `steps` steps: batches of ever new lengths leave gaps in the C library's heap, which
    would grow with every epoch (on a CPU; by half in five epochs of MovieLens-1M). Where the library can.
    """

    def __init__(self, steps: int = 10):
        self.steps = steps
        self.trim = None if sys.platform == "win32" else getattr(ctypes.CDLL(None), "malloc_trim", None)

    def on_step_end(self, args, state, control, **kwargs):
        if self.trim is not None and state.global_step % self.steps == 0:
            self.trim(0)


class EMACallback(TrainerCallback):
    """
    The exponential moving average of the weights along one run: what is validated, and what the model has in the end.
    It goes with any [`Trainer`], which keeps the weights that train in its checkpoints, so that a run can go on.

    Args:
        decay (`float`, *optional*, defaults to 0.999):
            How much of the average a step leaves; less in the first steps, `(1 + step) / (10 + step)`.
    """

    def __init__(self, decay: float = 0.999):
        self.decay, self.average, self.is_swapped = decay, None, False

    def _blend(self, averaged: list[torch.Tensor], current: list[torch.Tensor], step: torch.Tensor | int):
        step = int(step)
        torch._foreach_lerp_(averaged, current, 1 - min(self.decay, (1 + step) / (10 + step)))

    def _swap(self, model: torch.nn.Module):
        for mine, its in zip(self.average.module.parameters(), model.parameters()):
            mine.data, its.data = its.data, mine.data
        self.is_swapped = not self.is_swapped

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self.average = AveragedModel(model, multi_avg_fn=self._blend)
        file = os.path.join(args.output_dir, f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}", AVERAGE_NAME)
        if state.global_step:
            if not os.path.exists(file):
                raise DataError(f"{file} is missing: the run kept no average. Leave --ema_decay out.")
            self._load(file, state.global_step)

    def _load(self, file: str, step: int):
        load_model(self.average.module, file)
        self.average.n_averaged.fill_(step)

    def on_step_end(self, args, state, control, model=None, **kwargs):
        self.average.update_parameters(model)
        self._before_evaluation(control, model)

    def on_epoch_end(self, args, state, control, model=None, **kwargs):
        self._before_evaluation(control, model)

    def _before_evaluation(self, control, model):
        if control.should_evaluate and not self.is_swapped:
            self._swap(model)

    def on_evaluate(self, args, state, control, model=None, **kwargs):
        if self.is_swapped:
            self._swap(model)

    def on_save(self, args, state, control, **kwargs):
        folder = os.path.join(args.output_dir, f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}")
        if state.is_world_process_zero and not os.path.exists(os.path.join(folder, MANIFEST_NAME)):
            self.save(folder)

    def save(self, checkpoint: str):
        """Writes the average into a checkpoint; [`Bert4RecTrainer`] asks for it before the checkpoint is whole."""
        save_model(self.average.module, os.path.join(checkpoint, AVERAGE_NAME))

    def on_train_end(self, args, state, control, model=None, **kwargs):
        if args.load_best_model_at_end and state.best_model_checkpoint:
            self._load(os.path.join(state.best_model_checkpoint, AVERAGE_NAME), state.global_step)
        self._swap(model)
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
        # torchrun passes on a Ctrl-C that the terminal has sent to everyone: that is one, not two.
        if number == signal.SIGINT and self.signal and time.monotonic() - self.since > 1:
            raise KeyboardInterrupt
        if not self.signal:
            self.signal, self.since = number, time.monotonic()

    def on_step_end(self, args, state, control, **kwargs):
        self.agreed = self.signal
        if args.world_size > 1:  # or one would hear of it a step before the others
            agreed = torch.tensor(self.signal, device=args.device)
            torch.distributed.all_reduce(agreed, torch.distributed.ReduceOp.MAX)
            self.agreed = int(agreed)
        # What an epoch ends with, its validation say, belongs into its checkpoint.
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


def _are_causal(model: torch.nn.Module) -> set[bool]:
    return {member.config.is_causal for member in getattr(model, "members", [model])}


def _warn_of_failure(job: Future):
    if not job.cancelled() and job.exception() is not None:
        logger.warning(f"A push failed, the training goes on. {job.exception()}")


class Bert4RecTrainer(Trainer):
    """
    [`Trainer`] for [`Bert4RecForMaskedLM`]. Trains with rows of similar length together, and evaluates by ranking the
    whole catalogue: the evaluation set is one of [`encode_evaluation`], the metrics are those of `metrics/ranking`.

    Args:
        k (`Sequence[int]`, *optional*, defaults to `(10,)`):
            Lengths of the ranked lists that the metrics look at.
        exclude_seen (`bool`, *optional*, defaults to `False`):
            Evaluate without the items of a user's history.
        teacher ([`Teacher`], *optional*):
            What the model learns from besides the labels.

    What it saves and pushes is the whole recommender with its model card, and no pickle. The card has the results of
    `trainer.evaluation`, the `report` of [`evaluate`], or else those of the last evaluation while training.

    The other arguments are those of [`Trainer`]; `processing_class` is the [`Bert4RecProcessor`].
    """

    def __init__(
        self,
        *args,
        k: Sequence[int] = (10,),
        exclude_seen: bool = False,
        teacher: Teacher | None = None,
        **kwargs,
    ):
        kwargs.setdefault("compute_metrics", self._ranking_metrics)
        super().__init__(*args, **kwargs)
        if self.args.hub_strategy in (HubStrategy.CHECKPOINT, HubStrategy.ALL_CHECKPOINTS):
            raise DataError(f"hub_strategy {self.args.hub_strategy.value!r} pushes pickles; use 'every_save'.")
        causal = _are_causal(self.accelerator.unwrap_model(self.model))
        if isinstance(self.data_collator, DataCollatorForItemMasking) and causal != {not self.data_collator.mlm}:
            raise DataError("a causal model is trained by batches made with mlm=False, and no other model is.")
        if teacher is not None and causal != _are_causal(teacher.model):
            raise DataError("the teacher and the model must both be causal or both not: they see other batches.")
        self.k, self.exclude_seen, self.teacher, self.evaluation = tuple(k), exclude_seen, teacher, None
        if teacher is not None:
            teacher.model.to(self.args.device)
        self.train_sampler, self.is_saving = None, False
        self.add_callback(SetEpochCallback(self))
        self.add_callback(TrimHeapCallback())

    def _set_signature_columns_if_needed(self):
        self._signature_columns = ["input_ids", "user_features", "row", "relevant"]

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler:
        train_dataset = self.train_dataset if train_dataset is None else train_dataset
        lengths = np.minimum(history_lengths(train_dataset), self.data_collator.max_length)
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        # The rows of a step are alike, whichever process gets them: none waits for another.
        self.train_sampler = SimilarLengthSampler(lengths, self.args.train_batch_size * self.args.world_size, seed)
        return self.train_sampler

    def _get_dataloader(self, dataset, *args, is_training: bool = False, **kwargs):
        training_collator = self.data_collator
        if not is_training:
            self.data_collator = DataCollatorForHistories(self.processing_class)
        try:
            return super()._get_dataloader(dataset, *args, is_training=is_training, **kwargs)
        finally:
            self.data_collator = training_collator

    def compute_loss(self, model, inputs, *args, **kwargs):
        if self.teacher is not None:
            inputs = {**inputs, **self.teacher(inputs)}
        return super().compute_loss(model, inputs, *args, **kwargs)

    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
        inputs = self._prepare_inputs(inputs)
        relevant = inputs.pop("relevant")
        with torch.no_grad(), self.compute_loss_context_manager():
            top = self.accelerator.unwrap_model(model).recommend(
                **inputs, k=max(self.k), exclude_seen=self.exclude_seen
            )
        return None, top.item_ids, relevant

    def _issue_warnings_after_load(self, load_result):
        # An output layer is not in the file when it is the item embedding, which is; no reason to worry anyone.
        for name in self.model.all_tied_weights_keys.keys() & set(load_result.missing_keys):
            load_result.missing_keys.remove(name)
        super()._issue_warnings_after_load(load_result)

    def train(self, resume_from_checkpoint: str | bool | None = None, *args, **kwargs) -> TrainOutput:
        """
        [`Trainer.train`]; with `resume_from_checkpoint=True` from the newest checkpoint of `args.output_dir` that is
        whole. Checkpoints of later steps than the one it goes on from are removed when the next one is saved.

        Raises:
            `DataError`: if no checkpoint is whole, or the one that is named, and if there are checkpoints from which
            the run does not go on.
        """
        folder = self.args.output_dir
        self.accelerator.wait_for_everyone()
        if resume_from_checkpoint is True:
            resume_from_checkpoint = newest_whole_checkpoint(folder)
            if resume_from_checkpoint is None:
                raise DataError(f"{folder} has no checkpoint to go on from.")
        elif resume_from_checkpoint:
            if reason := what_is_broken(resume_from_checkpoint):
                raise DataError(f"{resume_from_checkpoint} is not whole: {reason}.")
        elif self.args.save_strategy != SaveStrategy.NO and (used := checkpoints_of(folder)):
            raise DataError(f"{used[-1]} is of another run; go on with it, or choose another output_dir.")
        if resume_from_checkpoint:
            saved = sum(name.startswith("rng_state") for name in os.listdir(resume_from_checkpoint))
            if saved != self.args.world_size:
                raise DataError(
                    f"{resume_from_checkpoint} is of a run on {saved} processes, not {self.args.world_size}: its "
                    "batches and random states do not fit."
                )
        if self.args.should_save:
            shutil.rmtree(os.path.join(folder, SAVING_DIR), ignore_errors=True)  # what was cut short
        try:
            return super().train(resume_from_checkpoint, *args, **kwargs)
        except DataError:
            for callback in self.callback_handler.callbacks:
                if getattr(callback, "training_bar", None) is not None:
                    callback.training_bar.close()  # what is said next gets a line of its own
            raise

    def _load_callback_state(self):
        super()._load_callback_state()
        saved = self.state.stateful_callbacks.get(EarlyStoppingCallback.__name__)
        for callback in self.callback_handler.callbacks:
            if isinstance(callback, EarlyStoppingCallback) and isinstance(saved, dict):
                callback.early_stopping_patience_counter = saved["attributes"]["early_stopping_patience_counter"]

    def _run_epoch(self, *args, **kwargs):
        # A run that was over when it was saved goes not one step further.
        is_over = self.state.global_step >= self.state.max_steps
        for callback in self.callback_handler.callbacks:
            if isinstance(callback, EarlyStoppingCallback):
                is_over |= callback.early_stopping_patience_counter >= callback.early_stopping_patience
        if is_over:
            self.control.should_training_stop = True
        else:
            super()._run_epoch(*args, **kwargs)

    def _get_output_dir(self, trial) -> str:
        run_dir = super()._get_output_dir(trial)
        return os.path.join(run_dir, SAVING_DIR) if self.is_saving else run_dir

    def _save_checkpoint(self, model, trial):
        """Trainer saves aside; what is there gets its name when all of it is on the disk, its manifest too."""
        run_dir = self._get_output_dir(trial)
        name = f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        checkpoint, aside = os.path.join(run_dir, name), os.path.join(run_dir, SAVING_DIR, name)
        self.is_saving = True
        try:
            with write_errors(checkpoint):
                super()._save_checkpoint(model, trial)
                best = os.path.join(run_dir, f"{PREFIX_CHECKPOINT_DIR}-{self.state.best_global_step}")
                if best == checkpoint or os.path.isdir(best):
                    self.state.best_model_checkpoint = best
                self.accelerator.wait_for_everyone()
                if self.args.should_save:
                    for callback in self.callback_handler.callbacks:
                        if isinstance(callback, EMACallback):
                            callback.save(aside)
                    self.state.save_to_json(os.path.join(aside, TRAINER_STATE_NAME))
                    write_manifest(aside)
                    if os.path.isdir(checkpoint):
                        os.replace(checkpoint, f"{aside}.before")
                    os.replace(aside, checkpoint)
                    sync(run_dir)
        finally:
            self.is_saving = False
            if self.args.should_save:
                shutil.rmtree(os.path.dirname(aside), ignore_errors=True)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            # What is later is broken, or of a run that this one replaces.
            checkpoints = checkpoints_of(run_dir)
            for later in checkpoints[checkpoints.index(checkpoint) + 1 :]:
                shutil.rmtree(later, ignore_errors=True)
            rotate_checkpoints(run_dir, self.args.save_total_limit, self.state.best_model_checkpoint)
        if self.args.push_to_hub:
            self._push_from_checkpoint(checkpoint)

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None):
        output_dir = output_dir or self.args.output_dir
        is_apart = self.is_saving or not self.args.should_save
        with nullcontext(output_dir) if is_apart else written_aside(output_dir) as folder:
            super()._save(folder, state_dict)
            if self.args.should_save:  # a pickle that nothing reads
                os.remove(os.path.join(folder, TRAINING_ARGS_NAME))

    def create_model_card(self, **kwargs):
        """Writes README.md into `args.output_dir`; the arguments are those of [`write_model_card`]."""
        if not self.is_world_process_zero():
            return
        evaluation = self.evaluation
        validated = [entry for entry in self.state.log_history if f"eval_recall@{self.k[0]}" in entry]
        if evaluation is None and validated and isinstance(self.eval_dataset, Dataset):
            metrics = {name.removeprefix("eval_"): {"mean": v} for name, v in validated[-1].items() if "@" in name}
            targets = Targets(self.eval_dataset, self.processing_class).describe()
            figures = {"num_users": len(self.eval_dataset), "results": {MODEL: metrics}, "against": {}}
            groups = {ALL_USERS: figures}
            evaluation = {
                "k": list(self.k),
                "subset": "validation",
                "exclude_seen": self.exclude_seen,
                "windows": [{"name": "validation", **targets, "groups": groups}],
            }
        write_model_card(
            self.args.output_dir,
            self.accelerator.unwrap_model(self.model),
            self.processing_class,
            self.args,
            self.data_collator,
            self.train_dataset,
            evaluation,
            **{"model_id": self.hub_model_id, **kwargs},
        )

    def init_hf_repo(self, *args, **kwargs):
        with hub_errors(self.args.hub_model_id or self.args.output_dir, pushing=True):
            super().init_hf_repo(*args, **kwargs)

    def push_to_hub(
        self,
        commit_message: str = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **kwargs,
    ) -> CommitInfo | None:
        """
        Saves the recommender and its card, and pushes them to `args.hub_model_id`. The arguments are those of
        [`Trainer.push_to_hub`]; `kwargs` go to [`write_model_card`].

        Raises:
            `DataError`: if the Hub cannot be reached or refuses; what was saved stays.
        """
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        self._finish_current_push()
        if self.hub_model_id is None:
            self.init_hf_repo(token=token, private=private)
        self.save_model(_internal_call=True)
        if not self.is_world_process_zero():
            return None
        self.create_model_card(**kwargs)
        return self._push(commit_message, token, revision, blocking)

    def _push_from_checkpoint(self, checkpoint_folder: str):
        if not self.is_world_process_zero() or self.args.hub_strategy == HubStrategy.END or self.is_saving:
            return
        busy = self.push_in_progress is not None and not self.push_in_progress.is_done()
        if busy and not self.args.hub_always_push:
            return
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        with written_aside(self.args.output_dir) as part:
            os.makedirs(part)
            for name in filter_repo_objects(os.listdir(checkpoint_folder), allow_patterns=CHECKPOINT_FILES):
                shutil.copy(os.path.join(checkpoint_folder, name), part)
        self.create_model_card()
        job = self._push(f"Training in progress, step {self.state.global_step}", blocking=False)
        self.push_in_progress = PushInProgress([*(self.push_in_progress.jobs if busy else []), job])

    def _push(self, commit_message, token=None, revision=None, blocking=True):
        arguments = (
            self.args.output_dir,
            self.hub_model_id,
            self.args.hub_private_repo,
            revision or self.args.hub_revision,
            token or self.args.hub_token,
            commit_message,
        )
        if blocking:
            return push_checkpoint(*arguments)
        job = run_as_future(push_checkpoint, *arguments)
        job.add_done_callback(_warn_of_failure)
        return job

    def _ranking_metrics(self, prediction: EvalPrediction) -> dict[str, float]:
        scores = ranking_scores(prediction.predictions, prediction.label_ids, self.k)
        return {name: float(np.nanmean(values)) for name, values in scores.items()}


def check_save_dir(
    save_dir: str,
    resume: bool,
    processor: Bert4RecProcessor | None = None,
    config: Bert4RecConfig | None = None,
) -> str | None:
    """
    The newest whole checkpoint of a folder to go on from, or `None` to start. Which is skipped, and why, is a warning.

    Raises:
        `DataError`: if the folder holds something that would be overwritten, checkpoints of which none is whole, or a
        run that differs in its vocabulary, its split, how the data is read, or its model.
    """
    check_report_dir(save_dir)
    names = sorted(os.listdir(save_dir)) if os.path.isdir(save_dir) else []
    # What a run wrote that was cut short in its first save is nobody's loss.
    there = [name for name in names if name not in (LOCK_NAME, SAVING_DIR)]
    if not there:
        return None
    if not resume:
        raise DataError(
            f"{save_dir} is not empty; choose another --save_dir, go on with a run by --resume, or let it be replaced "
            "by --overwrite."
        )
    checkpoint = newest_whole_checkpoint(save_dir)
    if checkpoint is None:
        raise DataError(
            f"{save_dir} holds {there[0]} and no whole checkpoint-* folder to resume from; choose another --save_dir."
        )
    if processor is not None:
        before = load_processor(checkpoint)
        for name, what in (("vocabulary", "vocabulary"), ("data", "reading of the data"), ("split", "split")):
            if getattr(before, name) != getattr(processor, name):
                raise DataError(f"{checkpoint} was trained with another {what}; choose another --save_dir.")
    if config is not None:
        before, now = Bert4RecConfig.from_pretrained(checkpoint).to_dict(), config.to_dict()
        for name in Bert4RecConfig.__annotations__:
            if before[name] != now[name]:
                raise DataError(f"{checkpoint} has {name} {before[name]}, not {now[name]}; choose another --save_dir.")
    return checkpoint


def clear_save_dir(save_dir: str, only_check: bool = False):
    """
    Removes what a training left in a folder.

    Args:
        only_check (`bool`, *optional*, defaults to `False`):
            Remove nothing, but see that it could be.

    Raises:
        `DataError`: if there is something that no training writes, or no sign of a training; nothing is removed then.
    """
    check_report_dir(save_dir)
    names = set(os.listdir(save_dir) if os.path.isdir(save_dir) else []) - {LOCK_NAME}
    own = [*filter_repo_objects(names, allow_patterns=RUN_FILES)]
    is_a_run = any(name == VOCABULARY_NAME or name.startswith(PREFIX_CHECKPOINT_DIR) for name in own)
    if strange := sorted(names.difference(own if is_a_run else [])):
        raise DataError(f"{save_dir} holds {strange[0]}, which is of no training; choose another --save_dir.")
    for path in (os.path.join(save_dir, name) for name in own if not only_check):
        shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)
