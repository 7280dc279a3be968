# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Reading, checking and cleaning logs, item tables and profile tables: files or data sets into Arrow and numpy."""

import glob
import os
from dataclasses import asdict, dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet


class DataError(ValueError):
    """Input that cannot be used: the message is one line for the person who gave it."""


@dataclass
class DataArguments:
    """
    Where the data lies and how it is read. Everything but the place travels with the checkpoint and is the default
    when the checkpoint is used again.
    """

    data_dir: str = field(default=".", metadata={"help": "Folder of the files below."})
    history_data_file: str = field(
        default="history_data.csv",
        metadata={"help": "The log: CSV or Parquet; a file, a folder or a glob. One row is one viewing."},
    )
    profile_data_file: str = field(
        default="profile_data.csv", metadata={"help": 'The profiles, or "none". One row is one user.'}
    )
    meta_data_file: str = field(default="meta_data.csv", metadata={"help": 'The items, or "none".'})
    meta_data_plus_file: str = field(
        default="meta_data_plus.csv", metadata={"help": 'Item keywords, several rows an item, or "none".'}
    )
    user_column: str = field(default="profile_id", metadata={"help": "Column of the user ids."})
    item_column: str = field(default="album_id", metadata={"help": "Column of the item ids."})
    time_column: str = field(
        default="log_time",
        metadata={"help": "Column that orders the log: YYYYMMDDhhmmss, YYYYMMDD, epoch seconds or a timestamp."},
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
    keyword_value_column: str = field(
        default="keyword_value", metadata={"help": "Weight of a keyword row; heaviest first."}
    )
    keyword_min_value: float = field(default=3.0, metadata={"help": "Keyword rows below this weight are left out."})
    keyword_max_length: int = field(default=20, metadata={"help": "Values kept of an item feature."})
    delimiter: str = field(default=",", metadata={"help": "Delimiter of CSV files."})
    collapse_repeats: bool = field(
        default=False, metadata={"help": "Keep one of several viewings of the same item in a row."}
    )
    min_events: int = field(
        default=0, metadata={"help": "Keep users and items with at least this many training events (k-core)."}
    )

    def __post_init__(self):
        if self.item_features == ["none"]:
            self.item_features = []
        if self.user_features == ["none"]:
            self.user_features = []
        if self.keyword_max_length < 1:
            raise DataError(f"keyword_max_length is {self.keyword_max_length}; it must be at least 1.")
        if len(self.delimiter.encode()) != 1:
            raise DataError(f"delimiter is {self.delimiter!r}; it must be one character.")

    def rules(self) -> dict:
        """What of the arguments is stored in a checkpoint: all but the folder."""
        return {name: value for name, value in asdict(self).items() if name != "data_dir"}

    def path(self, file: str) -> str | None:
        """The place of one of the files, `None` for "none"."""
        return None if file.lower() in ("", "none") else os.path.join(self.data_dir, file)


@dataclass
class Interactions:
    """
    A cleaned log with its side tables. Users and items are codes into `user_ids` and `item_ids`; the rows of the log
    are in order of user, time and place in the file.

    Args:
        arguments ([`DataArguments`]): how it was read.
        user_ids, item_ids (`pa.Array` of int64 or string): raw ids, sorted; users without events come too.
        user, item (`np.ndarray` of int32, shape `(num_rows,)`): codes of the log's users and items.
        day (`np.ndarray` of int32, shape `(num_rows,)`): days since 1970-01-01.
        titles (`pa.StringArray`, *optional*): one for each item, null where it has none.
        item_features (`dict[str, tuple[np.ndarray, pa.Array]]`): for each feature pairs of item code and value.
        user_features (`dict[str, pa.Array]`): for each feature the value of each user, null where there is none.
        counts (`dict[str, int]`): what was read and what each step of the cleaning left out.
    """

    arguments: DataArguments
    user_ids: pa.Array
    item_ids: pa.Array
    user: np.ndarray
    item: np.ndarray
    day: np.ndarray
    titles: pa.Array | None = None
    item_features: dict = field(default_factory=dict)
    user_features: dict = field(default_factory=dict)
    counts: dict = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.user)

    def summary(self) -> str:
        """What was read and left out, one line a step."""
        return "\n".join(f"{count:>12,}  {step}" for step, count in self.counts.items())


def read_interactions(
    arguments: DataArguments, history=None, profiles=None, items=None, keywords=None
) -> Interactions:
    """
    Reads and cleans a log and its side tables.

    Args:
        arguments ([`DataArguments`]):
            Files, columns and filters.
        history, profiles, items, keywords (`str`, `datasets.Dataset` or `pa.Table`, *optional*):
            The tables; where one is left out, the file that `arguments` names.

    Returns:
        [`Interactions`]

    Raises:
        `DataError`: for input that cannot be used, in one line that names the file, the column, the row or the id.
    """
    args, counts = arguments, {}
    history = _open(history, args.path(args.history_data_file), args)
    profiles = _open(profiles, args.path(args.profile_data_file), args)
    items = _open(items, args.path(args.meta_data_file), args)
    keywords = _open(keywords, args.path(args.meta_data_plus_file), args)

    log = history.read([args.user_column, args.item_column, args.time_column])
    if not len(log):
        raise DataError(f"{history.name}: there are no rows under the header; nothing to train on.")
    users, user = _ids(history, log, args.user_column)
    item_ids, item = _ids(history, log, args.item_column)
    time = _times(history, log, args.time_column)
    counts["rows read from the log"] = len(time)
    order = np.lexsort((time, user))
    user, item, time = user[order], item[order], time[order]
    keep = _first_of_exact_duplicates(user, item, time)
    counts["exact duplicate rows dropped"] = int((~keep).sum())
    user, item, time = user[keep], item[keep], time[keep]
    repeat = np.r_[False, (user[1:] == user[:-1]) & (item[1:] == item[:-1])]
    counts[f"rows repeating the row before, {'dropped' if args.collapse_repeats else 'kept'}"] = int(repeat.sum())
    if args.collapse_repeats:
        user, item, time = user[~repeat], item[~repeat], time[~repeat]

    interactions = Interactions(args, users, item_ids, user, item, _days(time), counts=counts)
    counts["events"] = len(user)
    counts["users with events"] = len(users)
    counts["items with events"] = len(item_ids)
    if items or keywords:
        _add_item_tables(interactions, items, keywords)
    elif args.item_features:
        raise DataError(
            f"item_features {', '.join(args.item_features)} need an item table; give one, or none of them."
        )
    if profiles:
        _add_profiles(interactions, profiles)
    elif args.user_features:
        raise DataError(
            f"user_features {', '.join(args.user_features)} need a profile table; give one, or none of them."
        )
    return interactions


def read_user_ids(arguments: DataArguments, path: str, id_type: pa.DataType) -> pa.Array:
    """
    The user ids of a file such as sample_submission.csv, in its order.

    Args:
        id_type (`pa.DataType`): the type of the log's user ids; an id with no counterpart in it is null.

    Raises:
        `DataError`: for a file that cannot be used, and for an empty id.
    """
    source = _open(path, path, arguments)
    ids, codes = _ids(source, source.read([arguments.user_column]), arguments.user_column)
    return _as_type(ids, id_type).take(pa.array(codes))


def _add_item_tables(interactions: Interactions, items: "_Source | None", keywords: "_Source | None"):
    args, counts, item_ids = interactions.arguments, interactions.counts, interactions.item_ids
    in_tables = np.zeros(len(item_ids), dtype=bool)
    found = set()
    for source in (items, keywords):
        if source is None:
            continue
        several_rows = source is keywords
        features = [name for name in args.item_features if name in source.columns and name not in found]
        found |= set(features)
        weighted = several_rows and args.keyword_value_column in source.columns
        columns = [args.item_column, *features, *([args.keyword_value_column] if weighted else [])]
        with_titles = args.title_column in source.columns and interactions.titles is None
        table = source.read([*columns, *([args.title_column] if with_titles else [])])
        item = _join(source, table, args.item_column, item_ids, counts)
        in_tables[item[item >= 0]] = True
        if with_titles:
            titles = table[args.title_column].cast(pa.string())
            interactions.titles = _one_a_code(item, titles.combine_chunks(), len(item_ids))
        if weighted:
            weight = _numbers(source, table, args.keyword_value_column)
            light = ~(weight >= args.keyword_min_value)
            step = f"with {args.keyword_value_column} below {args.keyword_min_value:g}, left out"
            counts[f"rows of {os.path.basename(source.name)} {step}"] = int(light.sum())
            item = np.where(light, -1, item)
            heaviest_first = np.argsort(-weight, kind="stable")
            table, item = table.take(pa.array(heaviest_first)), item[heaviest_first]
        for name in features:
            values = table[name].combine_chunks()
            codes = item
            if pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
                codes, values = item[pc.list_parent_indices(values).to_numpy()], pc.list_flatten(values)
            elif not several_rows:
                codes, values = np.arange(len(item_ids)), _one_a_code(item, values, len(item_ids))
            pairs = np.flatnonzero((codes >= 0) & values.is_valid().to_numpy(zero_copy_only=False))
            pairs = pairs[np.argsort(codes[pairs], kind="stable")]
            interactions.item_features[name] = codes[pairs], values.take(pa.array(pairs))
    counts["items with events that no item table knows"] = int((~in_tables).sum())
    for name in args.item_features:
        if name not in found:
            known = [f"{source.name} has {', '.join(source.columns)}" for source in (items, keywords) if source]
            raise DataError(f"item feature {name!r} is no column of the item tables ({'; '.join(known)}).")


def _add_profiles(interactions: Interactions, profiles: "_Source"):
    args, counts = interactions.arguments, interactions.counts
    table = profiles.read([args.user_column, *args.user_features])
    ids, codes = _ids(profiles, table, args.user_column, allow_null=True)
    ids = _as_type(ids, interactions.user_ids.type)
    counts[f"rows of {os.path.basename(profiles.name)} without an id"] = int((codes < 0).sum())
    # Profiles without a single event are users too: they are recommended from what is known of them.
    users = pc.unique(pa.concat_arrays([interactions.user_ids, ids])).drop_null()
    users = users.take(pc.sort_indices(users))
    moved = pc.index_in(interactions.user_ids, users).to_numpy().astype(np.int32)
    interactions.user, interactions.user_ids = moved[interactions.user], users
    user = np.where(codes < 0, -1, pc.index_in(ids, users).fill_null(-1).to_numpy()[codes])
    has_profile = np.zeros(len(users), dtype=bool)
    has_profile[user[user >= 0]] = True
    counts["profiles without events"] = int(has_profile.sum() - has_profile[np.unique(interactions.user)].sum())
    counts["users with events but no profile"] = int((~has_profile).sum())
    for name in args.user_features:
        interactions.user_features[name] = _one_a_code(user, table[name].combine_chunks(), len(users))


def _one_a_code(codes: np.ndarray, values: pa.Array, size: int) -> pa.Array:
    """Of each code its first value that is not null; tables hold several rows of an item or a profile."""
    rows = np.flatnonzero((codes >= 0) & values.is_valid().to_numpy(zero_copy_only=False))
    known, first = np.unique(codes[rows], return_index=True)
    places = np.full(size, -1)
    places[known] = rows[first]
    return values.take(pa.array(places, mask=places < 0))


def _first_of_exact_duplicates(user: np.ndarray, item: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Mask of the rows to keep of a log in order of user and time: the first of those alike in all three."""
    keep = np.ones(len(user), dtype=bool)
    tie = np.r_[(user[1:] == user[:-1]) & (time[1:] == time[:-1]), False]
    run = np.flatnonzero(tie | np.r_[False, tie[:-1]])
    group = np.cumsum(~np.r_[False, tie[:-1]])[run]
    order = np.lexsort((item[run], group))
    run, group = run[order], group[order]
    keep[run[1:][(group[1:] == group[:-1]) & (item[run[1:]] == item[run[:-1]])]] = False
    return keep


class _Source:
    """A table that is read a few columns at a time: files of one kind, a `datasets.Dataset` or a `pa.Table`."""

    def __init__(self, name: str, files: list[str], table: pa.Table | None, delimiter: str):
        self.name, self.files, self.table, self.delimiter = name, files, table, delimiter
        self.columns = table.column_names if table is not None else self._header(files[0])
        self.rows = []  # of each file, to name the one a row is in

    def _csv_options(self, columns: list[str] | None = None) -> dict:
        return {
            "parse_options": pa.csv.ParseOptions(delimiter=self.delimiter, newlines_in_values=True),
            "convert_options": pa.csv.ConvertOptions(
                include_columns=columns,
                column_types={name: pa.string() for name in columns or []},
                null_values=["", "NULL", "null", "NaN", "nan", "None"],
                strings_can_be_null=True,
            ),
        }

    def _header(self, file: str) -> list[str]:
        try:
            if file.endswith(".parquet"):
                return pa.parquet.read_schema(file).names
            with open(file, "rb") as stream:
                if b"\0" in stream.read(4096):
                    raise DataError(
                        f"{file}: the file is not UTF-8 text; convert it, for example with iconv -t UTF-8."
                    )
            with pa.csv.open_csv(file, **self._csv_options()) as reader:
                return reader.schema.names
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            raise DataError(f"{file}: {_reason(error)}") from None

    def _read_file(self, file: str, columns: list[str]) -> pa.Table:
        try:
            if file.endswith(".parquet"):
                return pa.parquet.read_table(file, columns=columns)
            return pa.csv.read_csv(file, **self._csv_options(columns))
        except (pa.ArrowInvalid, KeyError) as error:
            raise DataError(f"{file}: {_reason(error)}") from None

    def read(self, columns: list[str]) -> pa.Table:
        columns = list(dict.fromkeys(columns))
        for name in columns:
            if name not in self.columns:
                hint = ""
                if len(self.columns) == 1 and any(other in self.columns[0] for other in (";", "\t", "|", ",")):
                    hint = f" The delimiter does not seem to be {self.delimiter!r}; see --delimiter."
                raise DataError(f"{self.name}: there is no column {name!r}, only {', '.join(self.columns)}.{hint}")
        if self.table is not None:
            return self.table.select(columns)
        tables = [self._read_file(file, columns) for file in self.files]
        self.rows = [len(table) for table in tables]
        return pa.concat_tables(tables, promote_options="permissive").select(columns)

    def place(self, row: int) -> str:
        """Where row number `row` (from 0) is, in words."""
        for file, rows in zip(self.files, self.rows):
            if row < rows:
                return f"{file}, row {row + 1}"
            row -= rows
        return f"{self.name}, row {row + 1}"


def _open(given, path: str | None, args: DataArguments) -> _Source | None:
    if given is None:
        given = path
    if given is None:
        return None
    if isinstance(given, pa.Table):
        return _Source("the given table", [], given, args.delimiter)
    if not isinstance(given, (str, os.PathLike)):  # a datasets.Dataset
        return _Source("the given data set", [], given.with_format("arrow")[:], args.delimiter)
    path = os.fspath(given)
    pattern = os.path.join(path, "*") if os.path.isdir(path) else path
    files = [path] if os.path.isfile(path) else sorted(f for f in glob.glob(pattern) if os.path.isfile(f))
    if not files:
        raise DataError(f'{path}: there is no such file; give its place, or "none" where the table is optional.')
    if any(os.path.getsize(file) == 0 for file in files):
        raise DataError(f"{next(file for file in files if os.path.getsize(file) == 0)}: the file is empty.")
    return _Source(path if len(files) > 1 else files[0], files, None, args.delimiter)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    if "utf8" in text.lower() or "utf-8" in text.lower():
        return f"the file is not UTF-8 ({text}); convert it, for example with iconv -t UTF-8."
    return f"{text} (a wrong delimiter? see --delimiter)" if "Expected" in text else text


def _string_ids(values: pa.Array) -> pa.Array:
    """Ids of any type to int64 where they all are whole numbers, to trimmed strings otherwise."""
    if pa.types.is_integer(values.type):
        return values.cast(pa.int64())
    if pa.types.is_floating(values.type):
        values = values.cast(pa.int64(), safe=False) if pc.all(_whole(values)).as_py() in (True, None) else values
        return values if pa.types.is_integer(values.type) else values.cast(pa.string())
    values = pc.utf8_trim_whitespace(values.cast(pa.string()))
    values = pc.if_else(pc.equal(values, ""), None, values)
    # "007" is no number: it would come back as 7. "12.0" is how pandas writes 12 in a column with gaps.
    if pc.all(pc.match_substring_regex(values, r"^(0|-?[1-9][0-9]{0,17})(\.0+)?$")).as_py():
        return pc.replace_substring_regex(values, r"\.0+$", "").cast(pa.int64())
    return values


def _whole(values: pa.Array) -> pa.Array:
    return pc.equal(values, pc.floor(values))


def _ids(source: _Source, table: pa.Table, column: str, allow_null: bool = False) -> tuple[pa.Array, np.ndarray]:
    """Distinct ids, sorted, and the code of each row; -1 is null."""
    encoded = table[column].dictionary_encode().unify_dictionaries().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0) if encoded.num_chunks else pa.array([], pa.string()).dictionary_encode()
    raw = _string_ids(encoded.dictionary)
    ids = pc.unique(raw).drop_null()
    ids = ids.take(pc.sort_indices(ids))
    codes = pc.index_in(raw, ids).fill_null(-1).to_numpy().astype(np.int32)
    codes = np.append(codes, np.int32(-1))[encoded.indices.fill_null(-1).to_numpy()]
    if not allow_null and (codes < 0).any():
        row = int(np.argmax(codes < 0))
        raise DataError(
            f"{source.place(row)}: {column} is empty ({int((codes < 0).sum())} such rows); fill it or drop the rows."
        )
    return ids, codes


def _as_type(ids: pa.Array, id_type: pa.DataType) -> pa.Array:
    """Ids in the log's type; null where they have no counterpart in it."""
    if ids.type == id_type:
        return ids
    if pa.types.is_string(id_type):
        return ids.cast(pa.string())
    number = pc.match_substring_regex(ids, r"^(0|-?[1-9][0-9]{0,17})$")
    return pc.if_else(number, ids, None).cast(pa.int64())


def _join(source: _Source, table: pa.Table, column: str, known: pa.Array, counts: dict) -> np.ndarray:
    """For each row of a side table the code of its id among the known ones, -1 where it is none of them."""
    ids, codes = _ids(source, table, column, allow_null=True)
    counts[f"rows of {os.path.basename(source.name)} without an id"] = int((codes < 0).sum())
    known_codes = pc.index_in(_as_type(ids, known.type), known).fill_null(-1).to_numpy().astype(np.int32)
    counts[f"items of {os.path.basename(source.name)} without events"] = int((known_codes < 0).sum())
    return np.append(known_codes, np.int32(-1))[codes]


def _numbers(source: _Source, table: pa.Table, column: str) -> np.ndarray:
    """A column as float64, NaN where it is empty."""
    try:
        return table[column].cast(pa.float64()).fill_null(np.nan).to_numpy()
    except pa.ArrowInvalid:
        values = table[column].cast(pa.string())
        row = _first_mismatch(values, r"^\s*[-+]?[0-9.]+([eE][-+]?[0-9]+)?\s*$")
        raise DataError(f"{source.place(row)}: {column} is {values[row].as_py()!r}, not a number.") from None


def _first_mismatch(values: pa.ChunkedArray, pattern: str) -> int:
    bad = pc.invert(pc.match_substring_regex(values, pattern)).fill_null(True)
    return int(np.argmax(bad.to_numpy()))


def _times(source: _Source, table: pa.Table, column: str) -> np.ndarray:
    """The time column as int64, in its own unit."""
    values = table[column]
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        for number_type in (pa.int64(), pa.float64(), pa.timestamp("s"), pa.timestamp("us")):
            try:
                values = values.cast(number_type)
                break
            except pa.ArrowInvalid:
                continue
        else:
            row = _first_mismatch(values, r"^\s*[0-9]+(\.0*)?\s*$")
            raise DataError(
                f"{source.place(row)}: {column} is {values[row].as_py()!r}, not a number such as 20220427155668."
            )
    if pa.types.is_temporal(values.type):
        values = values.cast(pa.timestamp("s"), safe=False).cast(pa.int64())
    if values.null_count:
        row = int(np.argmax(values.is_null().to_numpy()))
        raise DataError(
            f"{source.place(row)}: {column} is empty ({values.null_count} such rows); fill it or drop the rows."
        )
    return values.cast(pa.int64(), safe=False).to_numpy()


def _days(time: np.ndarray) -> np.ndarray:
    """
    Days since 1970-01-01 of times written YYYYMMDDhhmmss, YYYYMMDDhhmm or YYYYMMDD, or in seconds, milli-, micro- or
    nanoseconds since then. The clock may be wrong (seconds up to 99), the date counts.
    """
    first, last = int(time.min()), int(time.max())
    for digits in (14, 12, 8):
        unit = 10 ** (digits - 8)
        if 19000101 * unit <= first and last < 21010000 * unit:
            date = time // unit
            months = (date // 10000 - 1970) * 12 + date // 100 % 100 - 1
            return (months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) + date % 100 - 1).astype(
                np.int32
            )
    a_day = 86400
    while last >= 10**11 * (a_day // 86400):
        a_day *= 1000
    return (time // a_day).astype(np.int32)
