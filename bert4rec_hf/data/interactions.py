# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Reading, checking and cleaning logs, item tables and profile tables: files or data sets into Arrow and numpy."""

import os
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from transformers.utils import logging

from ..errors import DataError
from ..model.processing_bert4rec import Bert4RecProcessor
from .columns import (
    categories,
    check_spellings,
    decoded,
    error_text,
    id_keys,
    ids_as,
    is_list,
    is_text,
    list_values,
    read_ids,
    read_numbers,
)
from .tables import Table, TableLike, is_on_the_hub, is_there, open_table
from .times import check_time_zone, read_times


logger = logging.get_logger(__name__)

FILES = ("history_data_file", "profile_data_file", "meta_data_file", "meta_data_plus_file")
ROLES = ("the log", "the profile table", "the item table", "the keyword table")


@dataclass
class DataArguments:
    """
    The location of the data and how it is read. All but the location is stored in the checkpoint, as the defaults for
    its later use.
    """

    _argument_group_name = "Data"

    data_dir: str = field(
        default=".", metadata={"help": "Folder of the files below, or a data set on the Hub, hf://datasets/user/name."}
    )
    history_data_file: list[str] = field(
        default_factory=lambda: ["history_data.csv"],
        metadata={"help": "The log: CSV, JSON lines or Parquet; files, folders or globs. One row is one viewing."},
    )
    profile_data_file: list[str] = field(
        default_factory=lambda: ["profile_data.csv"],
        metadata={"help": 'The profiles, or "none". One row is one user.'},
    )
    meta_data_file: list[str] = field(
        default_factory=lambda: ["meta_data.csv"], metadata={"help": 'The items, or "none".'}
    )
    meta_data_plus_file: list[str] = field(
        default_factory=lambda: ["meta_data_plus.csv"],
        metadata={"help": 'Item keywords, several rows per item, or "none".'},
    )
    user_column: str = field(default="profile_id", metadata={"help": "Column of the user ids."})
    item_column: str = field(default="album_id", metadata={"help": "Column of the item ids."})
    time_column: str = field(
        default="log_time",
        metadata={"help": "Column that orders the log: YYYYMMDDhhmmss, YYYYMMDD, epoch seconds or a timestamp."},
    )
    time_zone: str | None = field(
        default=None,
        metadata={
            "help": "Time zone of the days, such as Asia/Seoul: times without a zone are then UTC. Times with a zone "
            "of their own, other than UTC, keep their day."
        },
    )
    title_column: str = field(default="title", metadata={"help": "Column of the item titles, used where it exists."})
    item_features: list[str] = field(
        default_factory=lambda: ["genre_mid", "country", "keyword_name"],
        metadata={"help": 'Item columns the model learns from, of either item table ("none" for no features).'},
    )
    user_features: list[str] = field(
        default_factory=lambda: ["sex", "age"],
        metadata={"help": 'Profile columns the model learns from ("none" for no features).'},
    )
    number_features: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Those of these columns that hold numbers: a number is learnt with the numbers near it. A column "
            "of codes is none."
        },
    )
    keyword_value_column: str = field(
        default="keyword_value", metadata={"help": 'Weight of a keyword row, heaviest first, or "none".'}
    )
    keyword_min_value: float = field(default=3.0, metadata={"help": "Keyword rows below this weight are left out."})
    keyword_max_length: int = field(default=20, metadata={"help": "Maximum number of values of a feature."})
    multi_value_separator: str | None = field(
        default=None, metadata={"help": 'Separates several values in the text of a feature, such as "|".'}
    )
    delimiter: str = field(default=",", metadata={"help": "Delimiter of CSV files."})
    encoding: str = field(default="utf-8", metadata={"help": "Encoding of CSV files, such as cp949."})
    keep_duplicates: bool = field(
        default=False, metadata={"help": "Keep rows that are equal in user, item and time, as where times are days."}
    )
    collapse_repeats: bool = field(
        default=False, metadata={"help": "Keep one of several consecutive viewings of the same item."}
    )
    min_events: int = field(
        default=0, metadata={"help": "Keep users and items with at least this many training events (k-core)."}
    )

    def __post_init__(self):
        if self.item_features == ["none"]:
            self.item_features = []
        if self.user_features == ["none"]:
            self.user_features = []
        if self.number_features == ["none"]:
            self.number_features = []
        for name in FILES:  # a list of one, as from the command line, is that file
            files = getattr(self, name)
            if not isinstance(files, str) and len(files) == 1:
                setattr(self, name, files[0])
        if self.keyword_max_length < 1:
            raise DataError(f"keyword_max_length is {self.keyword_max_length}; it must be at least 1.")
        if len(self.delimiter.encode()) != 1 or self.delimiter in '\n\r\0"':
            raise DataError(f"delimiter is {self.delimiter!r}; it must be one character, and no line break or quote.")
        if self.multi_value_separator == "":
            raise DataError("multi_value_separator is empty; give what separates the values, such as '|'.")
        try:
            "\n".encode(self.encoding)
        except LookupError:
            raise DataError(f"encoding is {self.encoding!r}; give one that Python knows, such as cp949.") from None
        check_time_zone(self.time_zone)

    def rules(self) -> dict:
        """The arguments that are stored in a checkpoint: all but the folders, which are private."""
        rules = {name: value for name, value in asdict(self).items() if name != "data_dir"}
        return {name: _without_folder(value) for name, value in rules.items()}

    def path(self, file: str | list[str]) -> str | list[str] | None:
        """The path of one of the files, or the paths of several; `None` for "none"."""
        if not isinstance(file, str):
            return [self._path(part) for part in file]
        return None if file.lower() in ("", "none") else self._path(file)

    def _path(self, file: str) -> str:
        return file if is_on_the_hub(file) else os.path.join(self.data_dir, file)

    def submission_path(self, file: str | None) -> str | None:
        """
        The path of the file that lists whom to recommend to: of sample_submission.csv, if there is one, where none is
        named; `None` for all users.
        """
        default = self.path("sample_submission.csv")
        return self.path(file) if file is not None else default if is_there(default) else None

    def for_checkpoint(self, processor: Bert4RecProcessor) -> "DataArguments":
        """
        The arguments for reading the log of a trained model: without the item tables, which are in its processor,
        and, if it is not there, without the profile table that it was trained with.
        """
        changes = {"meta_data_file": "none", "meta_data_plus_file": "none", "item_features": []}
        path = self.path(self.profile_data_file)
        if path and self.profile_data_file == (processor.data or {}).get("profile_data_file") and not is_there(path):
            logger.warning(f"{path}: there is no such file; all users are recommended to without a profile.")
            changes |= {"profile_data_file": "none", "user_features": []}
        return replace(self, **changes)


def _without_folder(value):
    if isinstance(value, list):
        return [_without_folder(part) for part in value]
    is_path = isinstance(value, str) and (os.path.isabs(value) or is_on_the_hub(value))
    return os.path.basename(value) if is_path else value


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
        tied (`np.ndarray` of bool, shape `(num_rows,)`, *optional*): whether another row of the user has the same
            time, so that the file alone says which comes first.
        titles (`pa.StringArray`, *optional*): one for each item, null where it has none.
        item_features (`dict[str, tuple[np.ndarray, pa.Array]]`): for each feature, item codes and values in pairs.
        user_features (`dict[str, pa.Array]`): for each feature the value of each user, null where there is none; a
            list of them if a user may have several.
        counts (`dict[str, int]`): rows read, and rows removed by each step of the cleaning.
        split_logs (`dict`): results of [`Split.apply`], by split.
    """

    arguments: DataArguments
    user_ids: pa.Array
    item_ids: pa.Array
    user: np.ndarray
    item: np.ndarray
    day: np.ndarray
    tied: np.ndarray | None = None
    titles: pa.Array | None = None
    item_features: dict = field(default_factory=dict)
    user_features: dict = field(default_factory=dict)
    counts: dict = field(default_factory=dict)
    split_logs: dict = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.user)

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
    time, day = read_times(history, log, args.time_column, counts, args.time_zone)
    counts["rows read from the log"] = len(time)
    order = _order(user, time)
    user, item, time, day = user[order], item[order], time[order], day[order]
    keep = _first_of_exact_duplicates(user, item, time)
    counts[f"exact duplicate rows {'kept' if args.keep_duplicates else 'dropped'}"] = int((~keep).sum())
    if not args.keep_duplicates:
        user, item, time, day = user[keep], item[keep], time[keep], day[keep]
    repeat = np.r_[False, (user[1:] == user[:-1]) & (item[1:] == item[:-1])]
    counts[f"rows repeating the row before, {'dropped' if args.collapse_repeats else 'kept'}"] = int(repeat.sum())
    if args.collapse_repeats:
        user, item, time, day = user[~repeat], item[~repeat], time[~repeat], day[~repeat]
    tie = np.r_[False, (user[1:] == user[:-1]) & (time[1:] == time[:-1]), False]

    interactions = Interactions(args, users, item_ids, user, item, day, tie[1:] | tie[:-1], counts=counts)
    counts["events"] = len(user)
    counts["users with events"] = len(users)
    counts["items with events"] = len(item_ids)
    if items or keywords:
        _add_item_tables(interactions, items, keywords)
    elif args.item_features:
        raise DataError(f"item_features {', '.join(args.item_features)} need an item table; give one, or no features.")
    if profiles:
        _add_profiles(interactions, profiles)
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


def _add_item_tables(interactions: Interactions, items: Table | None, keywords: Table | None):
    args, counts, item_ids = interactions.arguments, interactions.counts, interactions.item_ids
    in_tables = np.zeros(len(item_ids), dtype=bool)
    found = set()
    for source in (items, keywords):
        if source is None:
            continue
        several_rows = source is keywords
        features = [name for name in args.item_features if name in source.columns and name not in found]
        found |= set(features)
        weighted = several_rows and args.keyword_value_column.lower() not in ("", "none")
        columns = [args.item_column, *features, *([args.keyword_value_column] if weighted else [])]
        with_titles = args.title_column in source.columns and interactions.titles is None
        table = source.read([*columns, *([args.title_column] if with_titles else [])], counts)
        item = _join(source, table, args.item_column, item_ids, counts, count_more_rows=not several_rows)
        in_tables[item[item >= 0]] = True
        if with_titles:
            source.check_flat(table, args.title_column, "a title")
            titles = categories(table[args.title_column], f"{source.name}: {args.title_column}")
            interactions.titles = _first_value_per_code(item, titles, len(item_ids)).cast(pa.string())
        heaviest_first = None
        if weighted:
            weight = read_numbers(source, table, args.keyword_value_column)
            is_below_min = ~(weight >= args.keyword_min_value)
            step = f"with {args.keyword_value_column} below {args.keyword_min_value:g}, left out"
            counts[f"rows of {source.role} {step}"] = int(is_below_min.sum())
            item = np.where(is_below_min, -1, item)
            heaviest_first = np.argsort(-weight, kind="stable")
        for name in features:
            values = _feature_values(source, table, name, args)
            codes, order, is_single = item, heaviest_first, not several_rows
            if is_list(values.type):
                rows, values = list_values(values)
                codes, is_single = item[rows], False
                order = None if order is None else np.argsort(np.argsort(order)[rows], kind="stable")
            values = categories(values, f"{source.name}: {name}")
            if is_single:
                codes, values = np.arange(len(item_ids)), _first_value_per_code(item, values, len(item_ids))
            is_kept = (codes >= 0) & values.is_valid().to_numpy(zero_copy_only=False)
            pairs = np.flatnonzero(is_kept) if order is None else order[is_kept[order]]
            pairs = pairs[np.argsort(codes[pairs], kind="stable")]
            interactions.item_features[name] = codes[pairs], values.take(pa.array(pairs))
            num_missing = len(item_ids) - len(np.unique(codes[pairs]))
            counts[f"items with events without {name}"] = num_missing
    counts["items with events that no item table knows"] = int((~in_tables).sum())
    for name in args.item_features:
        if name not in found:
            known = [f"{source.name} has {', '.join(source.columns)}" for source in (items, keywords) if source]
            raise DataError(f"item feature {name!r} is no column of the item tables ({'; '.join(known)}).")


def _feature_values(source: Table, table: pa.Table, name: str, args: DataArguments) -> pa.ChunkedArray:
    """A column of an item feature: values, or lists of them."""
    values = table[name]
    source.check_flat(table, name, "a value or a list of values")
    if not is_text(decoded(values).type):
        return values
    if args.multi_value_separator:
        return pc.split_pattern(decoded(values), args.multi_value_separator)
    distinct = pc.unique(decoded(values)).drop_null()
    for separator in "|;,":
        lists = pc.split_pattern(distinct, separator)
        have_several = pc.greater(pc.list_value_length(lists), 1)
        # Values in common, in a fifth of the texts or more
        if 5 * (pc.sum(have_several).as_py() or 0) >= len(distinct) >= len(pc.unique(pc.list_flatten(lists))) > 0:
            example = distinct[pc.index(have_several, True).as_py()].as_py()
            logger.warning_once(
                f"{source.name}: {name} looks like several values in one text, such as {example!r:.100}; see "
                "--multi_value_separator."
            )
            break
    return values


def _add_profiles(interactions: Interactions, profiles: Table):
    args, counts = interactions.arguments, interactions.counts
    table = profiles.read([args.user_column, *args.user_features], counts)
    raw_ids, codes = read_ids(profiles, table, args.user_column, allow_null=True)
    if pa.types.is_string(raw_ids.type):  # two spellings of one id are one user
        keys = id_keys(raw_ids)
        raw_ids = raw_ids.take(pc.index_in(keys, keys))
    ids = ids_as(raw_ids, interactions.user_ids)
    counts[f"rows of {profiles.role} without an id"] = int((codes < 0).sum())
    is_other = np.append(ids.is_null().to_numpy(zero_copy_only=False), False)
    counts[f"rows of {profiles.role} whose id is text, unlike all in the log"] = int(is_other[codes].sum())
    _warn_of_strangers(profiles, args.user_column, raw_ids, pc.index_in(ids, interactions.user_ids).is_valid())
    # Profiles without events are users too: they get recommendations from their profile.
    users = pc.unique(pa.concat_arrays([interactions.user_ids, ids])).drop_null()
    users = users.take(pc.sort_indices(users))
    new_codes = pc.index_in(interactions.user_ids, users).to_numpy().astype(np.int32)
    interactions.user, interactions.user_ids = new_codes[interactions.user], users
    user = np.append(pc.index_in(ids, users).fill_null(-1).to_numpy(), -1)[codes]
    counts[f"rows of {profiles.role} beyond the first of a user, used for gaps"] = _count_extra_rows(user)
    has_profile = np.zeros(len(users), dtype=bool)
    has_profile[user[user >= 0]] = True
    counts["profiles without events"] = int(has_profile.sum() - has_profile[np.unique(interactions.user)].sum())
    counts["users with events but no profile"] = int((~has_profile).sum())
    for name in args.user_features:
        values = _feature_values(profiles, table, name, args)
        if is_list(values.type):
            rows, parts = list_values(values)
            ends = np.append(np.searchsorted(rows, np.arange(len(values))), len(rows)).astype(np.int32)
            is_empty = np.append(ends[1:] == ends[:-1], False)  # null, so that a later row of the user counts
            parts = categories(parts, f"{profiles.name}: {name}")
            values = pa.ListArray.from_arrays(pa.array(ends, mask=is_empty), parts)
        else:
            values = categories(values, f"{profiles.name}: {name}")
        interactions.user_features[name] = _first_value_per_code(user, values, len(users))


def _join(
    source: Table, table: pa.Table, column: str, known: pa.Array, counts: dict, count_more_rows: bool
) -> np.ndarray:
    """For each row of a side table the code of its id among the known ids, -1 if unknown."""
    ids, codes = read_ids(source, table, column, allow_null=True)
    counts[f"rows of {source.role} without an id"] = int((codes < 0).sum())
    if count_more_rows:
        counts[f"rows of {source.role} beyond the first of an item, used for gaps"] = _count_extra_rows(codes)
    places = pc.index_in(ids_as(ids, known), known)
    _warn_of_strangers(source, column, ids, places.is_valid())
    known_codes = places.fill_null(-1).to_numpy().astype(np.int32)
    counts[f"items of {source.role} without events"] = int((known_codes < 0).sum())
    return np.append(known_codes, np.int32(-1))[codes]


def _warn_of_strangers(source: Table, column: str, ids: pa.Array, is_known: pa.BooleanArray):
    """Warns of a side table of which less than 1% is in the log, as where the two have different kinds of ids."""
    number = pc.sum(is_known).as_py() or 0
    if number < len(ids) / 100:
        example = ids[pc.index(is_known, False).as_py()].as_py()
        logger.warning(
            f"{source.name}: of {len(ids):,} ids in {column}, {number:,} are in the log; {example!r:.100} is not. Are "
            "they the same ids?"
        )


def _count_extra_rows(codes: np.ndarray) -> int:
    known = codes[codes >= 0]
    return len(known) - len(np.unique(known))


def _first_value_per_code(codes: np.ndarray, values: pa.Array, size: int) -> pa.Array:
    """The first non-null value of each code; tables may have several rows per item or profile."""
    rows = np.flatnonzero((codes >= 0) & values.is_valid().to_numpy(zero_copy_only=False))
    known, first = np.unique(codes[rows], return_index=True)
    places = np.full(size, -1)
    places[known] = rows[first]
    return values.take(pa.array(places, mask=places < 0))


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
