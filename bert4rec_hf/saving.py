# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Files and checkpoints that appear whole or not at all, whatever happens to the process or the machine."""

import errno
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from safetensors import SafetensorError
from transformers.utils import logging

from .tables import DataError


if sys.platform != "win32":
    import fcntl


logger = logging.get_logger(__name__)

MANIFEST_NAME = "manifest.json"
LOCK_NAME = ".lock"
SAVING_DIR = "checkpoint.part"  # where a checkpoint lies until it is whole
# What a run goes on from besides the weights; other names begin so where a model is sharded or on several processes.
# The state has the step, from which the sampler's position follows.
NEEDED = ("optimizer", "scheduler", "rng_state", "trainer_state.json")


def sync(path: str):
    """Waits until a file, or what a folder says it holds, is on the disk."""
    if sys.platform == "win32":  # which opens no folder, and flushes only what was opened to be written
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_all(path: str):
    """Waits until a file, or a folder with all that lies in it, is on the disk."""
    for folder, _, names in os.walk(path):
        for name in names:
            sync(os.path.join(folder, name))
        sync(folder)
    if os.path.isfile(path):
        sync(path)


@contextmanager
def write_errors(path: str) -> Iterator[None]:
    """
    Says in one line that `path` cannot be written, and why.

    Raises:
        `DataError`: instead of what Python, safetensors and torch raise when a disk is full.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        if isinstance(error, OSError) and error.errno in errno.errorcode:
            reason = os.strerror(error.errno)
        elif isinstance(error, RuntimeError):  # torch.save does not hand on what the system says
            if not re.search("inline_container|iostream|PytorchStreamWriter", reason):
                raise
            reason = f"no space left, or a limit on the size of files ({reason})"
        raise DataError(f"{path} cannot be written: {reason.rstrip('.')}. What was there is as it was.") from error


@contextmanager
def written_aside(path: str) -> Iterator[str]:
    """
    Where to write a file or a folder that shall appear as `path`, whole or not at all: it gets this name when the
    block ends, and is gone if it fails. Into a folder that is there already the files go one by one, in their order.

    Raises:
        `DataError`: if it cannot be written.
    """
    path = os.path.normpath(path)
    into = os.path.isdir(path)
    part = os.path.join(path, ".part") if into else f"{path}.part"
    with write_errors(path):
        try:
            _remove(part)
            yield part
            sync_all(part)
            if into:
                for name in sorted(os.listdir(part)):
                    os.replace(os.path.join(part, name), os.path.join(path, name))
            else:
                os.replace(part, path)
            sync(path if into else os.path.dirname(path) or ".")
        finally:
            _remove(part)


def _remove(path: str):
    if os.path.isdir(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.remove(path)


@contextmanager
def only_writer(folder: str) -> Iterator[None]:
    """
    Keeps other processes from writing into a folder, which is made, by a lock that ends with this process.

    Raises:
        `DataError`: if another process has it.
    """
    made, place = [], os.path.abspath(folder)
    while not os.path.isdir(place):
        made.append(place)
        place = os.path.dirname(place)
    path = os.path.join(folder, LOCK_NAME)
    with write_errors(folder):
        os.makedirs(folder, exist_ok=True)
        lock = open(path, "a+", encoding="utf-8")
    with lock:
        try:
            if sys.platform != "win32":
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.exists(path) or not os.path.samestat(os.fstat(lock.fileno()), os.stat(path)):
                raise BlockingIOError  # who had it is just removing it, and another may have made it anew
        except BlockingIOError:
            lock.seek(0)
            raise DataError(
                f"{folder} is being written by process {lock.read().strip()}; wait for it, or choose another folder."
            ) from None
        except OSError as error:  # a file system without locks, as some of clusters
            logger.warning(f"{folder} cannot be locked ({error.strerror}): see that no other process writes into it.")
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        try:
            yield
        finally:
            os.remove(path)
            for place in made:  # what was refused leaves no folders behind
                if os.path.isdir(place) and not os.listdir(place):
                    os.rmdir(place)


def write_manifest(checkpoint: str):
    """Notes the size and the SHA-256 of each file of a checkpoint beside them, and waits until all are on the disk."""
    files = {}
    for folder, _, names in os.walk(checkpoint):
        for name in names:
            path = os.path.join(folder, name)
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


def what_is_broken(checkpoint: str) -> str | None:
    """Why a run cannot go on from a checkpoint, or `None` if it is as [`Bert4RecTrainer`] saved it."""
    path = os.path.join(checkpoint, MANIFEST_NAME)
    if not os.path.isfile(path):
        return f"{MANIFEST_NAME} is missing: it was cut short, or saved by another Trainer"
    try:
        with open(path, encoding="utf-8") as file:
            files = {name: (noted["size"], noted["sha256"]) for name, noted in json.load(file).items()}
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
    """The checkpoints of a folder, whole or not, by their steps."""
    names = os.listdir(save_dir) if os.path.isdir(save_dir) else []
    steps = sorted(int(found[1]) for name in names if (found := re.fullmatch(r"checkpoint-(\d+)", name)))
    return [os.path.join(save_dir, f"checkpoint-{step}") for step in steps]


def newest_whole_checkpoint(save_dir: str) -> str | None:
    """
    The checkpoint of a folder to go on from, or `None` if it has none. Which are skipped, and why, is a warning.

    Raises:
        `DataError`: if there are checkpoints, and none is whole.
    """
    reason = None
    for checkpoint in reversed(checkpoints_of(save_dir)):
        reason = what_is_broken(checkpoint)
        if reason is None:
            return checkpoint
        logger.warning_once(f"{checkpoint} is skipped: {reason}.")
    if reason is not None:
        raise DataError(
            f"{save_dir} has no whole checkpoint to go on from ({os.path.basename(checkpoint)}: {reason}); choose "
            "another folder, or let it be replaced by --overwrite."
        )
    return None
