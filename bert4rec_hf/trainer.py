# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""What `transformers.Trainer` lacks for recommenders: top-k metrics, batches of similar length, whole checkpoints."""

import glob
import os
from collections.abc import Sequence

import numpy as np
import torch
from datasets import Dataset
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch.utils.data import Sampler
from transformers import EvalPrediction, PreTrainedConfig, Trainer, TrainerCallback
from transformers.trainer import TRAINER_STATE_NAME
from transformers.utils import CONFIG_NAME, PROCESSOR_NAME, SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from .configuration_bert4rec import Bert4RecConfig
from .data_collator import DataCollatorForHistories
from .encoding import history_lengths
from .metrics.ranking.ranking import ranking_scores
from .modeling_bert4rec import Bert4RecForMaskedLM
from .processing_bert4rec import Bert4RecProcessor
from .tables import DataError


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


class Bert4RecTrainer(Trainer):
    """
    [`Trainer`] for [`Bert4RecForMaskedLM`]. Trains with rows of similar length together, and evaluates by ranking the
    whole catalogue: the evaluation set is one of [`encode_evaluation`], the metrics are those of `metrics/ranking`.

    Args:
        k (`Sequence[int]`, *optional*, defaults to `(10,)`):
            Lengths of the ranked lists that the metrics look at.
        exclude_seen (`bool`, *optional*, defaults to `False`):
            Evaluate without the items of a user's history.

    The other arguments are those of [`Trainer`]; `processing_class` is the [`Bert4RecProcessor`].
    """

    def __init__(self, *args, k: Sequence[int] = (10,), exclude_seen: bool = False, **kwargs):
        kwargs.setdefault("compute_metrics", self._ranking_metrics)
        super().__init__(*args, **kwargs)
        self.k, self.exclude_seen = tuple(k), exclude_seen
        self.train_sampler = None
        self.add_callback(SetEpochCallback(self))

    def _set_signature_columns_if_needed(self):
        self._signature_columns = ["input_ids", "user_features", "row", "relevant"]

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler:
        train_dataset = self.train_dataset if train_dataset is None else train_dataset
        lengths = np.minimum(history_lengths(train_dataset), self.data_collator.max_length)
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        self.train_sampler = SimilarLengthSampler(lengths, self.args.train_batch_size, seed)
        return self.train_sampler

    def _get_dataloader(self, dataset, *args, is_training: bool = False, **kwargs):
        training_collator = self.data_collator
        if not is_training:
            self.data_collator = DataCollatorForHistories(self.processing_class)
        try:
            return super()._get_dataloader(dataset, *args, is_training=is_training, **kwargs)
        finally:
            self.data_collator = training_collator

    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
        inputs = self._prepare_inputs(inputs)
        relevant = inputs.pop("relevant")
        with torch.no_grad(), self.compute_loss_context_manager():
            top = self.accelerator.unwrap_model(model).recommend(
                **inputs, k=max(self.k), exclude_seen=self.exclude_seen
            )
        return None, top.item_ids, relevant

    def _issue_warnings_after_load(self, load_result):
        # The output layer is not in the file when it is the item embedding, which is; no reason to worry anyone.
        if self.model.config.tie_word_embeddings and "decoder.weight" in load_result.missing_keys:
            load_result.missing_keys.remove("decoder.weight")
        super()._issue_warnings_after_load(load_result)

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
    The newest whole checkpoint of a folder to go on from, or `None` to start.

    Raises:
        `DataError`: if the folder holds something that would be overwritten, or a run that differs in its vocabulary,
        its split, how the data is read, or its model.
    """
    if os.path.exists(save_dir) and not os.path.isdir(save_dir):
        raise DataError(f"{save_dir} is a file, not a folder; choose another --save_dir.")
    if not os.path.isdir(save_dir) or not os.listdir(save_dir):
        return None
    if not resume:
        raise DataError(f"{save_dir} is not empty; choose another --save_dir, or go on with a run by --resume.")
    # Trainer writes the state last: a checkpoint without it was cut short.
    states = glob.glob(os.path.join(glob.escape(save_dir), "checkpoint-*", TRAINER_STATE_NAME))
    checkpoints = sorted(map(os.path.dirname, states), key=lambda folder: int(folder.rpartition("-")[2]))
    if not checkpoints:
        raise DataError(f"{save_dir} holds no whole checkpoint-* folder to resume from; choose another --save_dir.")
    checkpoint = checkpoints[-1]
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


def load_processor(model_dir: str) -> Bert4RecProcessor:
    """
    The processor of a checkpoint.

    Raises:
        `DataError`: if there is none that can be read.
    """
    if os.path.isdir(model_dir) and not os.path.exists(os.path.join(model_dir, PROCESSOR_NAME)):
        raise DataError(f"{model_dir} holds no checkpoint: no {PROCESSOR_NAME}.")
    try:
        return Bert4RecProcessor.from_pretrained(model_dir)
    except (OSError, ValueError) as error:
        raise DataError(f"{model_dir}: the processor cannot be loaded: {str(error).splitlines()[0]}") from None


def load_checkpoint(model_dir: str) -> tuple[Bert4RecForMaskedLM, Bert4RecProcessor]:
    """
    The model and the processor of a checkpoint, checked against each other.

    Raises:
        `DataError`: if the folder holds no whole checkpoint, or parts of different ones.
    """
    processor = load_processor(model_dir)
    weights = [os.path.join(model_dir, name) for name in (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME)]
    if os.path.isdir(model_dir) and not (
        os.path.exists(os.path.join(model_dir, CONFIG_NAME)) and any(map(os.path.exists, weights))
    ):
        raise DataError(f"{model_dir} holds no checkpoint: no {CONFIG_NAME} or no {SAFE_WEIGHTS_NAME}.")
    try:
        config = PreTrainedConfig.get_config_dict(model_dir)[0]
        if config.get("model_type") != Bert4RecConfig.model_type:
            raise DataError(f"{model_dir} holds a model of type {config.get('model_type')}, not a BERT4Rec.")
        model, info = Bert4RecForMaskedLM.from_pretrained(
            model_dir, output_loading_info=True, ignore_mismatched_sizes=True
        )
    except DataError:
        raise
    except (OSError, ValueError, RuntimeError, SafetensorError, StrictDataclassError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise DataError(f"{model_dir}: the checkpoint cannot be loaded: {reason}") from None
    wrong = [*info["missing_keys"], *info["unexpected_keys"], *(key for key, *_ in info["mismatched_keys"])]
    if wrong:
        raise DataError(f"{model_dir}: the weights do not fit the config: {', '.join(sorted(wrong)[:3])}.")
    if processor.vocab_size != model.config.vocab_size:
        raise DataError(
            f"{model_dir}: the processor knows {processor.vocab_size} tokens, the model {model.config.vocab_size}; "
            "they are not of the same checkpoint."
        )
    return model, processor
