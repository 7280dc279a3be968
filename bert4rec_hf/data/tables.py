# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Reading and checking ids, times and numbers from CSV and Parquet files, data sets and Arrow tables."""

import glob
import os

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from datasets import Dataset

from ..errors import DataError


class Table:
    """A table that is read a few columns at a time: files, a `datasets.Dataset` or a `pa.Table`."""

    def __init__(self, role: str, name: str, files: list[str], table: pa.Table | None, delimiter: str):
        self.role, self.name, self.files, self.table, self.delimiter = role, name, files, table, delimiter
        self.columns = table.column_names if table is not None else self._header(files[0])
        self.rows = []  # rows per file, to name the file of a row

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
            if _is_parquet(file):
                return pa.parquet.read_schema(file).names
            with pa.input_stream(file) as stream:
                if b"\0" in stream.read(4096):
                    raise DataError(
                        f"{file}: the file is not UTF-8 text; convert it, for example with iconv -t UTF-8, or let its "
                        "name end in .gz or .parquet if it is that."
                    )
            with pa.csv.open_csv(file, **self._csv_options()) as reader:
                return reader.schema.names
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise DataError(f"{file}: {error_text(error)}") from None

    def _read_file(self, file: str, columns: list[str]) -> pa.Table:
        try:
            if _is_parquet(file):
                return pa.parquet.read_table(file, columns=columns)
            return pa.csv.read_csv(file, **self._csv_options(columns))
        except (pa.ArrowException, OSError, KeyError) as error:
            raise DataError(f"{file}: {error_text(error)}") from None

    def read(self, columns: list[str], counts: dict | None = None) -> pa.Table:
        """The table with only these columns; counts CSV lines that are not rows (a stray quote makes many)."""
        columns = list(dict.fromkeys(columns))
        for name in columns:
            if name not in self.columns:
                hint = ""
                if len(self.columns) == 1 and any(other in self.columns[0] for other in (";", "\t", "|", ",")):
                    hint = f" The delimiter does not seem to be {self.delimiter!r}; see --delimiter."
                raise DataError(f"{self.name}: there is no column {name!r}, only {', '.join(self.columns)}.{hint}")
            if self.columns.count(name) > 1:
                raise DataError(f"{self.name}: there are {self.columns.count(name)} columns {name!r}; rename one.")
        table = self.table
        if table is None:
            tables = [self._read_file(file, columns) for file in self.files]
            self.rows = [len(table) for table in tables]
            extra = sum(
                _count_lines(file) - 1 - rows for file, rows in zip(self.files, self.rows) if not _is_parquet(file)
            )
            if extra > 0 and counts is not None:
                counts[f"lines of {self.role} that are no rows (line breaks in quotes, empty lines)"] = extra
            try:
                table = pa.concat_tables(tables, promote_options="permissive")
            except pa.ArrowException:  # files that differ in the type of a column
                types = pa.schema([(name, pa.string()) for name in columns])
                texts = []
                for file, table in zip(self.files, tables):
                    try:
                        texts.append(table.select(columns).cast(types))
                    except pa.ArrowException as error:
                        raise DataError(f"{file}: {error_text(error)}") from None
                table = pa.concat_tables(texts)
        table = table.select(columns)
        for place, column in enumerate(table.schema):
            if (
                pa.types.is_null(column.type)
                or pa.types.is_binary(column.type)
                or pa.types.is_large_binary(column.type)
            ):
                try:
                    table = table.set_column(place, column.name, table[column.name].cast(pa.string()))
                except pa.ArrowException as error:
                    raise DataError(f"{self.name}: {column.name}: {error_text(error)}") from None
        return table

    def check_flat(self, table: pa.Table, column: str, what: str):
        """Raises `DataError` for a column of lists or structs."""
        if pa.types.is_nested(table[column].type):
            raise DataError(f"{self.name}: {column} is of type {table[column].type}, not {what}.")

    def place(self, row: int) -> str:
        """The location of row `row` (from 0), for messages."""
        for file, rows in zip(self.files, self.rows):
            if row < rows:
                return f"{file}, row {row + 1}"
            row -= rows
        return f"{self.name}, row {row + 1}"


def _is_parquet(file: str) -> bool:
    return file.lower().endswith((".parquet", ".pq"))


def _count_lines(file: str) -> int:
    lines, last = 0, b"\n"
    with pa.input_stream(file) as stream:
        while block := stream.read(1 << 24):
            lines, last = lines + block.count(b"\n"), block[-1:]
    return lines + (last != b"\n")


def open_table(given, path: str | None, role: str, delimiter: str = ",") -> Table | None:
    """
    Opens a table, to read columns from it.

    Args:
        given (`str`, `datasets.Dataset` or `pa.Table`, *optional*): the table, or the path of its files.
        path (`str`, *optional*): the path of its files if `given` is `None`: a file, a folder or a glob.
        role (`str`): what the table is, in words, for messages.
        delimiter (`str`, *optional*, defaults to `","`): of CSV files.

    Returns:
        [`Table`], or `None` if neither is given.

    Raises:
        `DataError`: if there is nothing to read.
    """
    given = path if given is None else given
    if given is None:
        return None
    if isinstance(given, pa.Table):
        return Table(role, role, [], given, delimiter)
    if isinstance(given, dict):
        raise DataError(f"{role} is a DatasetDict; give one of its splits ({', '.join(given)}).")
    if isinstance(given, Dataset):
        return Table(role, role, [], given.with_format("arrow")[:], delimiter)
    if not isinstance(given, (str, os.PathLike)):
        raise DataError(
            f"{role} is of type {type(given).__name__}; give files, a datasets.Dataset or a pyarrow.Table."
        )
    path = os.fspath(given)
    pattern = os.path.join(glob.escape(path), "*") if os.path.isdir(path) else path
    files = [path] if os.path.isfile(path) else sorted(filter(os.path.isfile, glob.glob(pattern)))
    files = [file for file in files if not os.path.basename(file).startswith((".", "_"))]  # Spark's markers
    if not files:
        raise DataError(f'{path}: there is no such file; give its place, or "none" where the table is optional.')
    for file in files:
        if os.path.getsize(file) == 0:
            raise DataError(f"{file}: the file is empty.")
    return Table(role, path, files, None, delimiter)


def error_text(error: Exception) -> str:
    """Arrow's error message in one line, with a hint if known."""
    text = " ".join(str(error).split())
    if "straddl" in text:  # Arrow's message for a row longer than its read block
        return "a row is longer than 1 MB; is a quote not closed?"
    if "invalid utf8" in text.lower() or "codec can't decode" in text:
        return f"the file is not UTF-8 ({text}); convert it, for example with iconv -t UTF-8."
    return f"{text} (a wrong delimiter? see --delimiter)" if "Expected" in text else text


def _typed_ids(values: pa.Array) -> pa.Array:
    """Ids of any type as int64 if all are whole numbers in its range, as trimmed strings otherwise."""
    if pa.types.is_integer(values.type):
        try:
            return values.cast(pa.int64())
        except pa.ArrowInvalid:
            return values.cast(pa.string())
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), None, values)
        exact = pc.and_(pc.equal(values, pc.floor(values)), pc.less(pc.abs(values), 2.0**53))
        return values.cast(pa.int64() if pc.all(exact).as_py() is not False else pa.string())
    values = pc.utf8_trim_whitespace(values.cast(pa.string()))
    values = pc.if_else(pc.equal(values, ""), None, values)
    # "007" is no number: it would come back as 7. "12.0" is how pandas writes 12 in a column with gaps.
    if pc.all(pc.match_substring_regex(values, r"^(0|-?[1-9][0-9]{0,17})(\.0+)?$")).as_py():
        return pc.replace_substring_regex(values, r"\.0+$", "").cast(pa.int64())
    return values


def ids_as(ids: pa.Array, id_type: pa.DataType) -> pa.Array:
    """Ids in another type, int64 or string; null where they have no counterpart in it."""
    if ids.type == id_type or not pa.types.is_int64(id_type):
        return ids.cast(id_type)
    number = pc.match_substring_regex(ids, r"^(0|-?[1-9][0-9]{0,17})$")
    return pc.if_else(number, ids, None).cast(pa.int64())


def read_ids(source: Table, table: pa.Table, column: str, allow_null: bool = False) -> tuple[pa.Array, np.ndarray]:
    """Distinct ids, sorted, and the code of each row; -1 is null."""
    source.check_flat(table, column, "an id")
    values = table[column].combine_chunks()
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    encoded = values.dictionary_encode()
    raw = _typed_ids(encoded.dictionary)
    ids = pc.unique(raw).drop_null()
    ids = ids.take(pc.sort_indices(ids))
    codes = pc.index_in(raw, ids).fill_null(-1).to_numpy().astype(np.int32)
    codes = np.append(codes, np.int32(-1))[encoded.indices.fill_null(-1).to_numpy()]
    if not allow_null and (codes < 0).any():
        raise DataError(
            f"{source.place(int(np.argmax(codes < 0)))}: {column} is empty ({int((codes < 0).sum())} such rows); "
            "fill it or drop the rows."
        )
    return ids, codes


def read_numbers(source: Table, table: pa.Table, column: str) -> np.ndarray:
    """A column as float64, NaN where it is empty."""
    source.check_flat(table, column, "a number")
    try:
        return table[column].cast(pa.float64()).fill_null(np.nan).to_numpy()
    except pa.ArrowInvalid:
        values = table[column].cast(pa.string())
        row = _first_mismatch(values, r"^\s*[-+]?[0-9.]+([eE][-+]?[0-9]+)?\s*$")
        raise DataError(f"{source.place(row)}: {column} is {values[row].as_py()!r}, not a number.") from None


def _first_mismatch(values: pa.ChunkedArray, pattern: str) -> int:
    """The first row whose value does not match the pattern."""
    matches = pc.match_substring_regex(values, pattern)
    return int(np.argmin(matches.fill_null(True).combine_chunks().to_numpy(zero_copy_only=False)))


def read_times(source: Table, table: pa.Table, column: str, counts: dict) -> tuple[np.ndarray, np.ndarray]:
    """The time column as int64 in its own unit, for sorting, and as days since 1970-01-01."""
    values = table[column]
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        values = _parsed_times(source, pc.utf8_trim_whitespace(values), column)
    if pa.types.is_date(values.type):
        values = values.cast(pa.timestamp("ms"))
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), None, values)
    if values.null_count:
        row = int(np.argmax(values.is_null().combine_chunks().to_numpy(zero_copy_only=False)))
        raise DataError(
            f"{source.place(row)}: {column} is empty ({values.null_count} such rows); fill it or drop the rows."
        )
    if pa.types.is_timestamp(values.type):
        to_microseconds = pc.CastOptions(pa.timestamp("us", values.type.tz), allow_time_truncate=True)
        try:
            time = values.cast(options=to_microseconds).cast(pa.int64()).to_numpy()
        except pa.ArrowInvalid as error:
            raise DataError(f"{source.name}: {column}: {error_text(error)}") from None
        return time, (time // (86400 * 10**6)).astype(np.int32)
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type) or pa.types.is_decimal(values.type)):
        raise DataError(f"{source.name}: {column} is of type {values.type}, not a time.")
    try:
        time = values.cast(pa.int64()).to_numpy()
    except pa.ArrowInvalid:  # seconds with a fraction, or out of range
        seconds = values.cast(pa.float64(), safe=False).to_numpy()
        if (np.abs(seconds) >= 1e11).any():
            row = int(np.argmax(np.abs(seconds) if np.isinf(seconds).any() else np.abs(seconds) >= 1e11))
            raise DataError(f"{source.place(row)}: {column} is {values[row].as_py()}, not a time.") from None
        return np.round(seconds * 1e6).astype(np.int64), (seconds // 86400).astype(np.int32)
    return time, _days(source, time, column, counts)


def _parsed_times(source: Table, values: pa.ChunkedArray, column: str) -> pa.ChunkedArray:
    """Times in text as numbers or timestamps, the first type that fits all."""
    values = pc.if_else(pc.equal(values, ""), None, values)
    for time_type in (pa.int64(), pa.float64(), pa.timestamp("us"), pa.timestamp("us", "UTC")):
        try:
            return values.cast(time_type)
        except pa.ArrowInvalid:
            continue
    number, date = r"^-?[0-9]{1,18}(\.[0-9]*)?$", r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9:.]+)?(Z|[-+][0-9:]+)?$"
    main_pattern = max((number, date), key=lambda way: pc.sum(pc.match_substring_regex(values, way)).as_py() or 0)
    row = _first_mismatch(values, main_pattern)
    raise DataError(f"{source.place(row)}: {column} is {values[row].as_py()!r}, not a number such as 20220427155668.")


def _days(source: Table, time: np.ndarray, column: str, counts: dict) -> np.ndarray:
    """
    Days since 1970-01-01 of times written YYYYMMDDhhmmss, YYYYMMDDhhmm or YYYYMMDD, or in seconds, milli-, micro- or
    nanoseconds since then. The median decides which. The clock time may be invalid (seconds up to 99), only the date
    is used.
    """
    median_time = int(np.partition(time, len(time) // 2)[len(time) // 2])  # the median, exact
    dates = [(19000101 * unit, 21010000 * unit, unit) for unit in (10**6, 10**4, 1)]
    clocks = [(-(10**11), 10**11, 86400), *((10 ** (n + 8), 10 ** (n + 11), 86400 * 10**n) for n in (3, 6, 9))]
    low, high, unit = next(
        (scale for scale in (*dates, *clocks) if scale[0] <= median_time < scale[1]),
        (-(2**63), 2**63 - 1, 86400 * 10**9),
    )
    out_of_range = (time < low) | (time >= high)
    if out_of_range.any():
        row = int(np.argmax(out_of_range))
        raise DataError(
            f"{source.place(row)}: {column} is {time[row]}, not written like most of the column ({median_time})."
        )
    if (low, high, unit) not in dates:
        return (time // unit).astype(np.int32)
    if unit > 1:
        clock = time % unit * (10**6 // unit)
        wrong = (clock % 100 > 59) | (clock // 100 % 100 > 59) | (clock // 10000 > 23)
        counts["times that no clock shows, kept in order"] = int(wrong.sum())
    date = time // unit
    months = (date // 10000 - 1970) * 12 + date // 100 % 100 - 1
    first_of_month = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    return (first_of_month + date % 100 - 1).astype(np.int32)
