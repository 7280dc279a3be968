# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""What `transformers.Trainer` lacks for recommenders: top-k metrics, batches of similar length, whole checkpoints."""

import os
import shutil
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import nullcontext

import numpy as np
import torch
from datasets import Dataset
from huggingface_hub import CommitInfo, run_as_future
from huggingface_hub.utils import filter_repo_objects
from torch.utils.data import Sampler
from transformers import EarlyStoppingCallback, EvalPrediction, Trainer
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

from ..data.collators import DataCollatorForHistories, DataCollatorForItemMasking
from ..data.encoding import history_lengths
from ..errors import DataError
from ..evaluation.targets import Targets
from ..evaluation.windows import ALL_USERS, MODEL
from ..files import atomic_write, sync, write_errors
from ..hub.card import write_model_card
from ..hub.load import CHECKPOINT_FILES, hub_errors
from ..hub.push import push_checkpoint
from ..metrics.ranking.ranking import ranking_scores
from .callbacks import EMACallback, SetEpochCallback, TrimHeapCallback
from .checkpoints import SAVING_DIR, checkpoint_problem, checkpoints_of, newest_whole_checkpoint, write_manifest
from .distillation import Teacher
from .sampler import SimilarLengthSampler


logger = logging.get_logger(__name__)


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
        unwrapped = self.accelerator.unwrap_model(self.model)
        causal = _are_causal(unwrapped)
        if isinstance(self.data_collator, DataCollatorForItemMasking) and causal != {not self.data_collator.mlm}:
            raise DataError("causal models need mlm=False, others mlm=True.")
        if teacher is not None and getattr(unwrapped, "repeat_prior", None) is not None:
            raise DataError("a model with a repeat prior learns from no teacher.")
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

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        if self.teacher is None:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        student, left = self.accelerator.unwrap_model(model), []
        hook = student.head.register_forward_hook(lambda head, states, output: left.append(output))
        try:
            loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        finally:
            hook.remove()
        # Several processes average their gradients, for which Trainer makes up in the loss of the labels.
        is_scaled = num_items_in_batch is not None and self.args.average_tokens_across_devices
        scale = self.accelerator.num_processes if is_scaled else 1
        soft_loss = self.teacher.soft_loss(student, inputs, left[0], loss / scale, num_items_in_batch)
        loss = (1 - self.teacher.weight) * loss + self.teacher.weight * scale * soft_loss
        return (loss, outputs) if return_outputs else loss

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
            if reason := checkpoint_problem(resume_from_checkpoint):
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
        with nullcontext(output_dir) if is_apart else atomic_write(output_dir) as folder:
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
        with atomic_write(self.args.output_dir) as part:
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
