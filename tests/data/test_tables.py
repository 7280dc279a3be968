# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Where tables come from: files in folders and lists, of several formats and encodings, and data frames."""

import datetime
import gzip
import json

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest
from datasets import Dataset

from bert4rec_hf import DataArguments, DataError, Split, fit_processor, read_interactions
from bert4rec_hf.cli.arguments import parse_arguments


ALONE = {"profile_data_file": "none", "meta_data_file": "none", "meta_data_plus_file": "none"}
ROWS = {"profile_id": ["a", "b", "a"], "album_id": [7, 8, 9], "log_time": [20220402, 20220401, 20220401]}
EVENTS = [("a", 9), ("a", 7), ("b", 8)]


def arguments(**kwargs):
    return DataArguments(**{**ALONE, "item_features": [], "user_features": [], **kwargs})


def events(interactions):
    users = interactions.user_ids.take(pa.array(interactions.user)).to_pylist()
    return list(zip(users, interactions.item_ids.take(pa.array(interactions.item)).to_pylist()))


def csv(rows=ROWS) -> str:
    return "\n".join([",".join(rows), *(",".join(map(str, row)) for row in zip(*rows.values())), ""])


# --- Files ----------------------------------------------------------------------------------------------------------


def test_json_lines_are_read(tmp_path):
    lines = "\n".join(json.dumps(dict(zip(ROWS, row))) for row in zip(*ROWS.values()))
    for name, content in (("log.jsonl", lines.encode()), ("log.ndjson.gz", gzip.compress(lines.encode()))):
        (tmp_path / name).write_bytes(content)
        assert events(read_interactions(arguments(), str(tmp_path / name))) == EVENTS
    (tmp_path / "zone.jsonl").write_text(
        '{"profile_id": 1, "album_id": "x", "log_time": "2022-04-01T05:00:00+09:00", "more": {"a": [1]}}\n'
    )
    (day,) = read_interactions(arguments(), str(tmp_path / "zone.jsonl")).day
    assert str(np.datetime64(int(day), "D")) == "2022-04-01"  # Arrow alone would read 31 March
    (tmp_path / "long.jsonl").write_text('{"profile_id": 12345678901234567890, "album_id": 1, "log_time": 1}\n')
    with pytest.raises(DataError, match="long.jsonl, row 1: profile_id is .*numbers have rounded it"):
        read_interactions(arguments(), str(tmp_path / "long.jsonl"))
    for text, words in (
        ('{"profile_id": 1', "JSON"),
        ("null\n", "JSON lines are objects"),
        ("", "empty"),
        ('[{"profile_id": 1}]', "JSON"),
        ('{"a": 1}', "no column"),
    ):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(DataError, match=f"bad.json: .*{words}"):
            read_interactions(arguments(), str(tmp_path / "bad.json"))


@pytest.mark.parametrize("encoding", ["cp949", "utf-16", "utf-8-sig", "euc_kr", "utf-32-le", "latin-1"])
def test_other_encodings_are_read(tmp_path, encoding):
    words = ["é", "x"] if encoding == "latin-1" else ["한글", "x"]
    rows = {**ROWS, "profile_id": [words[0], words[1], words[0]]}
    (tmp_path / "log.csv").write_bytes(csv(rows).encode(encoding))
    interactions = read_interactions(arguments(encoding=encoding), str(tmp_path / "log.csv"))
    assert interactions.user_ids.to_pylist() == sorted(words)
    assert not any("no rows" in step for step in interactions.counts)


def test_an_encoding_that_is_none_or_wrong_is_told(tmp_path):
    for encoding in ("cp94", "base64", "없음"):
        with pytest.raises(DataError, match=f"encoding is '{encoding}'; give one that Python knows"):
            arguments(encoding=encoding)
    (tmp_path / "log.csv").write_bytes(csv({**ROWS, "profile_id": ["가", "나", "다"]}).encode("cp949"))
    with pytest.raises(DataError, match="log.csv: the file is not UTF-8 .*--encoding cp949"):
        read_interactions(arguments(), str(tmp_path / "log.csv"))
    (tmp_path / "log.csv").write_bytes(b"\xff" + csv().encode())
    with pytest.raises(DataError, match="log.csv: "):
        read_interactions(arguments(encoding="cp949"), str(tmp_path / "log.csv"))


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_hive_partitions_are_columns(tmp_path, ending):
    """Of dates and of users, percent-encoded, beside Spark's markers."""
    for user, day, item in (("a", 20220402, 7), ("b", 20220401, 8), ("a", 20220401, 9), ("가 나/다", 20220403, 5)):
        name = {"가 나/다": "%EA%B0%80%20%EB%82%98%2F%EB%8B%A4"}.get(user, user)
        folder = tmp_path / "log" / f"log_time={day}" / f"profile_id={name}"
        folder.mkdir(parents=True)
        if ending == "parquet":
            pa.parquet.write_table(pa.table({"album_id": [item]}), folder / "part-0.parquet")
        else:
            (folder / f"part-0.{ending}").write_text(
                f"album_id\n{item}\n" if ending == "csv" else f'{{"album_id": {item}}}\n'
            )
    (tmp_path / "log" / "_SUCCESS").write_text("")
    (tmp_path / "log" / "_temporary").mkdir()
    (tmp_path / "log" / "_temporary" / "half.csv").write_text("x")
    expected = [*EVENTS, ("가 나/다", 5)]
    assert events(read_interactions(arguments(), str(tmp_path / "log"))) == expected
    assert events(read_interactions(arguments(), str(tmp_path / "log" / "log_time=*"))) == expected
    one_day = str(tmp_path / "log" / "log_time=20220403")
    for path in (
        one_day,
        f"{one_day}/",
        [str(path) for path in (tmp_path / "log").glob("*/*/part*") if "0403" in str(path)],
    ):
        assert events(read_interactions(arguments(), path)) == expected[3:]
    (tmp_path / "log" / "log_time=__HIVE_DEFAULT_PARTITION__" / "profile_id=a").mkdir(parents=True)
    pa.parquet.write_table(
        pa.table({"album_id": [1]}), tmp_path / "log/log_time=__HIVE_DEFAULT_PARTITION__/profile_id=a/x.parquet"
    )
    with pytest.raises(DataError, match="x.parquet, row 1: log_time is empty"):
        read_interactions(arguments(), str(tmp_path / "log"))


def test_lists_of_files_are_one_table(tmp_path, monkeypatch):
    names = [f"{name}.csv" for name in "abc"]
    for place, name in enumerate(names):
        (tmp_path / name).write_text(csv({column: values[place : place + 1] for column, values in ROWS.items()}))
    paths = [str(tmp_path / name) for name in names]
    assert events(read_interactions(arguments(), paths)) == EVENTS
    assert events(read_interactions(arguments(), [tmp_path / name for name in names])) == EVENTS
    assert events(read_interactions(arguments(), [paths[0], str(tmp_path / "[bc].csv")])) == EVENTS
    listed = arguments(data_dir=str(tmp_path), history_data_file=names)
    assert events(read_interactions(listed)) == EVENTS
    flags = ["--history_data_file", *names, "--data_dir", str(tmp_path), "--item_features", "none"]
    flags += ["--user_features", "none", *(f"--{name}=none" for name in ALONE)]
    (parsed,) = parse_arguments(DataArguments, args=flags)
    assert events(read_interactions(parsed)) == EVENTS
    processor = fit_processor(read_interactions(parsed), Split("none"))
    assert processor.data["history_data_file"] == names
    (again,) = parse_arguments(DataArguments, args=["--history_data_file", "a.csv"])
    assert again.history_data_file == "a.csv"
    assert arguments(history_data_file=paths).rules()["history_data_file"] == names  # without the folder
    with pytest.raises(DataError, match="nowhere.csv: there is no such file"):
        read_interactions(arguments(), [paths[0], str(tmp_path / "nowhere.csv")])
    with pytest.raises(DataError, match="the log is of type list; give files"):
        read_interactions(arguments(), [])
    (tmp_path / "c.csv").write_text("profile_id,album_id,log_time\na,9,20220401\n,1,20220401\n")
    with pytest.raises(DataError, match="c.csv, row 2: profile_id is empty"):
        read_interactions(arguments(), paths)


# --- Data frames ----------------------------------------------------------------------------------------------------


class Stream:
    """Nothing but Arrow's protocol."""

    def __init__(self, table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


FRAMES = {
    "pyarrow": pa.table,
    "record batch": lambda rows: pa.RecordBatch.from_pydict(rows),
    "reader": lambda rows: pa.table(rows).to_reader(),
    "stream": lambda rows: Stream(pa.table(rows)),
    "datasets": Dataset.from_dict,
    "pandas": pd.DataFrame,
    "pandas with an index": lambda rows: pd.DataFrame(rows, index=range(5, 5 + len(rows["album_id"]))),
    "pandas, categories": lambda rows: pd.DataFrame(rows).astype({"profile_id": "category", "album_id": "Int64"}),
    "pandas, an index of users": lambda rows: pd.DataFrame(rows).set_index("profile_id"),
    "polars": pl.DataFrame,
    "polars, categories": lambda rows: pl.DataFrame(rows).with_columns(pl.col("profile_id").cast(pl.Categorical)),
    "polars, enum": lambda rows: pl.DataFrame(rows).with_columns(pl.col("profile_id").cast(pl.Enum(["b", "a"]))),
    "polars, decimals": lambda rows: pl.DataFrame(rows).with_columns(pl.col("album_id").cast(pl.Decimal(20, 2))),
    "duckdb": lambda rows: duckdb.from_arrow(pa.table(rows)),
    "duckdb, enum": lambda rows: duckdb.sql(
        "SELECT profile_id::ENUM('b', 'a') AS profile_id, album_id::HUGEINT AS album_id, log_time FROM t",
        connection=connection(rows),
    ),
    "duckdb, string views": lambda rows: connection(rows, "SET produce_arrow_string_view = true").sql("FROM t"),
}


def connection(rows, settings=""):
    opened = duckdb.connect()
    opened.register("t", pa.table(rows))
    if settings:
        opened.execute(settings)
    return opened


@pytest.fixture(autouse=True)
def duckdb_sql_of_a_connection(monkeypatch):
    monkeypatch.setattr(duckdb, "sql", lambda query, connection: connection.sql(query))


@pytest.mark.parametrize("kind", FRAMES)
def test_data_frames_are_read(kind):
    assert events(read_interactions(arguments(), FRAMES[kind](ROWS))) == EVENTS


@pytest.mark.parametrize("kind", ["pandas", "polars", "duckdb", "stream", "datasets"])
def test_side_tables_may_be_data_frames(kind):
    frame = FRAMES[kind]
    interactions = read_interactions(
        arguments(item_features=["genre", "keyword_name"], user_features=["age"]),
        frame(ROWS),
        profiles=frame({"profile_id": ["a", "b"], "age": [3, 4]}),
        items=frame({"album_id": [7, 8], "title": ["곰", None], "genre": [["x", "y"], ["z"]]}),
        keywords=frame({"album_id": [9, 9], "keyword_name": ["k", "l"], "keyword_value": [3.5, 5.0]}),
    )
    vocabulary = fit_processor(interactions, Split("none")).vocabulary
    assert vocabulary["titles"] == ["곰", None, None]
    assert [feature["values"] for feature in vocabulary["item_features"]] == [["x", "y", "z"], ["k", "l"]]
    assert vocabulary["item_feature_values"] == [[[1, 2], [3], []], [[], [], [2, 1]]]
    assert vocabulary["user_features"][0]["values"] == ["3", "4"]


@pytest.mark.parametrize(
    "column",
    [
        pl.Series([["x", "y"], ["z"], None], dtype=pl.List(pl.String)),
        pl.Series([["x", "y"], ["z"], None], dtype=pl.List(pl.Categorical)),
        pl.Series([["x", "y"], ["z", None], None], dtype=pl.Array(pl.String, 2)),
        pl.Series([["x", "y"], ["z"], None], dtype=pl.List(pl.Enum(["z", "y", "x"]))),
    ],
)
def test_lists_of_polars_are_features(column):
    items = pl.DataFrame({"album_id": [7, 8, 9], "genre": column})
    interactions = read_interactions(arguments(item_features=["genre"]), pl.DataFrame(ROWS), items=items)
    assert fit_processor(interactions, Split("none")).vocabulary["item_feature_values"] == [[[1, 2], [3], []]]


def test_times_of_data_frames_keep_their_zone():
    late = datetime.datetime(2022, 3, 31, 20)
    frames = [
        pd.DataFrame({"profile_id": [1], "album_id": [1], "log_time": [pd.Timestamp(late, tz="UTC")]}),
        pl.DataFrame({"profile_id": [1], "album_id": [1], "log_time": [late]}).with_columns(
            pl.col("log_time").dt.replace_time_zone("UTC")
        ),
    ]
    seoul = [
        frames[0].assign(log_time=frames[0].log_time.dt.tz_convert("Asia/Seoul")),
        frames[1].with_columns(pl.col("log_time").dt.convert_time_zone("Asia/Seoul")),
    ]
    opened = duckdb.connect()
    opened.execute("SET TimeZone = 'Asia/Seoul'")
    seoul.append(opened.sql("SELECT 1 AS profile_id, 1 AS album_id, TIMESTAMPTZ '2022-03-31 20:00:00+00' AS log_time"))
    for frame, day in [(frame, 31) for frame in frames] + [(frame, 1) for frame in seoul]:
        assert np.datetime64(int(read_interactions(arguments(), frame).day[0]), "D").item().day == day


def test_what_is_no_table_is_refused_in_a_line():
    mixed = pd.DataFrame({"profile_id": [1, "a"], "album_id": [1, 2], "log_time": [1, 2]})
    cases = [
        (mixed, "the log cannot be read: .*profile_id"),
        (pl.DataFrame(ROWS).lazy(), "the log is of type LazyFrame; give files, .* or a data frame"),
        (pd.DataFrame({**ROWS, "album_id": [10**30, 1, 2]}), "the log cannot be read: "),
        (
            duckdb.connect().sql("SELECT x::INT AS log_time FROM (SELECT unnest(['a']) AS x)"),
            "the log cannot be read: ",
        ),
        ({0: [1]}, "the log is a DatasetDict"),
        ({"train": Dataset.from_dict(ROWS)}, r"the log is a DatasetDict; give one of its splits \(train\)"),
        (3, "the log is of type int"),
        ([1, 2], "the log is of type list"),
        (pl.DataFrame({**ROWS, "x": pl.Series([1, 2, 3], dtype=pl.Int128)}), "the log cannot be read: "),
    ]
    for table, words in cases:
        with pytest.raises(DataError, match=words) as error:
            read_interactions(arguments(), table)
        assert "\n" not in str(error.value)


# --- Several values in one text -------------------------------------------------------------------------------------


def test_several_values_in_one_text():
    history = pa.table({"profile_id": [1] * 4, "album_id": [0, 1, 2, 3], "log_time": [1, 2, 3, 4]})
    items = pa.table({"album_id": [0, 1, 2, 3], "genre": ["a|b", " b | c", None, "|"], "n": [1, 2, 3, 4]})
    interactions = read_interactions(
        arguments(item_features=["genre", "n"], multi_value_separator="|"), history, items=items
    )
    vocabulary = fit_processor(interactions, Split("none")).vocabulary
    assert vocabulary["item_features"][0]["values"] == ["a", "b", "c"]
    assert vocabulary["item_feature_values"] == [[[1, 2], [2, 3], [], []], [[1], [2], [3], [4]]]
    keywords = pa.table({"album_id": [0, 0], "k": ["x|y", "y|z"], "keyword_value": [4, 5]})
    interactions = read_interactions(
        arguments(item_features=["k"], multi_value_separator="|"), history, keywords=keywords
    )
    assert fit_processor(interactions, Split("none")).vocabulary["item_feature_values"][0][0] == [2, 3, 1]
    with pytest.raises(DataError, match="multi_value_separator is empty"):
        arguments(multi_value_separator="")


@pytest.mark.parametrize(
    "values, hint",
    [
        (["a|b", "b", "a"], True),
        (["Drama;Comedy", "Comedy", "Drama"], True),
        (["Drama, Comedy", "Comedy", "Drama"], True),
        (["a", "b", "c"], False),
        (["Seoul, Korea", "Lyon, France", "Kyoto, Japan"], False),
        (["one, two", *(f"x{n}" for n in range(20))], False),
        ([1, 2, 3], False),
        ([None, None, None], False),
    ],
)
def test_a_column_that_looks_like_several_values_gets_a_hint(values, hint, monkeypatch):
    said = []
    monkeypatch.setattr("bert4rec_hf.data.features.logger.warning_once", said.append)
    history = pa.table({"profile_id": [1], "album_id": [0], "log_time": [1]})
    items = pa.table({"album_id": range(len(values)), "genre": values})
    read_interactions(arguments(item_features=["genre"]), history, items=items)
    assert [("--multi_value_separator" in text and "genre" in text) for text in said] == [True] * hint


def test_a_side_table_of_other_ids_is_warned_of(monkeypatch):
    said = []
    monkeypatch.setattr("bert4rec_hf.data.features.logger.warning", said.append)
    for ids, warned in ((["u1", "u2"], True), ([1, 2], False), ([1, *range(1000, 1200)], True), ([1, *"abc"], False)):
        said.clear()
        profiles = pa.table({"profile_id": list(map(str, ids)), "age": [3] * len(ids)})
        history = pa.table({"profile_id": [1, 2], "album_id": [0, 0], "log_time": [1, 2]})
        read_interactions(arguments(user_features=["age"]), history, profiles=profiles)
        assert len(said) == warned, ids
        assert not warned or f"of {len(ids)} ids in profile_id," in said[0] and "the same ids?" in said[0]
    said.clear()
    items = pa.table({"album_id": ["x"], "title": ["t"]})
    read_interactions(arguments(), history, items=items)
    assert "the item table: of 1 ids in album_id, 0 are in the log; 'x' is not" in said[0]


def test_exact_duplicates_are_kept_on_request():
    history = pa.table({"profile_id": [1] * 3, "album_id": [5, 5, 6], "log_time": [20220401] * 3})
    assert len(read_interactions(arguments(), history)) == 2
    interactions = read_interactions(arguments(keep_duplicates=True), history)
    assert events(interactions) == [(1, 5), (1, 5), (1, 6)]
    assert interactions.counts["exact duplicate rows kept"] == 1
