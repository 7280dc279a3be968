# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Which rows of a log train, validate and test."""

import datetime
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from .interactions import Interactions
from .tables import DataError


@dataclass
class Split:
    """
    How a log is divided; it travels with the checkpoint.

    - `none`: all rows train.
    - `leave_one_out`: of a user with n >= 3 events the first n - 2 train, the next is the validation target (history
      n - 2), the last the test target (history n - 1). Users with fewer events only train.
    - `temporal`: rows before `cutoff` train, rows from it on are the test targets of their users. The last
      `validation_days` before the cut-off validate instead of training.
    """

    split: Literal["none", "leave_one_out", "temporal"] = field(
        default="leave_one_out", metadata={"help": "Which rows are held out of training."}
    )
    cutoff: str | None = field(
        default=None, metadata={"help": "First day of the test rows of a temporal split, YYYY-MM-DD."}
    )
    validation_days: int = field(
        default=0, metadata={"help": "Days before the cut-off that validate instead of training."}
    )

    def __post_init__(self):
        if self.split not in ("none", "leave_one_out", "temporal"):
            raise DataError(f"split is {self.split!r}; it must be none, leave_one_out or temporal.")
        if self.split == "temporal":
            self.cutoff_day()
        if self.validation_days < 0:
            raise DataError(f"validation_days is {self.validation_days}; it must be at least 0.")

    def cutoff_day(self) -> int:
        """The cut-off in days since 1970-01-01."""
        try:
            return (datetime.date.fromisoformat(self.cutoff or "") - datetime.date(1970, 1, 1)).days
        except ValueError:
            raise DataError(f"a temporal split needs --cutoff YYYY-MM-DD, not {self.cutoff!r}.") from None

    def rows(self, interactions: Interactions) -> dict[str, np.ndarray]:
        """
        Masks over the log's rows, each `(num_rows,)`, disjoint: `train`, `validation`, `test`.

        Raises:
            `DataError`: if no row is left to train on.
        """
        nothing = np.zeros(len(interactions), dtype=bool)
        rows = {"train": ~nothing, "validation": nothing, "test": nothing}
        if self.split == "leave_one_out":
            events = np.bincount(interactions.user, minlength=len(interactions.user_ids))
            newer = (np.cumsum(events)[interactions.user] - 1) - np.arange(len(interactions))
            held_out = events[interactions.user] >= 3
            rows["test"] = held_out & (newer == 0)
            rows["validation"] = held_out & (newer == 1)
        elif self.split == "temporal":
            rows["test"] = interactions.day >= self.cutoff_day()
            rows["validation"] = ~rows["test"] & (interactions.day >= self.cutoff_day() - self.validation_days)
        rows["train"] = ~rows["validation"] & ~rows["test"]
        if not rows["train"].any():
            first, last = (np.datetime64(int(day), "D") for day in (interactions.day.min(), interactions.day.max()))
            raise DataError(f"no row of the log is left to train on ({self}); the log runs from {first} to {last}.")
        return rows

    def __str__(self) -> str:
        if self.split == "temporal":
            return f"temporal, cut-off {self.cutoff}, {self.validation_days} validation days"
        return self.split


def history_and_targets(rows: dict[str, np.ndarray], subset: str) -> tuple[np.ndarray, np.ndarray]:
    """Masks of the rows a user is recommended from and of those that should be found, for `validation` or `test`."""
    history = rows["train"] | rows["validation"] if subset == "test" else rows["train"]
    return history, rows[subset]


def training_rows(interactions: Interactions, split: Split) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    What everything fitted sees: the training rows of a split, less users and items below `min_events`.

    Returns:
        `tuple[np.ndarray, np.ndarray, np.ndarray]`: masks of the rows `(num_rows,)`, and of the users `(num_users,)`
        and items `(num_items,)` that are kept.
    """
    train = split.rows(interactions)["train"]
    keep_user, keep_item = k_core(interactions, train, interactions.arguments.min_events)
    return train & keep_user[interactions.user] & keep_item[interactions.item], keep_user, keep_item


def k_core(interactions: Interactions, train: np.ndarray, min_events: int) -> tuple[np.ndarray, np.ndarray]:
    """
    The largest set of users and items that have at least `min_events` training rows among each other.

    Args:
        train (`np.ndarray` of bool, shape `(num_rows,)`): the training rows; others do not count.
        min_events (`int`): below 2 nothing is dropped.

    Returns:
        `tuple[np.ndarray, np.ndarray]`: masks of the users `(num_users,)` and the items `(num_items,)` to keep.

    Raises:
        `DataError`: if nobody is left.
    """
    keep_user = np.ones(len(interactions.user_ids), dtype=bool)
    keep_item = np.ones(len(interactions.item_ids), dtype=bool)
    user, item = interactions.user[train], interactions.item[train]
    while min_events > 1:
        row = keep_user[user] & keep_item[item]
        users = np.bincount(user[row], minlength=len(keep_user)) >= min_events
        items = np.bincount(item[row], minlength=len(keep_item)) >= min_events
        if (users == keep_user).all() and (items == keep_item).all():
            break
        keep_user, keep_item = users, items
    if not (keep_user.any() and keep_item.any()):
        raise DataError(f"nobody is left: no users and items have {min_events} training events (--min_events).")
    return keep_user, keep_item
