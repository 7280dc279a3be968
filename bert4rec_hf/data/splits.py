# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Splits of a log into training, validation and test rows, and time windows of the test rows."""

import datetime
import re
from dataclasses import astuple, dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np

from ..errors import DataError
from .interactions import Interactions


SPLITS = ("none", "leave_one_out", "temporal")
TARGETS = ("all", "first", "last", "random")


@dataclass
class Split:
    """
    How a log is split; stored in the checkpoint.

    - `none`: all rows train.
    - `leave_one_out`: of a user with n >= 3 events the first n - 2 train, the next is the validation target (history
      n - 2), the last the test target (history n - 1). Users with fewer events only train. With `validation_users`
      only that many users, evenly spaced in the order of their ids, validate; the others train on their n - 1 events.
    - `temporal`: rows before `cutoff` train, rows from it on are the test targets of their users. The last
      `validation_days` before the cut-off validate instead of training. The targets of a user are `all` these rows,
      and the history ends at the cut-off; or one of them, the `first`, the `last` or a `random` one, and the history
      goes on up to it (https://huggingface.co/papers/2507.16289).
    """

    _argument_group_name = "Split"

    split: Literal["none", "leave_one_out", "temporal"] = field(
        default="leave_one_out", metadata={"help": "Which rows are held out of training."}
    )
    cutoff: str | None = field(
        default=None,
        metadata={
            "help": "First day of the test rows of a temporal split, YYYY-MM-DD, or a quantile of the rows in time: "
            "q0.9 for the first day before which nine tenths of them are."
        },
    )
    validation_days: int = field(
        default=0, metadata={"help": "Days before the cut-off that validate instead of training."}
    )
    validation_users: int = field(
        default=0, metadata={"help": "Number of leave_one_out users that validate, others train on that event; 0: all"}
    )

    targets: Literal["all", "first", "last", "random"] = field(
        default="all", metadata={"help": "Which of a user's rows after the cut-off are to be found."}
    )

    def __post_init__(self):
        for name, values in (("split", SPLITS), ("targets", TARGETS)):
            if getattr(self, name) not in values:
                *others, last = values
                raise DataError(f"{name} is {getattr(self, name)!r}; it must be {', '.join(others)} or {last}.")
        if self.split == "temporal" and self.quantile is None:
            self.cutoff_day()
        if self.split != "temporal" and self.targets != "all":
            raise DataError(f"targets are {self.targets}: only a temporal split has several of a user to choose from.")
        for name in ("validation_days", "validation_users"):
            if getattr(self, name) < 0:
                raise DataError(f"{name} is {getattr(self, name)}; it must be at least 0.")

    def cutoff_day(self) -> int:
        """The cut-off in days since 1970-01-01."""
        try:
            return (datetime.date.fromisoformat(self.cutoff or "") - datetime.date(1970, 1, 1)).days
        except (TypeError, ValueError):
            raise DataError(
                f"a temporal split needs --cutoff YYYY-MM-DD, or a quantile such as q0.9, not {self.cutoff!r}."
            ) from None

    def settings(self) -> dict:
        """The fields, for a checkpoint; `targets` where they are not all, as checkpoints without them are compared."""
        return {name: value for name, value in vars(self).items() if (name, value) != ("targets", "all")}

    @property
    def quantile(self) -> float | None:
        """The share of the rows before the cut-off, if the cut-off is given so."""
        is_quantile = isinstance(self.cutoff, str) and re.fullmatch(r"q0?\.\d*[1-9]\d*", self.cutoff)
        return float(self.cutoff[1:]) if is_quantile else None

    def of(self, interactions: Interactions) -> "Split":
        """
        The split with the date of its cut-off, where that is a quantile of a log's rows: a later log has another.

        Raises:
            `DataError`: if no day has that share of the rows before it.
        """
        if self.split != "temporal" or self.quantile is None:
            return self
        days, counts = np.unique(interactions.day, return_counts=True)
        place = int(np.searchsorted(np.cumsum(counts), round(self.quantile * counts.sum(), 6), side="left")) + 1
        if place >= len(days):
            raise DataError(f"cutoff is {self.cutoff}, and the log's last day has the rest; give a smaller one.")
        return replace(self, cutoff=str(np.datetime64(int(days[place]), "D")))

    def apply(self, interactions: Interactions) -> "SplitLog":
        """The log under this split: computed at the first call, then cached in the log."""
        key = astuple(self)
        if key not in interactions.split_logs:
            interactions.split_logs[key] = SplitLog(interactions, self.of(interactions))
        return interactions.split_logs[key]

    def rows(self, interactions: Interactions) -> dict[str, np.ndarray]:
        """Masks over the log's rows, each `(num_rows,)`, disjoint: `train`, `validation`, `test`."""
        no_rows = np.zeros(len(interactions), dtype=bool)
        rows = {"train": ~no_rows, "validation": no_rows, "test": no_rows}
        if self.split == "leave_one_out":
            events = np.bincount(interactions.user, minlength=len(interactions.user_ids))
            num_newer_events = (np.cumsum(events)[interactions.user] - 1) - np.arange(len(interactions))
            users = np.flatnonzero(events >= 3)
            number = min(self.validation_users or len(users), len(users))
            validates = np.zeros(len(events), dtype=bool)
            validates[users[np.arange(number) * len(users) // max(number, 1)]] = True
            rows["test"] = (events >= 3)[interactions.user] & (num_newer_events == 0)
            rows["validation"] = validates[interactions.user] & (num_newer_events == 1)
        elif self.split == "temporal":
            cutoff = self.of(interactions).cutoff_day()
            rows["test"] = interactions.day >= cutoff
            rows["validation"] = ~rows["test"] & (interactions.day >= cutoff - self.validation_days)
        rows["train"] = ~rows["validation"] & ~rows["test"]
        for subset in ("validation", "test") if self.targets != "all" else ():
            rows[subset] = self._one_of_each_user(interactions.user, rows[subset])
        return rows

    def _one_of_each_user(self, user: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """One of the rows of each user that has any, as `targets` says: a mask `(num_rows,)`."""
        places = np.flatnonzero(rows)
        users, first, number = np.unique(user[places], return_index=True, return_counts=True)
        chosen = {"first": 0, "last": number - 1}
        if self.targets == "random":
            draws = np.random.default_rng(0).random(int(users[-1]) + 1 if len(users) else 0)
            chosen["random"] = (draws[users] * number).astype(np.int64)
        one = np.zeros(len(rows), dtype=bool)
        one[places[first + chosen[self.targets]]] = True
        return one

    def __str__(self) -> str:
        if self.split == "temporal":
            one = f", the {self.targets} target" * (self.targets != "all")
            return f"temporal, cut-off {self.cutoff}, {self.validation_days} validation days{one}"
        return self.split + f", {self.validation_users} validation users" * bool(self.validation_users)


@dataclass(frozen=True)
class Window:
    """The days from `first` to before `end`, in days since 1970-01-01."""

    first: int
    end: int

    @property
    def name(self) -> str:
        return f"{np.datetime64(self.first, 'D')}..{np.datetime64(self.end - 1, 'D')}"

    def rows(self, interactions: Interactions) -> np.ndarray:
        """Mask of the rows of a log in these days, `(num_rows,)`."""
        return (interactions.day >= self.first) & (interactions.day < self.end)


def parse_windows(text: str | None, split: Split) -> list[Window] | None:
    """
    Consecutive windows from the cut-off of a temporal split; `None` if no text is given.

    Args:
        text (`str`): their lengths, as in `"1M,1M,1M"` or `"14D,2W"`: days (also without a letter), weeks or
            months. Months end on the cut-off's day of the month, or on the last day of shorter ones.

    Raises:
        `DataError`: if that is not a list of lengths, or the split has no cut-off.
    """
    if text is None:
        return None
    if split.split != "temporal":
        raise DataError(
            f"windows need a temporal split, and this one is {split}; give --split temporal --cutoff DATE."
        )
    if split.targets != "all":
        raise DataError(f"windows have all targets of their days, and this split has {split.targets} ones.")
    cutoff = split.cutoff_day()
    first, months, days, windows = np.datetime64(cutoff, "D"), 0, 0, []
    for length in text.upper().replace(" ", "").split(","):
        if not re.fullmatch(r"[1-9][0-9]{0,3}[DWM]?", length):
            raise DataError(f"windows are {text!r}; give lengths such as 1M,1M,1M or 14D,14D (days, weeks or months).")
        number = int(length.rstrip("DWM"))
        months += number * length.endswith("M")
        days += number * (0 if length.endswith("M") else 7 if length.endswith("W") else 1)
        month = first.astype("datetime64[M]") + months
        last_of_month = (month + 1).astype("datetime64[D]") - 1
        end = min(month.astype("datetime64[D]") + (first - first.astype("datetime64[M]")), last_of_month) + days
        windows.append(Window(windows[-1].end if windows else cutoff, int(end.astype(int))))
    return windows


class SplitLog:
    """
    A log under a split: which rows train, validate and test. [`Split.apply`] makes one per log and split.

    Args:
        interactions ([`Interactions`]): the log; it must not change afterwards.
        split ([`Split`]): how it is divided.
    """

    def __init__(self, interactions: Interactions, split: Split):
        self.interactions, self.split = interactions, split

    @cached_property
    def rows(self) -> dict[str, np.ndarray]:
        """Masks over the log's rows, each `(num_rows,)`, disjoint: `train`, `validation`, `test`."""
        return self.split.rows(self.interactions)

    @cached_property
    def core(self) -> tuple[np.ndarray, np.ndarray]:
        """
        Masks of the users `(num_users,)` and items `(num_items,)` kept by `min_events`; see [`k_core`].

        Raises:
            `DataError`: if no row is left to train on.
        """
        train = self.rows["train"]
        if not train.any():
            day = self.interactions.day
            first, last = (np.datetime64(int(day), "D") for day in (day.min(), day.max()))
            raise DataError(
                f"no row of the log is left to train on ({self.split}); the log runs from {first} to {last}."
            )
        return k_core(self.interactions, train, self.interactions.arguments.min_events)

    @cached_property
    def fitted_rows(self) -> np.ndarray:
        """
        Mask of the rows `(num_rows,)` used for fitting: the training rows without the users and items below
        `min_events`.

        Raises:
            `DataError`: if no row is left to train on.
        """
        keep_user, keep_item = self.core
        return self.rows["train"] & keep_user[self.interactions.user] & keep_item[self.interactions.item]

    def history_and_targets(
        self, subset: str, window: Window | None = None, update_history: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """
        Masks of the history rows and of the target rows, those of users below `min_events` left out. The history of a
        user with one target ends there.

        Args:
            subset (`str`): `"validation"` or `"test"`.
            window ([`Window`], *optional*): restricts the targets to these days.
            update_history (`bool`, *optional*, defaults to `False`): whether the history goes on to the window's
                first day, or ends where the targets of the split begin.
        """
        history, targets = self.rows["train"], self.rows[subset] & self.core[0][self.interactions.user]
        if self.split.targets != "all":
            targets = targets & window.rows(self.interactions) if window is not None else targets
            user, rows = self.interactions.user, np.arange(len(self.interactions))
            end_of_user = np.zeros(len(self.interactions.user_ids), dtype=np.int64)
            end_of_user[user[targets]] = rows[targets]
            return rows < end_of_user[user], targets
        if subset == "test":
            history = history | self.rows["validation"]
        if window is not None:
            if update_history:
                history = history | (targets & (self.interactions.day < window.first))
            targets = targets & window.rows(self.interactions)
        return history, targets

    def check_unseen(self, targets: np.ndarray) -> None:
        """
        Checks that a model trained under this split has not been trained on the targets of its evaluation.

        Args:
            targets (`np.ndarray` of bool, shape `(num_rows,)`): the target rows.

        Raises:
            `DataError`: if one of them is a training row.
        """
        leaked, log = np.flatnonzero(targets & self.rows["train"]), self.interactions
        if len(leaked):
            row = leaked[0]
            user = log.user_ids[int(log.user[row])].as_py()
            item = log.item_ids[int(log.item[row])].as_py()
            raise DataError(
                f"{len(leaked):,} test rows are training rows of the model ({self.split}), the first of them user "
                f"{user!r}, item {item!r}, {np.datetime64(int(log.day[row]), 'D')}; test it on later rows, or "
                "train it on earlier ones."
            )


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
