# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Atomic writes of files and folders, and locks of folders."""

import errno
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from safetensors import SafetensorError
from transformers.utils import logging

from .errors import DataError


if sys.platform != "win32":
    import fcntl


logger = logging.get_logger(__name__)


LOCK_NAME = ".lock"


def sync(path: str):
    """Flushes a file, or a folder's directory entries, to disk."""
    if sys.platform == "win32":  # cannot open folders, and flushes only files that are open for writing
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_all(path: str):
    """Flushes a file, or a folder with all its files, to disk."""
    for folder, _, names in os.walk(path):
        for name in names:
            sync(os.path.join(folder, name))
        sync(folder)
    if os.path.isfile(path):
        sync(path)


@contextmanager
def write_errors(path: str) -> Iterator[None]:
    """
    Turns errors of writing `path` into one line with the reason.

    Raises:
        `DataError`: instead of what Python, safetensors and torch raise when a disk is full.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        if isinstance(error, OSError) and error.errno in errno.errorcode:
            reason = os.strerror(error.errno)
        elif isinstance(error, RuntimeError):  # torch.save hides the system's error
            if not re.search("inline_container|iostream|PytorchStreamWriter", reason):
                raise
            reason = f"no space left, or a limit on the size of files ({reason})"
        raise DataError(f"{path} cannot be written: {reason.rstrip('.')}. What was there is as it was.") from error


@contextmanager
def atomic_write(path: str) -> Iterator[str]:
    """
    A temporary path for writing a file or a folder atomically: renamed to `path` when the block ends, removed if it
    fails. If `path` is an existing folder, the files are moved into it one by one, in order of name.

    Raises:
        `DataError`: if it cannot be written.
    """
    path = os.path.normpath(path)
    is_directory = os.path.isdir(path)
    part = os.path.join(path, ".part") if is_directory else f"{path}.part"
    with write_errors(path):
        try:
            _remove(part)
            yield part
            sync_all(part)
            if is_directory:
                for name in sorted(os.listdir(part)):
                    os.replace(os.path.join(part, name), os.path.join(path, name))
            else:
                os.replace(part, path)
            sync(path if is_directory else os.path.dirname(path) or ".")
        finally:
            _remove(part)


def _remove(path: str):
    if os.path.isdir(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.remove(path)


@contextmanager
def directory_lock(folder: str) -> Iterator[None]:
    """
    Locks a folder, created if missing, against writing by other processes; the lock ends with this process.

    Raises:
        `DataError`: if another process has it.
    """
    created, parent = [], os.path.abspath(folder)
    while not os.path.isdir(parent):
        created.append(parent)
        parent = os.path.dirname(parent)
    path = os.path.join(folder, LOCK_NAME)
    with write_errors(folder):
        os.makedirs(folder, exist_ok=True)
        lock = open(path, "a+", encoding="utf-8")
    with lock:
        try:
            if sys.platform != "win32":
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.exists(path) or not os.path.samestat(os.fstat(lock.fileno()), os.stat(path)):
                raise BlockingIOError  # its owner is removing it, and another may have created it again
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
            for parent in created:  # a refused run leaves no empty folders behind
                if os.path.isdir(parent) and not os.listdir(parent):
                    os.rmdir(parent)


def check_output_file(path: str | None):
    """
    Checks that a file can be written before any work is done for it.

    Raises:
        `DataError`: if its folder does not exist or cannot be written to, or if it is a folder itself.
    """
    if path is None:
        return
    _check_name(path)
    folder = os.path.dirname(path) or "."
    if os.path.isdir(path) or not os.path.isdir(folder):
        raise DataError(f"{path} cannot be written: its folder does not exist, or it is a folder itself.")
    if reason := _why_not_writable(folder):
        raise DataError(f"{path} cannot be written: {reason}.")


def check_report_dir(path: str | None):
    """
    Checks that a folder can be made, or written to, before any work is done for it.

    Raises:
        `DataError`: if it cannot.
    """
    _check_name(path or ".")
    place = os.path.abspath(path or ".")
    while not os.path.exists(place):
        place = os.path.dirname(place)
    if not os.path.isdir(place) or _why_not_writable(place):
        raise DataError(f"{path} cannot be made: {place} is no folder that can be written to.")


def _check_name(path: str):
    try:
        path.encode()
    except UnicodeEncodeError:  # Arrow, safetensors and JSON take no other names
        raise DataError(f"{path}: the name is not UTF-8; choose another.") from None


def _why_not_writable(folder: str) -> str | None:
    """Why no file can be made in a folder, found by making one: rights alone do not tell of all file systems."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return error.strerror
