# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Reading tables a few columns at a time: CSV, JSON lines and Parquet files, data sets and data frames."""

import codecs
import glob
import os
import re
from collections.abc import Sequence
from typing import Protocol
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet
from datasets import Dataset
from huggingface_hub import snapshot_download

from ..errors import DataError, hub_errors
from .columns import decoded, error_text, first_inexact, is_list, is_text, plain, texts


COMPRESSIONS = (".gz", ".bz2", ".zst")
HUB = "hf://"
HIVE_NULLS = ("", "__HIVE_DEFAULT_PARTITION__")
NO_VALUES = ["", "NULL", "null", "NaN", "nan", "None"]


class ArrowStream(Protocol):
    """A table or data frame of any library that speaks Arrow, such as pandas, Polars, DuckDB and PyArrow."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


TableLike = str | os.PathLike | Sequence[str | os.PathLike] | Dataset | ArrowStream


class Table:
    """
    A table that is read a few columns at a time.

    Args:
        role (`str`): what the table is, in words, for messages.
        name (`str`): its path or role, for messages.
        files (`dict[str, dict[str, str | None]]`): its files, each with the columns that its folders' names hold.
        table (`pa.Table`, *optional*): the table itself, if it is no files.
        delimiter, encoding (`str`): of CSV files.
    """

    def __init__(self, role: str, name: str, files: dict, table: pa.Table | None, delimiter: str, encoding: str):
        self.role, self.name, self.files, self.table = role, name, files, table
        self.delimiter = delimiter
        self.encoding = "utf8" if codecs.lookup(encoding).name == "utf-8" else encoding  # Arrow recodes all others
        self._json_tables = {}  # read for their columns' names
        self.columns = table.column_names if table is not None else self._header(next(iter(files)))
        self.rows = []  # rows per file, to name the file of a row

    def _csv_options(self, columns: list[str] | None = None) -> dict:
        return {
            "read_options": pa.csv.ReadOptions(encoding=self.encoding),
            "parse_options": pa.csv.ParseOptions(delimiter=self.delimiter, newlines_in_values=True),
            "convert_options": pa.csv.ConvertOptions(
                include_columns=columns,
                column_types={name: pa.string() for name in columns or []},
                null_values=NO_VALUES,
                strings_can_be_null=True,
            ),
        }

    def _header(self, file: str) -> list[str]:
        try:
            if _format(file) == "parquet":
                names = pa.parquet.read_schema(file).names
            elif _format(file) == "json":
                self._json_tables[file] = self._json(file)
                names = self._json_tables[file].column_names
            else:
                with pa.input_stream(file) as stream:
                    if b"\0" in stream.read(4096) and not self._has_wide_letters():
                        raise DataError(
                            f"{file}: the file is not UTF-8 text; name its encoding by --encoding, or let its name "
                            "end in .gz or .parquet if it is that."
                        )
                with pa.csv.open_csv(file, **self._csv_options()) as reader:
                    names = reader.schema.names
        except (pa.ArrowException, OSError, UnicodeError) as error:
            raise DataError(f"{file}: {error_text(error)}") from None
        return [*names, *(name for name in self.files[file] if name not in names)]

    def _has_wide_letters(self) -> bool:
        """Whether the encoding is of more than one byte for a line break, as UTF-16 is."""
        return len("\n".encode(self.encoding)) > 1

    def _json(self, file: str) -> pa.Table:
        """A file of JSON lines; texts that are times stay texts, as Arrow would drop their offset from UTC."""
        with pa.input_stream(file) as stream:
            start = stream.read(256).decode("utf-8", "replace").removeprefix("\ufeff").lstrip()[:20]
        if not start.startswith("{"):  # Arrow crashes on some of what is none
            raise DataError(f"{file}: JSON lines are objects, one in a line, and the first is {start!r}.")
        table = pa.json.read_json(file)
        types = pa.schema([(field.name, pa.string()) for field in table.schema if pa.types.is_timestamp(field.type)])
        return pa.json.read_json(file, parse_options=pa.json.ParseOptions(explicit_schema=types)) if types else table

    def _read_file(self, file: str, columns: list[str]) -> pa.Table:
        folders = {name: value for name, value in self.files[file].items() if name in columns}
        columns = [name for name in columns if name not in folders]
        try:
            if _format(file) == "parquet":
                table = pa.parquet.read_table(file, columns=columns, partitioning=None)
            elif _format(file) == "json":
                table = self._json_tables.pop(file, None) or self._json(file)
            else:
                table = pa.csv.read_csv(file, **self._csv_options(columns))
            for name, value in folders.items():
                names = [other for other in table.column_names if other != name]
                table = table.select(names).append_column(name, pa.repeat(pa.scalar(value, pa.string()), len(table)))
            missing = [name for name in columns if name not in table.column_names]
            if missing:
                raise DataError(f"{file}: Column {missing[0]!r} is missing.")
            return _plain(file, table.select([*columns, *folders]))
        except (pa.ArrowException, OSError, KeyError, UnicodeError) as error:
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
        if self.table is not None:
            return _without_null_types(_plain(self.name, self.table.select(columns)))
        tables = {file: self._read_file(file, columns) for file in self.files}
        self.rows = [len(table) for table in tables.values()]
        extra = sum(
            _count_lines(file) - 1 - rows
            for file, rows in zip(self.files, self.rows)
            if _format(file) == "csv" and not self._has_wide_letters()
        )
        if extra > 0 and counts is not None:
            counts[f"lines of {self.role} that are no rows (line breaks in quotes, empty lines)"] = extra
        return _without_null_types(_united(tables, columns))

    def check_flat(self, table: pa.Table, column: str, what: str):
        """Raises `DataError` for a column of lists, structs, spans of time, or values that Arrow does not know."""
        of, types = table[column].type, pa.types
        value = of.value_type if types.is_dictionary(of) or is_list(of) and "list" in what else of
        has_no_text = isinstance(value, pa.BaseExtensionType) or types.is_duration(value) or types.is_interval(value)
        if types.is_nested(value) or has_no_text:
            raise DataError(f"{self.name}: {column} is of type {of}, not {what}.")

    def place(self, row: int) -> str:
        """The location of row `row` (from 0), for messages."""
        for file, rows in zip(self.files, self.rows):
            if row < rows:
                return f"{file}, row {row + 1}"
            row -= rows
        return f"{self.name}, row {row + 1}"


def _format(file: str) -> str:
    file = file.lower()
    if file.endswith((".parquet", ".pq")):
        return "parquet"
    for ending in COMPRESSIONS:
        file = file.removesuffix(ending)
    return "json" if file.endswith((".jsonl", ".ndjson", ".json")) else "csv"


def _count_lines(file: str) -> int:
    lines, last = 0, b"\n"
    with pa.input_stream(file) as stream:
        while block := stream.read(1 << 24):
            lines, last = lines + block.count(b"\n"), block[-1:]
    return lines + (last != b"\n")


def _plain(name: str, table: pa.Table) -> pa.Table:
    """A table in basic types, see [`plain`]."""
    for place, column in enumerate(table.column_names):
        try:
            table = table.set_column(place, column, plain(table[column]))
        except (DataError, pa.ArrowException) as error:
            raise DataError(f"{name}: {column}: {error}") from None
    return table


def _without_null_types(table: pa.Table) -> pa.Table:
    """Columns of nothing but nulls as text."""
    fields = [field.with_type(pa.string()) if pa.types.is_null(field.type) else field for field in table.schema]
    return table.cast(pa.schema(fields)) if any(map(pa.types.is_null, table.schema.types)) else table


def _united(tables: dict[str, pa.Table], columns: list[str]) -> pa.Table:
    """The tables of several files as one; columns that are numbers in one and something else in another are text."""
    for name in columns:
        types = {table.schema.field(name).type for table in tables.values()} - {pa.null()}
        if len({*map(_kind, types)}) <= 1:
            continue
        for file, table in tables.items():
            try:
                column = decoded(table[name])
                if (row := first_inexact(column)) >= 0:
                    raise DataError(
                        f"{file}, row {row + 1}: {name} is {texts(column)[row].as_py()}: floating-point numbers have "
                        "rounded it, and other files have another type; give whole numbers or text."
                    )
                tables[file] = table.set_column(table.column_names.index(name), name, texts(column))
            except pa.ArrowException as error:
                raise DataError(f"{file}: {name}: {error_text(error)}") from None
    return pa.concat_tables(tables.values(), promote_options="permissive").unify_dictionaries()


def _kind(of: pa.DataType) -> str:
    """Types of a kind are promoted to one of them without a loss."""
    for kind in ("decimal", "date"):
        if getattr(pa.types, f"is_{kind}")(of):
            return kind
    if pa.types.is_timestamp(of):
        return f"timestamp {of.tz}"
    if pa.types.is_integer(of) and not pa.types.is_uint64(of):
        return "integer"
    return "text" if is_text(of) else "list" if is_list(of) else str(of)


def open_table(
    given, path: str | list[str] | None, role: str, delimiter: str = ",", encoding: str = "utf-8"
) -> Table | None:
    """
    Opens a table, to read columns from it.

    Args:
        given (`str`, `list[str]`, `datasets.Dataset`, or a table or data frame, *optional*):
            The table, or the path of its files. Data frames are those of pandas, Polars, DuckDB and all others that
            have `__arrow_c_stream__`.
        path (`str` or `list[str]`, *optional*):
            The path of its files if `given` is `None`: a file, a folder, a glob, or a list of them, also in a data
            set on the Hub (`hf://datasets/user/name/log.parquet`).
        role (`str`): what the table is, in words, for messages.
        delimiter (`str`, *optional*, defaults to `","`): of CSV files.
        encoding (`str`, *optional*, defaults to `"utf-8"`): of CSV files.

    Returns:
        [`Table`], or `None` if neither is given.

    Raises:
        `DataError`: if there is nothing to read.
    """
    given = path if given is None else given
    if given is None:
        return None
    if isinstance(given, dict):
        raise DataError(f"{role} is a DatasetDict; give one of its splits ({', '.join(map(str, given))}).")
    if isinstance(given, Dataset):
        return Table(role, role, {}, given.with_format("arrow")[:], delimiter, encoding)
    if hasattr(given, "__arrow_c_stream__") or hasattr(given, "__arrow_c_array__"):
        try:
            return Table(role, role, {}, pa.table(given), delimiter, encoding)
        except Exception as error:  # whatever the frame's own library raises, as for columns of several types
            raise DataError(f"{role} cannot be read: {error_text(error)}.") from None
    paths = given if isinstance(given, (list, tuple)) else [given]
    if not paths or not all(isinstance(path, (str, os.PathLike)) for path in paths):
        raise DataError(
            f"{role} is of type {type(given).__name__}; give files, a datasets.Dataset, a pyarrow.Table or a data "
            "frame."
        )
    files = {file: values for path in paths for file, values in _files_of(os.fspath(path)).items()}
    for file in files:
        if os.path.getsize(file) == 0:
            raise DataError(f"{file}: the file is empty.")
    return Table(role, os.fspath(paths[0]) if len(paths) == 1 else role, files, None, delimiter, encoding)


def is_there(path: str | list[str]) -> bool:
    """Whether there is a file of a path, a glob, or a list of them."""
    paths = [local_path(part) for part in ([path] if isinstance(path, str) else path)]
    return any(glob.glob(part) or os.path.exists(part) for part in paths)


def is_on_the_hub(path: str) -> bool:
    """Whether a path is that of a data set on the Hub, or of files in one."""
    return path.startswith(HUB)


def local_path(path: str) -> str:
    """
    The path itself or, for `hf://datasets/user/name@revision/file`, where the file is after its download to the cache.

    Raises:
        `DataError`: if there is no such repository, or if the Hub cannot be reached.
    """
    if not is_on_the_hub(path):
        return path
    parts = re.fullmatch(HUB + r"datasets/([^/@]+/[^/@]+)(?:@([^/]+))?(?:/+(.*))?", path)
    if parts is None:
        raise DataError(f"{path}: data on the Hub is at hf://datasets/user/name, or at a folder or a file in it.")
    repo_id, revision, inside = parts.groups(default="")
    inside = inside.rstrip("/")
    files = {"allow_patterns": [inside, f"{inside}/*"] if inside else None, "ignore_patterns": ["*.md", "*.py"]}
    with hub_errors(path):
        folder = snapshot_download(repo_id, repo_type="dataset", revision=unquote(revision) or None, **files)
    return os.path.join(folder, inside)


def _files_of(path: str) -> dict[str, dict[str, str | None]]:
    """The files of a file, a folder with its subfolders, or a glob, each with the columns in its folders' names."""
    given, path = path, local_path(path)
    found = [path] if os.path.isfile(path) else sorted(glob.glob(glob.escape(path) if os.path.isdir(path) else path))
    files = {}
    for place in found:
        inside = [place] if os.path.isfile(place) else []
        for folder, folders, names in os.walk(place):
            folders[:] = sorted(name for name in folders if not name.startswith((".", "_")))
            inside += [os.path.join(folder, name) for name in sorted(names)]
        for file in inside:
            if not os.path.basename(file).startswith((".", "_")):  # Spark's markers
                names = re.findall(r"([^/\\=]+)=([^/\\]*)[/\\]", file)
                values = {unquote(name): unquote(value) for name, value in names}
                files[file] = {name: None if value in HIVE_NULLS else value for name, value in values.items()}
    if not files:
        raise DataError(f'{given}: there is no such file; give its place, or "none" where the table is optional.')
    return files
