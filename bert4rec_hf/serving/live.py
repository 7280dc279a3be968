# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""A pipeline for services: requests that come together are ranked at once, and new models are taken while it runs."""

import json
import os
import queue
import shutil
import tempfile
import threading
from concurrent.futures import Future
from typing import Any

from transformers.utils import logging

from ..errors import DataError, one_line
from ..hub.load import LOAD_ERRORS, load_checkpoint
from ..model.pipeline_bert4rec import ItemRecommendationPipeline


logger = logging.get_logger(__name__)


class LivePipeline:
    """
    The [`ItemRecommendationPipeline`] of a checkpoint, for many threads.

    Args:
        folder (`str`):
            The checkpoint. When its files change, or it becomes a link to another folder, the new model is loaded
            while requests go on with the old one; one that cannot be loaded is reported, and tried again later.
        max_batch (`int`, *optional*, defaults to 64):
            Users that are ranked at once.
        reload_seconds (`float`, *optional*, defaults to 2.0):
            Time between two looks at the folder.

    Raises:
        `DataError`: if the folder holds no checkpoint.

    Example:

    ```python
    >>> with LivePipeline("exps/seed1") as live:
    ...     live.submit({"history": [491, 920]}, k=5).result()
    ```"""

    def __init__(self, folder: str, max_batch: int = 64, reload_seconds: float = 2.0):
        self.folder, self.max_batch, self.reload_seconds = folder, max_batch, reload_seconds
        self._waiting: queue.SimpleQueue = queue.SimpleQueue()
        self._closed, self._lock = threading.Event(), threading.Lock()
        try:
            self._load(self._files())
        except OSError as error:
            raise DataError(f"{folder} cannot be read: {error.strerror}.") from None
        self._threads = [threading.Thread(target=target, daemon=True) for target in (self._work, self._watch)]
        for thread in self._threads:
            thread.start()

    def submit(self, user: dict, **settings: Any) -> Future:
        """
        Asks for the list of a user.

        Args:
            user, settings: as for [`ItemRecommendationPipeline`]. Users with the same settings are ranked at once.

        Returns:
            `Future`: of the list, or of the `ValueError` that the pipeline raises for this user.
        """
        future: Future = Future()
        with self._lock:  # nothing is put after what ends the work
            if self._closed.is_set():
                raise RuntimeError("this LivePipeline is closed.")
            self._waiting.put((user, settings, future))
        return future

    def close(self) -> None:
        """Answers what was asked for, and ends the threads."""
        with self._lock:
            self._closed.set()
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> "LivePipeline":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _files(self) -> list[tuple[str, int, int]]:
        entries = [entry for entry in os.scandir(self.folder) if entry.name.endswith((".json", ".safetensors"))]
        files = [(entry.name, entry.stat()) for entry in entries]
        return sorted((name, stat.st_ino, stat.st_mtime_ns) for name, stat in files)

    def _load(self, files: list):
        # From a copy: weights stay mapped, and a mapped file that is written over ends the process.
        with tempfile.TemporaryDirectory() as copy:
            for name, *_ in files:
                shutil.copyfile(os.path.join(self.folder, name), os.path.join(copy, name))
            model, processor = load_checkpoint(copy)
        self.pipeline = ItemRecommendationPipeline(model=model, processor=processor)
        self._loaded = files

    def _watch(self):
        before = None
        while not self._closed.wait(self.reload_seconds):
            try:
                files = self._files()
                if files == before and files != self._loaded:  # else they may still be being written
                    self._load(files)
                before = files
            except (DataError, *LOAD_ERRORS) as error:
                logger.warning("%s is not loaded, the old model stays: %s", self.folder, one_line(error))

    def _work(self):
        is_open = True
        while is_open:
            jobs = [self._waiting.get()]
            while len(jobs) < self.max_batch and not self._waiting.empty():
                jobs.append(self._waiting.get())
            is_open = None not in jobs
            groups: dict[str, list] = {}
            for user, settings, future in filter(None, jobs):
                if future.set_running_or_notify_cancel():  # or nobody waits for it any more
                    groups.setdefault(_group_key(settings), []).append((user, settings, future))
            pipeline = self.pipeline  # one model for the whole batch
            for group in groups.values():
                self._answer(pipeline, group)

    def _answer(self, pipeline: ItemRecommendationPipeline, group: list[tuple[dict, dict, Future]]):
        settings = group[0][1]
        try:
            if settings.get("k") is not None:  # the longest list begins with the shorter ones
                settings = settings | {"k": max(own["k"] for _, own, _ in group)}
            lists = pipeline([user for user, *_ in group], batch_size=len(group), **settings)
        except Exception as error:
            if len(group) == 1:
                return group[0][2].set_exception(error)
            middle = len(group) // 2  # one bad request must not fail the others
            self._answer(pipeline, group[:middle])
            return self._answer(pipeline, group[middle:])
        for (_, own, future), items in zip(group, lists):
            future.set_result(items[: own.get("k")])


def _group_key(settings: dict) -> str | int:
    """
    Equal for settings that can be ranked together: equal ones, but for the length of lists that are simply the best
    items. Settings that are no JSON, as arrays are, are a group of their own.
    """
    k = settings.get("k")
    if isinstance(k, int) and k >= 1 and not settings.get("max_per") and not settings.get("diversity"):
        settings = settings | {"k": "any"}
    try:
        return json.dumps(settings, sort_keys=True)
    except (TypeError, ValueError, RecursionError):
        return id(settings)
