# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Training checkpoints: complete ones to resume from, and the folder they are saved in."""

import hashlib
import json
import os
import re
import shutil
import zipfile

from huggingface_hub.utils import filter_repo_objects
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import logging

from ..errors import DataError
from ..evaluation.reports import DATA_REPORT, MODEL_REPORT, USERS_FILE
from ..files import LOCK_NAME, check_report_dir, sync_all
from ..hub.load import CHECKPOINT_FILES, load_processor
from ..hub.push import EXPORT_DIRS
from ..model.configuration_bert4rec import Bert4RecConfig
from ..model.processing_bert4rec import VOCABULARY_NAME, Bert4RecProcessor


logger = logging.get_logger(__name__)


MANIFEST_NAME = "manifest.json"
SAVING_DIR = "checkpoint.part"  # a checkpoint is written here until it is complete
# Prefixes of the files needed to resume, besides the weights (sharding and several processes add suffixes).
# The trainer state has the step, which gives the position of the sampler.
NEEDED = ("optimizer", "scheduler", "rng_state", "trainer_state.json")


def write_manifest(checkpoint: str):
    """
    Writes a manifest with size and SHA-256 of each file into a checkpoint, and flushes all of them to disk.

    Raises:
        `RuntimeError`: for a file of torch.save that is cut short, as torch 2.6 leaves it on a full disk.
    """
    files = {}
    for folder, _, names in os.walk(checkpoint):
        for name in names:
            path = os.path.join(folder, name)
            if name.endswith((".pt", ".pth")) and not zipfile.is_zipfile(path):
                raise RuntimeError(f"PytorchStreamWriter has cut {name} short")
            files[os.path.relpath(path, checkpoint)] = {"size": os.path.getsize(path), "sha256": _sha256(path)}
    with open(os.path.join(checkpoint, MANIFEST_NAME), "w", encoding="utf-8") as file:
        json.dump(dict(sorted(files.items())), file, indent=1)
    sync_all(checkpoint)


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def checkpoint_problem(checkpoint: str) -> str | None:
    """Why a run cannot resume from a checkpoint; `None` if it is unchanged since [`Bert4RecTrainer`] saved it."""
    path = os.path.join(checkpoint, MANIFEST_NAME)
    if not os.path.isfile(path):
        return f"{MANIFEST_NAME} is missing: it was cut short, or saved by another Trainer"
    try:
        with open(path, encoding="utf-8") as file:
            files = {name: (entry["size"], entry["sha256"]) for name, entry in json.load(file).items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return f"{MANIFEST_NAME} cannot be read ({error})"
    for part in NEEDED:
        if not any(name.startswith(part) for name in files):
            return f"it was saved without {part}"
    for name, (size, sha256) in files.items():
        path = os.path.join(checkpoint, name)
        if not os.path.isfile(path):
            return f"{name} is missing"
        if os.path.getsize(path) != size:
            return f"{name} has {os.path.getsize(path)} bytes, not {size}"
        if _sha256(path) != sha256:
            return f"{name} is not what was saved (SHA-256)"
    return None


def checkpoints_of(save_dir: str) -> list[str]:
    """The checkpoints of a folder, complete or not, sorted by step."""
    names = os.listdir(save_dir) if os.path.isdir(save_dir) else []
    steps = sorted(int(found[1]) for name in names if (found := re.fullmatch(r"checkpoint-(\d+)", name)))
    return [os.path.join(save_dir, f"checkpoint-{step}") for step in steps]


def newest_whole_checkpoint(save_dir: str) -> str | None:
    """
    The newest complete checkpoint of a folder, or `None` if it has none. Skipped ones are logged with the reason.

    Raises:
        `DataError`: if there are checkpoints, but none is complete.
    """
    reason = None
    for checkpoint in reversed(checkpoints_of(save_dir)):
        reason = checkpoint_problem(checkpoint)
        if reason is None:
            return checkpoint
        logger.warning_once(f"{checkpoint} is skipped: {reason}.")
    if reason is not None:
        raise DataError(
            f"{save_dir} has no whole checkpoint to go on from ({os.path.basename(checkpoint)}: {reason}); choose "
            "another folder, or let it be replaced by --overwrite."
        )
    return None


# What a training run writes into its folder
RUN_FILES = [*CHECKPOINT_FILES, USERS_FILE]


RUN_FILES += [f"{name}.{ending}" for name in (DATA_REPORT, MODEL_REPORT) for ending in ("json", "txt", "png")]


RUN_FILES += [f"{name}.part" for name in ("", *RUN_FILES)] + ["checkpoint-[0-9]*", SAVING_DIR, "runs", *EXPORT_DIRS]


def check_save_dir(
    save_dir: str,
    resume: bool,
    processor: Bert4RecProcessor | None = None,
    config: Bert4RecConfig | None = None,
) -> str | None:
    """
    The newest complete checkpoint to resume from, or `None` to start anew. Skipped ones are logged with the reason.

    Raises:
        `DataError`: if the folder holds something that would be overwritten, no complete checkpoint among several, or
        a run with another vocabulary, split, data settings or model.
    """
    check_report_dir(save_dir)
    names = sorted(os.listdir(save_dir)) if os.path.isdir(save_dir) else []
    # A run interrupted in its first save leaves only these two, which may be overwritten.
    existing = [name for name in names if name not in (LOCK_NAME, SAVING_DIR)]
    if not existing:
        return None
    if not resume:
        raise DataError(
            f"{save_dir} is not empty; choose another --save_dir, go on with a run by --resume, or let it be replaced "
            "by --overwrite."
        )
    checkpoint = newest_whole_checkpoint(save_dir)
    if checkpoint is None:
        raise DataError(
            f"{save_dir} holds {existing[0]} and no whole checkpoint-* folder to resume from; choose another "
            "--save_dir."
        )
    if processor is not None:
        before = load_processor(checkpoint)
        for name in ("vocabulary", "split"):
            if getattr(before, name) != getattr(processor, name):
                raise DataError(f"{checkpoint} was trained with another {name}; choose another --save_dir.")
        # An earlier version did not read times
        then, now = ({"time_intervals": "none", **(of.data or {})} for of in (before, processor))
        for name in {**then, **now}:
            if then.get(name) != now.get(name):
                what = f"{name} {then.get(name)}, not {now.get(name)}"
                raise DataError(f"{checkpoint} was trained with {what}; choose another --save_dir.")
    if config is not None:
        before, now = Bert4RecConfig.from_pretrained(checkpoint).to_dict(), config.to_dict()
        for name in Bert4RecConfig.__annotations__:
            if before[name] != now[name]:
                raise DataError(f"{checkpoint} has {name} {before[name]}, not {now[name]}; choose another --save_dir.")
    return checkpoint


def clear_save_dir(save_dir: str, only_check: bool = False):
    """
    Removes the files of a training run from a folder.

    Args:
        only_check (`bool`, *optional*, defaults to `False`):
            Remove nothing, only check that it is possible.

    Raises:
        `DataError`: if there are files that no training writes, or no training run; nothing is removed then.
    """
    check_report_dir(save_dir)
    names = set(os.listdir(save_dir) if os.path.isdir(save_dir) else []) - {LOCK_NAME}
    run_files = [*filter_repo_objects(names, allow_patterns=RUN_FILES)]
    is_a_run = any(name == VOCABULARY_NAME or name.startswith(PREFIX_CHECKPOINT_DIR) for name in run_files)
    if unknown := sorted(names.difference(run_files if is_a_run else [])):
        raise DataError(f"{save_dir} holds {unknown[0]}, which is of no training; choose another --save_dir.")
    for path in (os.path.join(save_dir, name) for name in run_files if not only_check):
        shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)
