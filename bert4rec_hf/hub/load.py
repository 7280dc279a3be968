# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Loading of complete checkpoints from folders and the Hub, with one-line error messages."""

import json
import os
from collections.abc import Sequence

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from transformers.utils import CONFIG_NAME, PROCESSOR_NAME, SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from ..data.splits import Split
from ..errors import DataError, hub_errors, one_line
from ..model.configuration_bert4rec import Bert4RecConfig, Bert4RecEnsembleConfig
from ..model.modeling_bert4rec import Bert4RecForMaskedLM
from ..model.modeling_bert4rec_ensemble import Bert4RecEnsembleForMaskedLM
from ..model.processing_bert4rec import VOCABULARY_NAME, Bert4RecProcessor
from ..model.weights_bert4rec import SHARDS


CARD_NAME = "README.md"
PLOTS = ("data.png", "evaluation.png")
# The only files of a folder that are pushed or downloaded: optimizers and training_args.bin are pickles.
CHECKPOINT_FILES = [
    CONFIG_NAME,
    SAFE_WEIGHTS_NAME,
    SHARDS,
    SAFE_WEIGHTS_INDEX_NAME,
    PROCESSOR_NAME,
    VOCABULARY_NAME,
    CARD_NAME,
    *PLOTS,
    *(f"{part}_bert4rec.py" for part in ("configuration", "layers", "loss", "masking", "modeling")),
    *(f"{part}_bert4rec.py" for part in ("pipeline", "processing", "ranking", "recommendation")),
    *(f"{part}_bert4rec.py" for part in ("vocabulary", "weights")),
    "modeling_bert4rec_ensemble.py",
]
# What json, transformers, safetensors and torch raise for malformed files.
LOAD_ERRORS = (
    *(OSError, ValueError, TypeError, AttributeError, LookupError, ImportError, RuntimeError),
    *(SafetensorError, StrictDataclassError),
)
MODELS = {Bert4RecConfig: Bert4RecForMaskedLM, Bert4RecEnsembleConfig: Bert4RecEnsembleForMaskedLM}


def find_checkpoint(model_dir: str, revision: str | None = None) -> str:
    """
    The folder of a checkpoint: `model_dir` itself or, for an id on the Hub, its folder in the cache.

    Raises:
        `DataError`: if it is neither.
    """
    if os.path.isdir(model_dir):
        return model_dir
    with hub_errors(model_dir):
        return snapshot_download(model_dir, revision=revision, allow_patterns=CHECKPOINT_FILES)


def load_processor(model_dir: str, revision: str | None = None) -> Bert4RecProcessor:
    """
    The processor of a checkpoint, a folder or an id on the Hub.

    Raises:
        `DataError`: if it is missing or cannot be read.
    """
    folder = find_checkpoint(model_dir, revision)
    for name in (PROCESSOR_NAME, VOCABULARY_NAME):
        if not os.path.exists(os.path.join(folder, name)):
            raise DataError(f"{model_dir} holds no checkpoint: no {name}.")
    try:
        _read_object(folder, PROCESSOR_NAME)
        processor = Bert4RecProcessor.from_pretrained(folder)
        Split(**(processor.split or {}))
        return processor
    except LOAD_ERRORS as error:
        raise DataError(f"{model_dir}: the processor cannot be loaded: {one_line(error)}") from None


def load_config(model_dir: str, revision: str | None = None) -> Bert4RecConfig | Bert4RecEnsembleConfig:
    """
    The config of a checkpoint, a folder or an id on the Hub.

    Raises:
        `DataError`: if it is missing or invalid.
    """
    folder = find_checkpoint(model_dir, revision)
    if not os.path.exists(os.path.join(folder, CONFIG_NAME)):
        raise DataError(f"{model_dir} holds no checkpoint: no {CONFIG_NAME}.")
    try:
        model_type = _read_object(folder, CONFIG_NAME).get("model_type")
        for config_class in MODELS:
            if model_type == config_class.model_type:
                return config_class.from_pretrained(folder)
    except LOAD_ERRORS as error:
        raise DataError(f"{model_dir}: the config cannot be loaded: {one_line(error)}") from None
    raise DataError(f"{model_dir} holds a model of type {model_type}, not a BERT4Rec.")


def _read_object(folder: str, name: str) -> dict:
    """The JSON object in a file of a checkpoint."""
    try:
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            values = json.load(file)
    except OSError as error:
        raise ValueError(f"{name}: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} is no JSON: {one_line(error)}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{name} must hold names and values.")
    return values


def load_checkpoint(
    model_dir: str, revision: str | None = None
) -> tuple[Bert4RecForMaskedLM | Bert4RecEnsembleForMaskedLM, Bert4RecProcessor]:
    """
    The model, or the ensemble, and the processor of a checkpoint, a folder or an id on the Hub, checked against each
    other.

    Raises:
        `DataError`: if it is incomplete, or a mix of different checkpoints.
    """
    folder = find_checkpoint(model_dir, revision)
    processor, config = load_processor(folder), load_config(folder)
    try:
        processor.check_config(config)
        _check_weights(folder, config)
        return MODELS[type(config)].from_pretrained(folder, config=config), processor
    except LOAD_ERRORS as error:
        raise DataError(f"{model_dir}: {one_line(error)}") from None


def load_ensemble(
    model_dirs: Sequence[str], voting: str | None = None, weights: Sequence[float] | None = None
) -> tuple[Bert4RecEnsembleForMaskedLM, Bert4RecProcessor]:
    """
    The ensemble of several checkpoints, folders or ids on the Hub, or of one that is an ensemble, and its processor.

    Args:
        voting, weights: as for [`Bert4RecEnsembleConfig`]; if not given the ensemble's own.

    Raises:
        `DataError`: if one cannot be loaded, if they do not go together, or if the weights do not fit them.
    """
    checkpoints = {name: load_checkpoint(name) for name in model_dirs}
    if len(checkpoints) < len(model_dirs):
        raise DataError(f"{' '.join(model_dirs)}: a member is named twice; give weights instead.")
    (model, processor), *others = checkpoints.values()
    if isinstance(model, Bert4RecEnsembleForMaskedLM) and not others:
        members = [*model.members]
        voting, weights = voting or model.config.voting, weights or model.config.weights
    else:
        members = [model for model, _ in checkpoints.values()]
        for name, model in zip(checkpoints, members):
            if isinstance(model, Bert4RecEnsembleForMaskedLM):
                raise DataError(f"{name} is an ensemble, which cannot be a member of another; name its members.")
        processor = merge_processors({name: processor for name, (_, processor) in checkpoints.items()})
    try:
        arguments = (voting or "probability", weights)
        return Bert4RecEnsembleForMaskedLM.from_members(members, processor, *arguments), processor
    except StrictDataclassError as error:
        raise DataError(one_line(error)) from None


def merge_processors(processors: dict[str, Bert4RecProcessor]) -> Bert4RecProcessor:
    """[`Bert4RecProcessor.merge`], which raises `DataError`."""
    try:
        return Bert4RecProcessor.merge(processors)
    except ValueError as error:
        raise DataError(str(error)) from None


def _check_weights(folder: str, config: Bert4RecConfig):
    """Compares the files' headers with the config before anything is allocated."""
    names = os.listdir(folder)
    files = [SAFE_WEIGHTS_NAME]
    if SAFE_WEIGHTS_NAME not in names:
        if SAFE_WEIGHTS_INDEX_NAME not in names:
            raise ValueError(f"holds no checkpoint: no {SAFE_WEIGHTS_NAME}.")
        shards = _read_object(folder, SAFE_WEIGHTS_INDEX_NAME).get("weight_map")
        if not isinstance(shards, dict) or not all(name in names for name in shards.values()):
            raise ValueError(f"{SAFE_WEIGHTS_INDEX_NAME} names other files than {', '.join(sorted(names))}.")
        files = sorted({*shards.values()})
    found, types = {}, {}
    for name in files:
        try:
            with safe_open(os.path.join(folder, name), framework="pt") as file:
                for key in file.keys():
                    found[key] = tuple(file.get_slice(key).get_shape())
                    types[key] = file.get_slice(key).get_dtype()
        except (OSError, SafetensorError) as error:
            raise ValueError(f"{name} cannot be read: {one_line(error)}") from None
    with torch.device("meta"):
        model = MODELS[type(config)](config)
    tied = model.all_tied_weights_keys
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items() if name not in tied}
    mismatched = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if mismatched:
        raise ValueError(
            f"the weights do not fit the config: {mismatched[0]} is {found.get(mismatched[0], 'missing')}, not "
            f"{expected.get(mismatched[0], 'expected')} ({len(mismatched)} such tensors)."
        )
    for name, tensor in model.state_dict().items():
        if name in types and types[name].startswith(("F", "BF") if tensor.is_floating_point() else ("I", "U")):
            types.pop(name)
    if types:
        name, dtype = min(types.items())
        raise ValueError(f"the weights do not fit the config: {name} holds numbers of type {dtype}.")
