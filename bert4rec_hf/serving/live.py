# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""A pipeline for services: requests that come together are ranked at once, and new models are taken while it runs."""

import json
import os
import queue
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
        self._closed = threading.Event()
        self._load(self._files())
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
        self._waiting.put((user, settings, future))
        return future

    def close(self) -> None:
        """Answers what was asked for, and ends the threads."""
        self._closed.set()
        self._waiting.put(None)
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> "LivePipeline":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _files(self) -> list[tuple[str, int]]:
        return sorted((entry.name, entry.stat().st_mtime_ns) for entry in os.scandir(self.folder) if entry.is_file())

    def _load(self, files: list):
        model, processor = load_checkpoint(self.folder)
        self.pipeline = ItemRecommendationPipeline(model=model, processor=processor)
        self._loaded = files

    def _watch(self):
        while not self._closed.wait(self.reload_seconds):
            try:
                files = self._files()
                if files != self._loaded:
                    self._load(files)
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
                    groups.setdefault(json.dumps(settings, sort_keys=True, default=repr), []).append(
                        (user, settings, future)
                    )
            pipeline = self.pipeline  # one model for the whole batch
            for group in groups.values():
                self._answer(pipeline, group)

    def _answer(self, pipeline: ItemRecommendationPipeline, group: list[tuple[dict, dict, Future]]):
        settings = group[0][1]
        try:
            lists = pipeline([user for user, *_ in group], batch_size=len(group), **settings)
        except Exception as error:
            if len(group) == 1:
                return group[0][2].set_exception(error)
            for job in group:  # one bad request must not fail the others
                self._answer(pipeline, [job])
            return
        for (*_, future), items in zip(group, lists):
            future.set_result(items)
