# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""`transformers.Trainer` for recommenders: top-k metrics, batches of similar length, complete checkpoints."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext

import numpy as np
import torch
from accelerate.data_loader import IterableDatasetShard
from datasets import Dataset
from huggingface_hub import CommitInfo, run_as_future
from huggingface_hub.utils import filter_repo_objects
from torch.distributed.tensor import DTensor
from torch.utils.data import DataLoader, IterableDataset, Sampler
from transformers import EarlyStoppingCallback, EvalPrediction, Trainer, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME, TRAINING_ARGS_NAME
from transformers.trainer_utils import (
    PREFIX_CHECKPOINT_DIR,
    EvalLoopOutput,
    HubStrategy,
    SaveStrategy,
    TrainOutput,
    rotate_checkpoints,
)
from transformers.utils import logging
from transformers.utils.hub import PushInProgress

from ..data.collators import DataCollatorForItemMasking
from ..data.encoding import history_lengths
from ..errors import DataError, hub_errors
from ..evaluation.evaluator import RankingEvaluator
from ..evaluation.targets import Targets
from ..evaluation.windows import ALL_USERS, MODEL
from ..files import atomic_write, sync, write_errors
from ..hub.card import write_model_card
from ..hub.load import CHECKPOINT_FILES
from ..hub.push import push_checkpoint
from ..model.processing_bert4rec import Bert4RecProcessor
from ..model.weights_bert4rec import remove_stale_weights
from .callbacks import EMACallback, ResumeCallback, TrimHeapCallback
from .checkpoints import SAVING_DIR, checkpoint_problem, checkpoints_of, newest_whole_checkpoint, write_manifest
from .distillation import Teacher
from .sampler import SimilarLengthSampler
from .training_args import Bert4RecTrainingArguments


logger = logging.get_logger(__name__)


def _are_causal(model: torch.nn.Module) -> set[bool]:
    return {member.config.is_causal for member in getattr(model, "members", [model])}


@contextmanager
def _replacing_weights(folder: str) -> Iterator[str]:
    """[`atomic_write`] into a folder, without the weights of an earlier save afterwards."""
    with atomic_write(folder) as part:
        yield part
        saved = os.listdir(part)
    remove_stale_weights(folder, saved)


def _is_incomplete(folder: str) -> bool:
    """Whether a folder is a checkpoint that is not complete yet."""
    return os.path.basename(os.path.dirname(folder)) == SAVING_DIR


def _log_push_failure(job: Future):
    if not job.cancelled() and job.exception() is not None:
        logger.warning(f"A push failed, the training goes on. {job.exception()}")


class Bert4RecTrainer(Trainer):
    """
    [`Trainer`] for [`Bert4RecForMaskedLM`]: batches rows of similar length, evaluates with a
    [`RankingEvaluator`], and saves and pushes the whole recommender with its model card, and no pickle.

    Args:
        args ([`Bert4RecTrainingArguments`] or `TrainingArguments`, *optional*):
            How it trains. `remove_unused_columns` becomes `False`: the collators choose their columns.
        data_collator (`Callable`, *optional*):
            Makes the training batches; by default a [`DataCollatorForItemMasking`] of the processor.
        processing_class ([`Bert4RecProcessor`]):
            The model's processor; saved with it.
        eval_dataset (*optional*):
            Rows with `relevant`, as from [`encode_evaluation`], are ranked; the metrics are those of
            `metrics/ranking` and of `compute_metrics`, called with the lists and the targets, padded with -1.
            Other rows are masked as in training, and give a loss.
        k (`Sequence[int]`, *optional*):
            Lengths of the ranked lists; by default those of `args`, or 10.
        exclude_seen (`bool`, *optional*):
            Evaluate without the items of a user's history; by default as `args` say.
        teacher ([`Teacher`], *optional*):
            Teacher for distillation.

    The data sets may be of `datasets` or torch, or lists of dicts. `predict` gives the lists of token ids
    `(num_users, max(k))` for any histories. The card has the results of `trainer.evaluation`, the `report` of
    [`evaluate`], or else those of the last evaluation while training. The other arguments are those of [`Trainer`].

    Raises:
        `DataError`: if there is no processor, or model, collator and teacher do not fit together.
        `FloatingPointError`: in `train`, at the step in which the loss or the weights are no longer finite; the last
        checkpoint stays.
    """

    def __init__(
        self,
        model: torch.nn.Module | None = None,
        args: TrainingArguments | None = None,
        data_collator: Callable | None = None,
        *other_args,
        processing_class: Bert4RecProcessor | None = None,
        k: Sequence[int] | None = None,
        exclude_seen: bool | None = None,
        teacher: Teacher | None = None,
        **kwargs,
    ):
        if not hasattr(processing_class, "vocabulary"):  # its class may be of a checkpoint's own code
            raise DataError("Bert4RecTrainer needs processing_class, the Bert4RecProcessor of the model.")
        args = args if args is not None else Bert4RecTrainingArguments("trainer_output")
        args.remove_unused_columns = False
        super().__init__(model, args, data_collator, *other_args, processing_class=processing_class, **kwargs)
        if self.args.hub_strategy in (HubStrategy.CHECKPOINT, HubStrategy.ALL_CHECKPOINTS):
            raise DataError(f"hub_strategy {self.args.hub_strategy.value!r} pushes pickles; use 'every_save'.")
        unwrapped = self.accelerator.unwrap_model(self.model)
        causal = _are_causal(unwrapped)
        if data_collator is None and len(causal) == 1:
            longest, mlm = unwrapped.config.max_position_embeddings, causal == {False}
            self.data_collator = DataCollatorForItemMasking(
                processing_class, max_length=longest, mlm=mlm, seed=self.args.seed
            )
        if isinstance(self.data_collator, DataCollatorForItemMasking) and causal != {not self.data_collator.mlm}:
            raise DataError("causal models need mlm=False, others mlm=True.")
        if teacher is not None and getattr(unwrapped, "repeat_prior", None) is not None:
            raise DataError("a model with a repeat prior learns from no teacher.")
        if teacher is not None and causal != _are_causal(teacher.model):
            raise DataError("the teacher and the model must both be causal or both not: they see other batches.")
        self.k = tuple(getattr(args, "k", (10,)) if k is None else k)
        self.exclude_seen = getattr(args, "exclude_seen", False) if exclude_seen is None else exclude_seen
        self.exclude_seen |= getattr(unwrapped.config, "exclude_seen_in_loss", False)
        self.teacher, self.evaluation, self.train_sampler = teacher, None, None
        if teacher is not None:
            teacher.model.to(self.args.device)
        self.add_callback(ResumeCallback(self))
        self.add_callback(TrimHeapCallback())

    # Trainer has no public hook for the order of the rows alone.
    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler | None:
        train_dataset = self.train_dataset if train_dataset is None else train_dataset
        has_lengths = isinstance(train_dataset, Dataset) and "input_ids" in train_dataset.column_names
        if not has_lengths or self.args.train_sampling_strategy != "random":
            return super()._get_train_sampler(train_dataset)
        longest = getattr(self.data_collator, "max_length", self.model.config.max_position_embeddings)
        lengths = np.minimum(history_lengths(train_dataset), longest)
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        # The rows of a step have similar lengths on all processes, so that none waits for another.
        self.train_sampler = SimilarLengthSampler(lengths, self.args.train_batch_size * self.args.world_size, seed)
        return self.train_sampler

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        if self.teacher is None:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        student, head_outputs = self.accelerator.unwrap_model(model), []
        hook = student.head.register_forward_hook(lambda head, states, output: head_outputs.append(output))
        try:
            loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        finally:
            hook.remove()
        # Several processes average their gradients; Trainer compensates for this in the loss of the labels.
        is_scaled = num_items_in_batch is not None and self.args.average_tokens_across_devices
        scale = self.accelerator.num_processes if is_scaled else 1
        soft_loss = self.teacher.soft_loss(student, inputs, head_outputs[0], loss / scale, num_items_in_batch)
        loss = (1 - self.teacher.weight) * loss + self.teacher.weight * scale * soft_loss
        return (loss, outputs) if return_outputs else loss

    def training_step(self, *args, **kwargs) -> torch.Tensor:
        loss = super().training_step(*args, **kwargs)
        if not torch.isfinite(loss):
            self._raise_divergence(self.state.global_step + 1, f"the loss is {loss.item()}")
        return loss

    def _check_weights(self):
        for name, parameter in self.model.named_parameters():
            local = parameter.to_local() if isinstance(parameter, DTensor) else parameter
            if not torch.isfinite(local).all():
                self._raise_divergence(self.state.global_step, f"{name} is not finite")

    def _raise_divergence(self, step: int, what: str):
        saved = checkpoints_of(self.args.output_dir)
        raise FloatingPointError(
            f"step {step}: {what}, the training has diverged. A lower learning rate than "
            f"{self.args.learning_rate:g} may help."
            + (f" The last checkpoint is {saved[-1]}." if saved else " There is no checkpoint.")
        )

    def evaluation_loop(
        self,
        dataloader: DataLoader,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """[`Trainer.evaluation_loop`]; ranks if the rows have targets, and for `predict`."""
        rows = dataloader.dataset
        rows = rows.dataset if isinstance(rows, IterableDatasetShard) else rows
        row = next(iter(rows), {}) if isinstance(rows, IterableDataset) else rows[0] if len(rows) else {}
        if "relevant" not in row and description != "Prediction":
            return super().evaluation_loop(
                dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix
            )
        if self.is_in_train:
            self._check_weights()
        self.callback_handler.eval_dataloader = dataloader
        model = self.accelerator.unwrap_model(self.model).eval()
        if not self.is_in_train and (self.args.fp16_full_eval or self.args.bf16_full_eval):
            model = model.to(torch.float16 if self.args.fp16_full_eval else torch.bfloat16)

        def recommend(**inputs):
            output = model.recommend(**inputs)
            self.control = self.callback_handler.on_prediction_step(self.args, self.state, self.control)
            return output

        evaluator = RankingEvaluator(
            rows, self.processing_class, self.k, self.exclude_seen, self.args.eval_batch_size, self.accelerator
        )
        with self.compute_loss_context_manager():
            ranked = evaluator.rank(recommend)
        targets, metrics = None, {}
        if "relevant" in row:
            targets, metrics = evaluator.targets.lists(), evaluator.metrics(ranked)
            if self.compute_metrics is not None:
                metrics |= self.compute_metrics(EvalPrediction(predictions=ranked, label_ids=targets))
        metrics = {
            f"{metric_key_prefix}_{name.removeprefix(f'{metric_key_prefix}_')}": metrics[name] for name in metrics
        }
        return EvalLoopOutput(ranked, targets, metrics, num_samples=len(ranked))

    def train(self, resume_from_checkpoint: str | bool | None = None, *args, **kwargs) -> TrainOutput:
        """
        [`Trainer.train`]; with `resume_from_checkpoint=True` from the newest complete checkpoint of
        `args.output_dir`. Checkpoints later than the one resumed from are removed when the next one is saved.

        Raises:
            `DataError`: if no checkpoint, or not the given one, is complete, and if there are checkpoints but the run
            does not resume.
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
        elif self.args.save_strategy != SaveStrategy.NO and (existing := checkpoints_of(folder)):
            raise DataError(f"{existing[-1]} is of another run; go on with it, or choose another output_dir.")
        if resume_from_checkpoint:
            saved = sum(name.startswith("rng_state") for name in os.listdir(resume_from_checkpoint))
            if saved != self.args.world_size:
                raise DataError(
                    f"{resume_from_checkpoint} is of a run on {saved} processes, not {self.args.world_size}: its "
                    "batches and random states do not fit."
                )
        if self.args.should_save:
            shutil.rmtree(os.path.join(folder, SAVING_DIR), ignore_errors=True)  # an interrupted save
        try:
            output = super().train(resume_from_checkpoint, *args, **kwargs)
            self._check_weights()
            return output
        except (DataError, FloatingPointError):
            for callback in self.callback_handler.callbacks:
                if getattr(callback, "training_bar", None) is not None:
                    callback.training_bar.close()  # the error message starts on a new line
            raise

    # Trainer takes one step before it checks whether training has ended.
    def _run_epoch(self, *args, **kwargs):
        is_over = self.state.global_step >= self.state.max_steps
        for callback in self.callback_handler.callbacks:
            if isinstance(callback, EarlyStoppingCallback):
                is_over |= callback.early_stopping_patience_counter >= callback.early_stopping_patience
        if is_over:
            self.control.should_training_stop = True
        else:
            super()._run_epoch(*args, **kwargs)

    # Trainer writes a checkpoint file by file under its final name. Here it saves to a temporary folder,
    # which is renamed when all files and the manifest are on disk.
    def _save_checkpoint(self, model, trial):
        run_dir, name = self.args.output_dir, f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        checkpoint, temporary = os.path.join(run_dir, name), os.path.join(run_dir, SAVING_DIR, name)
        self._check_weights()
        self.args.output_dir = os.path.dirname(temporary)
        try:
            with write_errors(checkpoint):
                super()._save_checkpoint(model, trial)
                self.args.output_dir = run_dir
                best = os.path.join(run_dir, f"{PREFIX_CHECKPOINT_DIR}-{self.state.best_global_step}")
                if best == checkpoint or os.path.isdir(best):
                    self.state.best_model_checkpoint = best
                self.accelerator.wait_for_everyone()
                if self.args.should_save:
                    for callback in self.callback_handler.callbacks:
                        if isinstance(callback, EMACallback):
                            callback.save(temporary)
                    self.state.save_to_json(os.path.join(temporary, TRAINER_STATE_NAME))
                    write_manifest(temporary)
                    if os.path.isdir(checkpoint):
                        os.replace(checkpoint, f"{temporary}.before")
                    os.replace(temporary, checkpoint)
                    sync(run_dir)
        finally:
            self.args.output_dir = run_dir
            if self.args.should_save:
                shutil.rmtree(os.path.dirname(temporary), ignore_errors=True)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            # Later checkpoints are broken, or from a run that this one replaces.
            checkpoints = checkpoints_of(run_dir)
            for later in checkpoints[checkpoints.index(checkpoint) + 1 :]:
                shutil.rmtree(later, ignore_errors=True)
            rotate_checkpoints(run_dir, self.args.save_total_limit, self.state.best_model_checkpoint)
        if self.args.push_to_hub:
            self._push_from_checkpoint(checkpoint)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False):
        """[`Trainer.save_model`]; all files or none, and without the pickle of the arguments, which nothing reads."""
        output_dir = output_dir or self.args.output_dir
        is_whole = self.args.should_save and not _is_incomplete(output_dir)
        with _replacing_weights(output_dir) if is_whole else nullcontext(output_dir) as folder:
            super().save_model(folder, _internal_call=True)
            if self.args.should_save:
                os.remove(os.path.join(folder, TRAINING_ARGS_NAME))
        if self.args.push_to_hub and not _internal_call:
            self.push_to_hub(commit_message="Model save", revision=self.args.hub_revision)

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
            **{"model_id": self.hub_model_id, "revision": self.args.hub_revision, **kwargs},
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

    # Trainer's version would push the whole folder, with pickles and per-user metrics.
    def _push_from_checkpoint(self, checkpoint_folder: str):
        is_last = self.args.hub_strategy == HubStrategy.END
        if not self.is_world_process_zero() or is_last or _is_incomplete(checkpoint_folder):
            return
        busy = self.push_in_progress is not None and not self.push_in_progress.is_done()
        if busy and not self.args.hub_always_push:
            return
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        with _replacing_weights(self.args.output_dir) as part:
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
        job.add_done_callback(_log_push_failure)
        return job
