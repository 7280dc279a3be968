# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Reading, checking and cleaning logs with their side tables: files or data sets into Arrow and numpy."""

from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import DataError
from .arguments import FILES, DataArguments
from .columns import check_spellings, error_text, read_ids
from .features import read_item_tables, read_profiles
from .tables import TableLike, is_there, open_table
from .times import read_times


ROLES = ("the log", "the profile table", "the item table", "the keyword table")


@dataclass
class Interactions:
    """
    A cleaned log with its side tables. Users and items are codes into `user_ids` and `item_ids`; the rows of the log
    are sorted by user, time and position in the file.

    Args:
        arguments ([`DataArguments`]): how it was read.
        user_ids, item_ids (`pa.Array` of int64 or string): raw ids, sorted; including users without events.
        user, item (`np.ndarray` of int32, shape `(num_rows,)`): codes of the log's users and items.
        day (`np.ndarray` of int32, shape `(num_rows,)`): days since 1970-01-01.
        seconds (`np.ndarray` of int64, shape `(num_rows,)`, *optional*): seconds since 1970-01-01.
        tied (`np.ndarray` of bool, shape `(num_rows,)`, *optional*): whether another row of the user has the same
            time, so that the file alone says which comes first.
        titles (`pa.StringArray`, *optional*): one for each item, null where it has none.
        item_features (`dict[str, tuple[np.ndarray, pa.Array]]`): for each feature, item codes and values in pairs.
        user_features (`dict[str, pa.Array]`): for each feature the value of each user, null where there is none; a
            list of them if a user may have several.
        vector_features (`dict[str, np.ndarray]`): for each the vectors of the items, `(num_items, size)`, of mean 0
            and length 1, or 0 where an item has none.
        counts (`dict[str, int]`): rows read, and rows removed by each step of the cleaning.
        split_logs (`dict`): results of [`Split.apply`], by split.
    """

    arguments: DataArguments
    user_ids: pa.Array
    item_ids: pa.Array
    user: np.ndarray
    item: np.ndarray
    day: np.ndarray
    seconds: np.ndarray | None = None
    tied: np.ndarray | None = None
    titles: pa.Array | None = None
    item_features: dict = field(default_factory=dict)
    user_features: dict = field(default_factory=dict)
    vector_features: dict = field(default_factory=dict)
    counts: dict = field(default_factory=dict)
    split_logs: dict = field(default_factory=dict, init=False, repr=False, compare=False)  # not of a replaced log

    def __len__(self) -> int:
        return len(self.user)

    def of_rows(self, rows: np.ndarray) -> "Interactions":
        """The log of some rows, a mask or numbers in order, with the same side tables."""
        columns = {name: getattr(self, name) for name in ("user", "item", "day", "seconds", "tied")}
        columns = {name: None if values is None else values[rows] for name, values in columns.items()}
        return replace(self, counts={}, **columns)

    def summary(self, max_lines: int = 15) -> str:
        """Rows read and removed, one line per step; steps with 0 are omitted, those of several features merged."""
        names = sorted((*self.item_features, *self.user_features), key=len, reverse=True)
        steps = {}
        for step, count in self.counts.items():
            name = next((name for name in names if name in step.split()), None)
            if count:
                steps.setdefault(step.replace(name, "{}", 1) if name else step, []).append((name, count))
        lines = []
        for step, counts in steps.items():
            names_and_counts = (
                ", ".join(f"{name} ({count:,})" for name, count in counts) if len(counts) > 1 else counts[0][0]
            )
            text = step.replace("{}", names_and_counts, 1) if names_and_counts else step
            lines.append((sum(count for _, count in counts), text))
        num_hidden = len(lines) - max_lines + 1 if len(lines) > max_lines else 0
        smallest = sorted(range(len(lines)), key=lambda number: lines[number][0])[:num_hidden]
        shown = [f"{count:>12,}  {text}" for number, (count, text) in enumerate(lines) if number not in smallest]
        return "\n".join(shown + [f"{'':12}  and {num_hidden} smaller counts"] * bool(num_hidden))


def read_interactions(
    arguments: DataArguments,
    history: TableLike | None = None,
    profiles: TableLike | None = None,
    items: TableLike | None = None,
    keywords: TableLike | None = None,
) -> Interactions:
    """
    Reads and cleans a log and its side tables.

    Args:
        arguments ([`DataArguments`]):
            Files, columns and filters.
        history, profiles, items, keywords (`str`, `list[str]`, `datasets.Dataset`, or a table, *optional*):
            The tables: files, or tables and data frames of PyArrow, pandas, Polars, DuckDB and others that have
            `__arrow_c_stream__`; where one is left out, the file that `arguments` names. Beside a `history` that is
            given, this file need not exist.

    Returns:
        [`Interactions`]

    Raises:
        `DataError`: for input that cannot be used, in one line that names the file, the column, the row or the id.
    """
    try:
        return _read_interactions(arguments, history, profiles, items, keywords)
    except pa.ArrowException as error:  # not caught by our own checks
        raise DataError(f"the data cannot be read: {error_text(error)}") from None


def _read_interactions(args: DataArguments, history, profiles, items, keywords) -> Interactions:
    counts = {}
    paths = [args.path(getattr(args, file)) for file in FILES]
    if history is not None:
        paths = [path if path and is_there(path) else None for path in paths]
    history, profiles, items, keywords = (
        open_table(given, path, role, args.delimiter, args.encoding)
        for given, path, role in zip((history, profiles, items, keywords), paths, ROLES)
    )
    if history is None:
        raise DataError("there is no log; give its file (--history_data_file).")

    log = history.read([args.user_column, args.item_column, args.time_column], counts)
    if not len(log):
        raise DataError(f"{history.name}: there are no rows under the header; nothing to train on.")
    users, user = read_ids(history, log, args.user_column)
    item_ids, item = read_ids(history, log, args.item_column)
    for column, ids in ((args.user_column, users), (args.item_column, item_ids)):
        check_spellings(history, column, ids)
    time, seconds, day = read_times(history, log, args.time_column, counts, args.time_zone)
    counts["rows read from the log"] = len(time)
    order = _order(user, time)
    user, item, time, seconds, day = (column[order] for column in (user, item, time, seconds, day))
    keep = _first_of_exact_duplicates(user, item, time)
    counts[f"exact duplicate rows {'kept' if args.keep_duplicates else 'dropped'}"] = int((~keep).sum())
    if not args.keep_duplicates:
        user, item, time, seconds, day = (column[keep] for column in (user, item, time, seconds, day))
    repeat = np.r_[False, (user[1:] == user[:-1]) & (item[1:] == item[:-1])]
    counts[f"rows repeating the row before, {'dropped' if args.collapse_repeats else 'kept'}"] = int(repeat.sum())
    if args.collapse_repeats:
        user, item, time, seconds, day = (column[~repeat] for column in (user, item, time, seconds, day))
    tie = np.r_[False, (user[1:] == user[:-1]) & (time[1:] == time[:-1]), False]

    interactions = Interactions(args, users, item_ids, user, item, day, seconds, tie[1:] | tie[:-1], counts=counts)
    counts["events"] = len(user)
    counts["users with events"] = len(users)
    counts["items with events"] = len(item_ids)
    features = [*args.item_features, *args.text_features, *args.vector_features]
    if items or keywords:
        for name, values in read_item_tables(args, items, keywords, item_ids, counts).items():
            setattr(interactions, name, values)
    elif features:
        raise DataError(f"item_features {', '.join(features)} need an item table; give one, or no features.")
    if profiles:
        interactions.user_ids, interactions.user_features = read_profiles(args, profiles, users, counts)
        new_codes = pc.index_in(users, interactions.user_ids).to_numpy().astype(np.int32)
        interactions.user = new_codes[user]
    elif args.user_features:
        raise DataError(
            f"user_features {', '.join(args.user_features)} need a profile table; give one, or no features."
        )
    return interactions


def read_user_ids(arguments: DataArguments, path: str) -> pa.Array:
    """
    The user ids of a file such as sample_submission.csv, in its order.

    Raises:
        `DataError`: for a file that cannot be used, and for an empty id.
    """
    source = open_table(None, path, "the list of users", arguments.delimiter, arguments.encoding)
    table = source.read([arguments.user_column])
    if not len(table):
        raise DataError(f"{source.name}: there are no rows under the header; nobody to recommend to.")
    ids, codes = read_ids(source, table, arguments.user_column)
    return ids.take(pa.array(codes))


def _order(user: np.ndarray, time: np.ndarray) -> np.ndarray:
    """The order by user, time and position in the file; with one key, if possible, in half of `np.lexsort`'s time."""
    first, last = int(time.min()), int(time.max())
    if (int(user.max()) + 1) * (last - first + 1) >= 2**63:
        return np.lexsort((time, user))
    return np.argsort(user * np.int64(last - first + 1) + (time - first), kind="stable")


def _first_of_exact_duplicates(user: np.ndarray, item: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Mask of the rows to keep of a log sorted by user and time: the first of each set of exact duplicates."""
    keep = np.ones(len(user), dtype=bool)
    tie = np.r_[(user[1:] == user[:-1]) & (time[1:] == time[:-1]), False]
    run = np.flatnonzero(tie | np.r_[False, tie[:-1]])
    group = np.cumsum(~np.r_[False, tie[:-1]])[run]
    order = np.lexsort((item[run], group))
    run, group = run[order], group[order]
    keep[run[1:][(group[1:] == group[:-1]) & (item[run[1:]] == item[run[:-1]])]] = False
    return keep
