# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""
A catalogue of files and calls that a stranger, or a mistake, may bring: what is odd but valid works, what is bad is
refused in one line, at once, and nothing in a file is ever run. The cases are listed at its end, with what is said:

    python -m pytest tests/test_hostile_input.py
"""

import ast
import contextlib
import csv
import gzip
import io
import json
import pickle
import resource
import shutil
import struct
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from helpers import run as run_command
from safetensors.torch import load_file, save_file
from transformers import AutoModelForMaskedLM, AutoProcessor, pipeline

import bert4rec_hf
from bert4rec_hf import (
    Bert4RecConfig,
    Bert4RecEnsembleConfig,
    Bert4RecForMaskedLM,
    Bert4RecProcessor,
    DataArguments,
    DataCollatorForItemMasking,
    ItemRecommendationPipeline,
    Split,
    add_items,
    encode_training,
    fit_processor,
    load_checkpoint,
    read_interactions,
    write_submission,
)
from bert4rec_hf.cli.arguments import parse_arguments, run


ROOT = Path(__file__).parents[2]
LOG = "profile_id,log_time,album_id\n"
ROW = "1,20220301000000,10\n"


@pytest.fixture
def says(record_property, request, tmp_path):
    """Has what was said about a case listed in the end, after checking that it is a line that is not too long."""

    def check(text: str):
        text = text.removeprefix("error: ").rstrip("\n")
        assert text and len(text) <= 1000 and all(letter.isprintable() for letter in text)
        text = text.replace(f"{tmp_path}/", "")
        case = request.node.name.partition("[")[2][:-1] or request.node.name
        record_property("says", f"{case}: {text if len(text) < 150 else text[:120] + ' ... ' + text[-25:]}")

    return check


@pytest.fixture
def refused(capsys, says):
    """Runs something as a script does: it must end with exit code 2 and a line, soon, and in little memory."""

    def check(main, words: str):
        start, peak = time.perf_counter(), reset_peak()
        with pytest.raises(SystemExit) as error:
            run(main)
        assert error.value.code == 2
        assert time.perf_counter() - start < 20 and peak_memory() - peak < 400 * 2**20
        said = capsys.readouterr().err.splitlines()[-1]
        assert said.startswith("error: ") and words in said, said
        says(said)

    return check


def reset_peak() -> int:
    """The memory in use, from which the peak is measured anew."""
    with contextlib.suppress(OSError):  # Linux alone has it
        Path("/proc/self/clear_refs").write_text("5")
    return peak_memory()


def peak_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


# --- Logs and side tables -------------------------------------------------------------------------------------------


def rows(*item_ids) -> str:
    """A log of one user, one event of each item."""
    file = io.StringIO()
    csv.writer(file).writerows([1, 20220301000000 + place, item] for place, item in enumerate(item_ids))
    return LOG + file.getvalue()


def table(**columns) -> bytes:
    """A log as Parquet, with some other columns."""
    usual = {"profile_id": [1, 1], "log_time": [20220301000000, 20220301000001], "album_id": [10, 11]}
    return parquet(pa.table(usual | columns))


def parquet(of: pa.Table) -> bytes:
    pq.write_table(of, sink := pa.BufferOutputStream())
    return sink.getvalue().to_pybytes()


def items(**columns) -> bytes:
    return parquet(pa.table({"album_id": [10], **columns}))


def read(folder: Path, files: dict, **arguments):
    """Writes files and reads them, with no features but those asked for; `log` may have any name."""
    folder = folder / "data"
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    names = ("profile_data", "meta_data", "meta_data_plus")
    found = {f"{name}_file": next((file.name for file in folder.glob(f"{name}.*")), "none") for name in names}
    history = next(path.name for path in folder.iterdir() if path.name.startswith("history_data"))
    defaults = {"history_data_file": history, "item_features": [], "user_features": [], **found}
    return read_interactions(DataArguments(data_dir=str(folder), **(defaults | arguments)))


def log(content, name="history_data.csv", **arguments):
    return {name: content}, arguments


def parquet_log(**columns):
    return log(table(**columns), "history_data.parquet")


def side(name, content, **arguments):
    return {"history_data.csv": LOG + ROW, name: content}, arguments


TWICE = pa.Table.from_arrays(
    [pa.array([1]), pa.array([20220301000000]), pa.array([10]), pa.array([11])],
    names=["profile_id", "log_time", "album_id", "album_id"],
)
KEYWORDS = "album_id,keyword_name,keyword_value\n"
ESCAPE = "\x1b[2J\u202e"

BAD_DATA = {
    "csv: empty": (log(""), "history_data.csv: the file is empty"),
    "csv: a line break alone": (log("\n"), "Empty CSV file"),
    "csv: no header": (log(ROW), "no column 'profile_id', only 1, 20220301000000, 10"),
    "csv: a header alone": (log(LOG), "there are no rows under the header"),
    "csv: a column twice": (
        log(LOG.replace("\n", ",album_id\n") + ROW.replace("\n", ",11\n")),
        "2 columns 'album_id'",
    ),
    "csv: 20,000 other columns": (log(",".join(f"c{n}" for n in range(20000)) + "\n"), "no column 'profile_id'"),
    "csv: a column name that writes to the terminal": (log(ESCAPE + ",b\n1,2\n"), r"only \x1b[2J\u202e, b"),
    "csv: UTF-16": (log((LOG + ROW).encode("utf-16")), "the file is not UTF-8"),
    "csv: EUC-KR": (log(LOG.encode() + "1,20220301000000,가\n".encode("cp949")), "the file is not UTF-8"),
    "csv: half a character": (log(LOG.encode() + b"1,20220301000000,\xed\xa0\x80\n"), "the file is not UTF-8"),
    "csv: a picture": (log(b"\x89PNG\r\n\x1a\n\0\0"), "the file is not UTF-8"),
    "csv: gzip that is not named so": (log(gzip.compress((LOG + ROW).encode())), "let its name end in .gz"),
    "csv: gzip, cut short": (log(gzip.compress((LOG + ROW).encode())[:-6], "history_data.csv.gz"), "Truncated"),
    "csv: named gzip": (log(LOG + ROW, "history_data.csv.gz"), "incorrect header check"),
    "csv: a short row": (log(LOG + ROW + "1,2\n"), "Expected 3 columns, got 2"),
    "csv: a row of 5,000 cells": (log(LOG + ROW + "1," * 5000 + "\n"), "Expected 3 columns, got 5001"),
    "csv: a cell of 20 MB": (log(LOG + f"1,20220301000000,{'x' * 20_000_000}\n"), "a row is longer than 1 MB"),
    "csv: a quote that never closes": (log(LOG + '1,20220301000000,"' + ROW * 200_000), "is a quote not closed?"),
    "csv: no id": (log(LOG + ROW + ",20220301000000,10\n"), "row 2: profile_id is empty (1 such rows)"),
    "csv: the id null": (log(rows("null", "x")), "row 1: album_id is empty"),
    "csv: a delimiter that is a line break": (log(LOG + ROW, delimiter="\n"), r"delimiter is '\n'"),
    "csv: a delimiter that is NUL": (log(LOG + ROW, delimiter="\0"), r"delimiter is '\x00'"),
    "time: a word of 10,000 letters": (log(LOG + f"1,{'x' * 10000},10\n"), "row 1: log_time is 'xxx"),
    "time: none": (log(LOG + "1,,10\n"), "row 1: log_time is empty"),
    "time: NaN": (log(LOG + "1,nan,10\n"), "row 1: log_time is empty"),
    "time: -infinity": (log(LOG + ROW + "1,-inf,10\n"), "row 2: log_time is -inf, not a time"),
    "time: 10**30": (log(LOG + f"1,{10**30},10\n"), "row 1: log_time is 1e+30, not a time"),
    "time: the year 99999": (log(LOG + "1,99999-12-31 00:00:00,10\n"), "log_time is '99999-12-31 00:00:00'"),
    "time: seconds among dates": (log(LOG + ROW * 2 + "1,1650000000,10\n"), "row 3: log_time is 1650000000, not"),
    "time: the first and the last that 64 bits hold": (
        parquet_log(log_time=[2**63 - 1, -(2**63)]),
        "row 2: log_time is -9223372036854775808, not written like most",
    ),
    "time: 2**64 - 1": (
        parquet_log(log_time=pa.array([2**64 - 1, 1], pa.uint64())),
        "18446744073709551615, not a time",
    ),
    "time: a date beyond microseconds": (parquet_log(log_time=pa.array([2**62, 1], pa.date64())), "out of bounds"),
    "time: true": (parquet_log(log_time=[True, False]), "log_time is of type bool, not a time"),
    "time: lists": (parquet_log(log_time=[[1], [2]]), "log_time is of type list"),
    "parquet: cut short": (log(table()[:-9], "history_data.parquet"), "history_data.parquet: "),
    "parquet: CSV that is named so": (log(LOG + ROW, "history_data.parquet"), "history_data.parquet: "),
    "parquet: named CSV": (log(table()), "let its name end in .gz or .parquet"),
    "parquet: a column twice": (log(parquet(TWICE), "history_data.parquet"), "2 columns 'album_id'"),
    "parquet: ids that are lists": (parquet_log(album_id=[[1], [2]]), "album_id is of type list<element: int64>, not"),
    "parquet: ids that are structs": (parquet_log(album_id=[{"a": 1}] * 2), "album_id is of type struct"),
    "parquet: ids that are bytes": (parquet_log(album_id=[b"\xff\xfe", b"x"]), "album_id: the file is not UTF-8"),
    "parquet: a null id": (parquet_log(album_id=[10, None]), "row 2: album_id is empty"),
    "parquet: all ids null": (parquet_log(album_id=pa.nulls(2)), "row 1: album_id is empty (2 such rows)"),
    "folder: a picture among the files": (
        ({"history_data/a.csv": LOG + ROW, "history_data/b.csv": b"\x89PNG\r\n\x1a\n"}, {}),
        "history_data/b.csv: ",
    ),
    "folder: a file of other columns": (
        ({"history_data/a.csv": LOG + ROW, "history_data/b.csv": "x,y\n1,2\n"}, {}),
        "history_data/b.csv: Column 'profile_id'",
    ),
    "folder: a file that is cut short": (
        ({"history_data/a.parquet": table(), "history_data/b.parquet": table()[:200]}, {}),
        "history_data/b.parquet: ",
    ),
    "folder: a file whose ids are lists": (
        ({"history_data/a.parquet": table(), "history_data/b.parquet": table(album_id=[[1], [2]])}, {}),
        "history_data/b.parquet: ",
    ),
    "ids: a float beyond 2**53": (
        parquet_log(album_id=[2.0**53, 1.0]),
        "numbers have rounded it, so that different ids",
    ),
    "ids: half of single precision": (
        parquet_log(album_id=np.array([2.0**24, 1], np.float32)),
        "row 1: album_id is 16777216: floating-point numbers have rounded it",
    ),
    "ids: of a spreadsheet": (log(rows("x", "1.23457E+18")), "row 2: album_id is 1.23457E+18: a spreadsheet has"),
    "ids: 1 and 1.0 beside a word": (log(rows("1", "a", "1.0")), "album_id holds '1' and '1.0', which are read as"),
    "ids: a UUID in two cases": (
        log(rows("0B5E8C4A-0000-4000-8000-00000000000a", "0b5e8c4a-0000-4000-8000-00000000000a")),
        "which are read as the same id",
    ),
    "ids: spans of time": (parquet_log(album_id=pa.array([1, 2], pa.duration("s"))), "of type duration[s], not an id"),
    "ids: a map": (parquet_log(album_id=pa.array([[("a", 1)]] * 2, pa.map_(pa.string(), pa.int8()))), "of type map"),
    "time: of a spreadsheet": (log(LOG + "1,2.02204E+13,10\n"), "row 1: log_time is '2.02204E+13': a spreadsheet"),
    "time: of single precision": (
        parquet_log(log_time=np.array([1650000000, 1650000001], np.float32)),
        "numbers of type float have rounded it",
    ),
    "time: 30 February": (
        log(LOG + "1,2022-02-01,10\n1,2022-02-02,10\n1,2022-02-30,10\n"),
        "row 3: log_time is '2022-02-30', not a time without an offset",
    ),
    "time: an offset in one row of many": (
        log(LOG + "1,2022-02-01 10:00,10\n1,2022-02-01 11:00,10\n1,2022-02-01T10:00+09:00,10\n"),
        "row 3: log_time is '2022-02-01T10:00+09:00', not a time without an offset",
    ),
    "time: the day before the month": (log(LOG + "1,27/04/2022,10\n"), "times are numbers: YYYYMMDDhhmmss"),
    "time: a clock alone": (parquet_log(log_time=pa.array([1, 2], pa.time64("us"))), "of type time64[us], not a time"),
    "time zone: none of this world": (log(LOG + ROW, time_zone="Mars/Phobos"), "give a name such as Asia/Seoul"),
    "encoding: none that is known": (log(LOG + ROW, encoding="utf-99"), "give one that Python knows, such as cp949"),
    "encoding: another than the file's": (
        log(LOG.encode() + "1,20220301000000,가\n".encode("cp949"), encoding="utf-16"),
        "history_data.csv: ",
    ),
    "separator: empty": (log(LOG + ROW, multi_value_separator=""), "multi_value_separator is empty"),
    "json: cut short": (log('{"profile_id": 1, "album', "history_data.jsonl"), "history_data.jsonl: JSON"),
    "json: an array": (log('[{"profile_id": 1}]', "history_data.json"), "history_data.json: JSON"),
    "json: numbers and words": (
        log('{"profile_id": 1}\n{"profile_id": "x"}\n', "history_data.jsonl"),
        "history_data.jsonl: JSON parse error",
    ),
    "json: an id beyond 2**53": (
        log('{"profile_id": 1e17, "log_time": 1, "album_id": 1}\n', "history_data.jsonl"),
        "row 1: profile_id is 100000000000000000: floating-point",
    ),
    "folder: floats beyond 2**53 beside integers": (
        ({"history_data/a.parquet": table(), "history_data/b.parquet": table(album_id=[1e17, 2e17])}, {}),
        "b.parquet, row 1: album_id is 100000000000000000: floating-point",
    ),
    "folder: empty but for markers": (({"history_data/_SUCCESS": "", "history_data/.x": ""}, {}), "no such file"),
    "folder: a partition without a value": (
        ({"history_data/album_id=/a.csv": "profile_id,log_time\n1,20220301000000\n"}, {}),
        "a.csv, row 1: album_id is empty",
    ),
    "items: structs as a feature": (
        side("meta_data.parquet", items(genre=[{"a": 1}]), item_features=["genre"]),
        "genre is of type struct<a: int64>, not a value or a list of values",
    ),
    "items: lists of lists as a feature": (
        side("meta_data.parquet", items(genre=[[["a"]]]), item_features=["genre"]),
        "genre is of type list<element: list<element: string>>",
    ),
    "items: titles that are lists": (side("meta_data.parquet", items(title=[["a"]])), "title is of type list"),
    "items: keyword weights that are lists": (
        side("meta_data_plus.parquet", items(keyword_name=["a"], keyword_value=[[1]]), item_features=["keyword_name"]),
        "keyword_value is of type list",
    ),
    "profiles: lists of lists as a feature": (
        side("profile_data.parquet", parquet(pa.table({"profile_id": [1], "age": [[[3]]]})), user_features=["age"]),
        "age is of type list",
    ),
}


@pytest.mark.parametrize("name", BAD_DATA)
def test_bad_data_is_refused(tmp_path, refused, name):
    (files, arguments), words = BAD_DATA[name]
    refused(lambda: read(tmp_path, files, **arguments), words)


ODD_IDS = {
    "10,000 letters": "x" * 10_000,
    "a comma": "a,b",
    "quotes": 'it\'s "it"',
    "a backslash": "a\\",
    "a line break": "a\nb",
    "a carriage return": "a\rb",
    "a tab": "a\tb",
    "spaces": "a  b c",
    "[MASK]": "[MASK]",
    "[PAD]": "[PAD]",
    "control characters": "\x01\x1b[2J\x7f",
    "right to left": "\u202eשלום",
    "no width": "\u200b",
    "composed": "\u00e9",
    "decomposed": "e\u0301",
    "emoji": "👩‍👩‍👧",
    "leading zeros": "007",
    "40 digits": "9" * 40,
    "a fraction": "1.50",
    "an exponent": "1e5",
    "minus zero": "-0",
    "a formula": "=1+1",
    "a path": "../../etc/passwd",
    "a list": "[1, 2]",
    "braces": "{{ x }}",
}


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """Read, trained, saved and loaded: a log of the odd ids, of users and of items."""
    folder = tmp_path_factory.mktemp("odd")
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(["profile_id", "log_time", "album_id"])
    for place, user in enumerate(ODD_IDS.values()):
        writer.writerows([user, 20220301000000 + place + n, item] for n, item in enumerate(ODD_IDS.values()))
    interactions = read(folder, {"history_data.csv": file.getvalue()})
    processor = fit_processor(interactions, Split("none"))
    model = Bert4RecForMaskedLM(Bert4RecConfig(**processor.config_kwargs(), hidden_size=8, num_attention_heads=2))
    batch = DataCollatorForItemMasking(processor)([*encode_training(interactions, processor, Split("none"))])
    model(**batch).loss.backward()
    torch.optim.SGD(model.parameters(), 0.1).step()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    model, processor = load_checkpoint(str(folder))
    submission = ["profile_id", *dict.fromkeys([*ODD_IDS.values(), "nobody"])]
    with open(folder / "data" / "sample.csv", "w", newline="", encoding="utf-8") as sample:
        csv.writer(sample).writerows([user] for user in submission)
    places = (str(folder / "data" / "sample.csv"), str(folder / "submission.csv"))
    write_submission(model.eval(), processor, interactions, *places, k=len(ODD_IDS))
    with open(folder / "submission.csv", newline="", encoding="utf-8") as written:
        recommended = {row["profile_id"]: ast.literal_eval(row["predicted_list"]) for row in csv.DictReader(written)}
    return ItemRecommendationPipeline(model=model, processor=processor), recommended


@pytest.mark.parametrize("name", ODD_IDS)
def test_odd_ids_are_read_trained_saved_loaded_and_recommended_as_they_are(odd, says, name):
    pipe, recommended = odd
    item = ODD_IDS[name]
    (only,) = pipe({"history": [item] * 3}, candidates=[item])
    assert only["item_id"] == item and only["score"] > -np.inf
    assert len(recommended) == len(ODD_IDS) + 1
    assert item in recommended and all(set(items) == set(ODD_IDS.values()) for items in recommended.values())
    says(f"recommended as {ascii(item) if len(item) < 100 else f'{item[:5]}... ({len(item)})'}")


ODD_DATA = {
    "csv: a byte order mark": (log(b"\xef\xbb\xbf" + (LOG + ROW).encode()), [10]),
    "csv: CRLF": (log((LOG + ROW).replace("\n", "\r\n")), [10]),
    "csv: CR": (log((LOG + ROW).replace("\n", "\r")), [10]),
    "csv: no line break at the end": (log((LOG + ROW).strip()), [10]),
    "csv: gzip": (log(gzip.compress((LOG + ROW).encode()), "history_data.csv.gz"), [10]),
    "csv: a column that nobody reads twice": (log(LOG.replace("\n", ",x,x\n") + ROW.replace("\n", ",1,2\n")), [10]),
    "csv: numbers and words": (log(rows("1", "a", "2.0")), ["1", "a", "2.0"]),
    "csv: the integer 0 with a sign": (log(rows("-0", "5")), [0, 5]),
    "csv: 40 digits, once with .0": (log(rows(f"{'9' * 40}.0", "7")), ["9" * 40, "7"]),
    "csv: CP949": (log((LOG + "1,20220301000000,가\n").encode("cp949"), encoding="cp949"), ["가"]),
    "csv: UTF-16, with its name": (log((LOG + ROW).encode("utf-16"), encoding="utf-16"), [10]),
    "json: lines": (log('{"profile_id": 1, "log_time": 20220301, "album_id": "x"}\n', "history_data.jsonl"), ["x"]),
    "folder: Hive's partitions": (
        ({"history_data/log_time=20220301/album_id=%EA%B0%80/a.csv": "profile_id\n1\n"}, {}),
        ["가"],
    ),
    "parquet: views": (parquet_log(album_id=pa.array(["a", "b"], pa.string_view())), ["a", "b"]),
    "parquet: half floats": (parquet_log(album_id=np.array([10, 11], np.float16)), [10, 11]),
    "parquet: UUIDs": (
        parquet_log(album_id=pa.array([b"\x00" * 16, b"\xff" * 16], pa.uuid())),
        ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"],
    ),
    "parquet: 12 bytes": (
        parquet_log(album_id=pa.array([b"\xfe" * 12, b"\xff" * 12], pa.binary(12))),
        ["fe" * 12, "ff" * 12],
    ),
    "parquet: decimals": (parquet_log(album_id=pa.array([10, 11]).cast(pa.decimal128(21, 2))), [10, 11]),
    "time: text of nine digits": (log(LOG + "1,2022-03-01 00:00:00.123456789,10\n"), [10]),
    "time: with UTC": (log(LOG + "1,2019-10-01 00:00:00 UTC,10\n"), [10]),
    "time: with slashes": (log(LOG + "1,2022/03/01,10\n"), [10]),
    "time: milliseconds with a fraction": (log(LOG + "1,1648771200000.5,10\n"), [10]),
    "time: mixed offsets": (log(LOG + "1,2022-03-01T00:00Z,10\n1,2022-03-01T09:30+09:00,11\n"), [10, 11]),
    "csv: numbers with .0": (log(rows("1.0", "2")), [1, 2]),
    "csv: a number beyond 64 bits": (log(rows(2**64, 7)), [str(2**64), "7"]),
    "csv: the largest number of 64 bits": (log(rows(2**63 - 1, "x")), [str(2**63 - 1), "x"]),
    "csv: negative numbers": (log(rows(-5, 7)), [-5, 7]),
    "time: below zero": (log(LOG + "1,-5,10\n"), [10]),
    "time: the year 5138": (log(LOG + "1,99999999999,10\n"), [10]),
    "time: the year 9999": (log(LOG + "1,9999-12-31 00:00:00,10\n"), [10]),
    "time: the year 1": (log(LOG + "1,0001-01-01 00:00:00,10\n"), [10]),
    "time: month 13": (log(LOG + "1,20221399000000,10\n"), [10]),
    "parquet: numbers of 64 bits without a sign": (
        parquet_log(album_id=pa.array([2**64 - 1, 1], pa.uint64())),
        [str(2**64 - 1), "1"],
    ),
    "parquet: texts as bytes": (parquet_log(album_id=[b"x", b"y"]), ["x", "y"]),
    "parquet: times as bytes": (parquet_log(log_time=[b"20220301000000", b"20220301000001"]), [10, 11]),
    "parquet: a dictionary": (parquet_log(album_id=pa.array(["a", "b"]).dictionary_encode()), ["a", "b"]),
    "parquet: true and false": (parquet_log(album_id=[True, False]), ["true", "false"]),
    "folder: numbers and words": (
        ({"history_data/a.parquet": table(), "history_data/b.parquet": table(album_id=["a", "b"])}, {}),
        ["10", "a", "11", "b"],
    ),
    "items: 100,000 keywords of one": (
        (
            {
                "history_data.csv": LOG + ROW,
                "meta_data_plus.csv": KEYWORDS + "".join(f"10,k{n},5\n" for n in range(100_000)),
            },
            {"item_features": ["keyword_name"]},
        ),
        [10],
    ),
    "items: a list of 100,000 keywords": (
        side("meta_data.parquet", items(tags=[[f"k{n}" for n in range(100_000)]]), item_features=["tags"]),
        [10],
    ),
    "items: weights that are no numbers": (
        side("meta_data_plus.csv", KEYWORDS + "10,a,inf\n10,b,nan\n10,c,-inf\n", item_features=["keyword_name"]),
        [10],
    ),
    "profiles: no id at all": (side("profile_data.csv", "profile_id,age\n,3\n,4\n", user_features=["age"]), [10]),
    "items: a fixed-size list that is null": (
        side("meta_data.parquet", items(tags=pa.array([None], pa.list_(pa.string(), 2))), item_features=["tags"]),
        [10],
    ),
    "items: values under a null": (
        side(
            "meta_data.parquet",
            items(tags=pa.ListArray.from_arrays([0, 2], pa.array(["a", "b"]), mask=pa.array([True]))),
            item_features=["tags"],
        ),
        [10],
    ),
    "items: several values in a text": (
        side("meta_data.csv", "album_id,tags\n10,a|b\n", item_features=["tags"], multi_value_separator="|"),
        [10],
    ),
    "items: a dictionary that is full": (
        side(
            "meta_data.parquet",
            items(tags=pa.DictionaryArray.from_arrays(pa.array([127], pa.int8()), [f"v{n}" for n in range(128)])),
            item_features=["tags"],
        ),
        [10],
    ),
    "profiles: junk among floats": (
        side("profile_data.csv", "profile_id,age\nx,3\n1.0,4\n", user_features=["age"]),
        [10],
    ),
    "profiles: ids of another type": (
        side("profile_data.csv", "profile_id,age\n1,3\nX,4\n", user_features=["age"]),
        [10],
    ),
}


@pytest.mark.parametrize("name", ODD_DATA)
def test_odd_data_is_read(tmp_path, says, name):
    (files, arguments), item_ids = ODD_DATA[name]
    interactions = read(tmp_path, files, **arguments)
    processor = fit_processor(interactions, Split("none"))
    dataset = encode_training(interactions, processor, Split("none"))
    assert [processor.decode(row["input_ids"]) for row in dataset] == [item_ids]
    assert all(feature["max_values"] <= 2**12 for feature in processor.vocabulary["item_features"])
    Bert4RecConfig(**processor.config_kwargs())
    says(f"read as {item_ids}")


# --- Checkpoints ----------------------------------------------------------------------------------------------------

VOCABULARY = {
    "item_ids": [f"i{n}" for n in range(50)],
    "titles": [f"t{n}" for n in range(50)],
    "item_features": [{"name": "genre", "max_values": 1, "values": ["a", "b"]}],
    "item_feature_values": [[[1 + n % 2] for n in range(50)]],
    "user_features": [{"name": "sex", "values": ["F", "M"]}],
}
DEEP = '{"a":' * 10_000 + "1" + "}" * 10_000
TABLE = "model.embeddings.item_embeddings.item_features"
WEIGHT = "model.embeddings.item_embeddings.weight"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    processor = Bert4RecProcessor(VOCABULARY)
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 12}
    model = Bert4RecForMaskedLM(Bert4RecConfig(**processor.config_kwargs(), **sizes)).eval()
    model.set_item_features(processor.item_features())
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture
def copy(whole, tmp_path):
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def text(name, content):
    return lambda folder: (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def settings(**values):
    def change(folder):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | values))

    return change


def vocabulary(**parts):
    return text("vocabulary.json", json.dumps(VOCABULARY | parts))


def cut(name, end):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:end])


def without(name):
    return lambda folder: (folder / name).unlink()


def header(values, data=b""):
    """Weights of any header."""
    values = values if isinstance(values, bytes) else json.dumps(values).encode()
    return text("model.safetensors", struct.pack("<Q", len(values)) + values + data)


def tensors(change):
    def rewrite(folder):
        values = load_file(folder / "model.safetensors")
        change(values)
        save_file(values, folder / "model.safetensors", {"format": "pt"})

    return rewrite


def number(name, value):
    """One number of a tensor."""
    return tensors(lambda values: values[name].view(-1)[-1:].fill_(value))


def kind(name, dtype):
    return tensors(lambda values: values.update({name: values[name].to(dtype)}))


def only_pickle(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def index(content):
    def rename(folder):
        (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
        (folder / "model.safetensors.index.json").write_text(json.dumps(content))

    return rename


FLOAT = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
MANY = [{"name": str(n), "num_values": 2**31 - 1, "max_values": 4096} for n in range(100_000)]

BAD_CHECKPOINTS = {
    "config: null": (text("config.json", "null"), "config.json must hold names and values"),
    "config: a list": (text("config.json", "[]"), "config.json must hold names and values"),
    "config: empty": (text("config.json", ""), "config.json is no JSON"),
    "config: nothing in it": (text("config.json", "{}"), "a model of type None, not a BERT4Rec"),
    "config: cut short": (cut("config.json", 50), "config.json is no JSON"),
    "config: UTF-16": (text("config.json", "{}".encode("utf-16")), "config.json is no JSON"),
    "config: nested 10,000 deep": (text("config.json", DEEP), "maximum recursion depth exceeded"),
    "config: a setting nested 10,000 deep": (
        text("config.json", '{"model_type": "bert4rec", "id2label": ' + DEEP + "}"),
        "maximum recursion depth exceeded",
    ),
    "config: another model": (settings(model_type="bert"), "a model of type bert, not a BERT4Rec"),
    "config: a type that is a list": (settings(model_type=[1]), "a model of type [1]"),
    "config: 0 heads": (settings(num_attention_heads=0), "num_attention_heads is 0; it must be from 1"),
    "config: -2 heads": (settings(num_attention_heads=-2), "num_attention_heads is -2"),
    "config: 20,000 layers": (settings(num_hidden_layers=20_000), "num_hidden_layers is 20000; it must be from 1 to"),
    "config: 256 layers": (settings(num_hidden_layers=256), "is missing"),
    "config: a size of 2**63": (settings(hidden_size=2**63), "hidden_size is 9223372036854775808"),
    "config: a size of 5,000 digits": (
        text("config.json", '{"model_type": "bert4rec", "hidden_size": ' + "9" * 5000 + "}"),
        "Exceeds the limit",
    ),
    "config: a size of 1e400": (text("config.json", '{"model_type": "bert4rec", "hidden_size": 1e400}'), "got float"),
    "config: the largest sizes": (
        settings(
            vocab_size=2**31 - 1,
            hidden_size=2**16,
            num_hidden_layers=2**10,
            num_attention_heads=2**15,
            intermediate_size=2**18,
            max_position_embeddings=2**20,
        ),
        "not of the same checkpoint",
    ),
    "config: a size that is true": (settings(hidden_size=True), "expected int, got bool"),
    "config: a size that is null": (settings(hidden_size=None), "expected int, got NoneType"),
    "config: NaN": (settings(hidden_dropout_prob=float("nan")), "hidden_dropout_prob is nan"),
    "config: infinity": (settings(layer_norm_eps=float("inf")), "layer_norm_eps is inf"),
    "config: 100,000 features": (settings(item_features=MANY), "there are 100000 item_features; at most"),
    "config: 10**12 classes": (settings(num_labels=10**12), "there are 1000000000000 num_labels; at most"),
    "config: architectures that are a number": (settings(architectures=3), "int"),
    "config: a dtype that is none": (settings(dtype="os.system"), "no attribute 'os.system'"),
    "config: attention by a kernel of the Hub": (
        settings(_attn_implementation="stranger/kernel"),
        "_attn_implementation: no such setting",
    ),
    "config: a setting that nobody knows": (settings(hidden_sise=3), "hidden_sise: no such setting"),
    "config: a folder": (lambda f: ((f / "config.json").unlink(), (f / "config.json").mkdir()), "Is a directory"),
    "weights: cut short by one byte": (cut("model.safetensors", -1), "model.safetensors cannot be read"),
    "weights: half": (cut("model.safetensors", 3000), "model.safetensors cannot be read"),
    "weights: empty": (cut("model.safetensors", 0), "model.safetensors cannot be read"),
    "weights: a header of 2**63 bytes": (
        text("model.safetensors", struct.pack("<Q", 2**63) + b"{}"),
        "header too large",
    ),
    "weights: a header that is no JSON": (header(b"hello"), "invalid JSON in header"),
    "weights: a header nested 10,000 deep": (header(DEEP.encode()), "recursion limit exceeded"),
    "weights: a header of 2**124 numbers": (
        header({"a": FLOAT | {"shape": [2**62, 2**62]}}, b"\0" * 8),
        "model.safetensors cannot be read",
    ),
    "weights: tensors that overlap": (header({"a": FLOAT, "b": FLOAT}, b"\0" * 8), "invalid offset"),
    "weights: a header of nothing": (header({}), "is missing"),
    "weights: a pickle": (
        lambda folder: torch.save({"a": torch.ones(2)}, folder / "model.safetensors"),
        "model.safetensors cannot be read",
    ),
    "weights: a tensor missing": (tensors(lambda values: values.pop("decoder.bias")), "decoder.bias is missing"),
    "weights: a tensor more": (
        tensors(lambda values: values.update(more=torch.ones(3))),
        "more is (3,), not expected",
    ),
    "weights: a tensor of another shape": (
        tensors(lambda values: values.update({"decoder.bias": torch.ones(3)})),
        "decoder.bias is (3,), not (53,)",
    ),
    "weights: NaN": (number(WEIGHT, float("nan")), f"{WEIGHT} holds NaN"),
    "weights: infinity": (number("decoder.bias", float("inf")), "decoder.bias holds NaN, infinity"),
    "weights: whole numbers": (kind("decoder.bias", torch.int64), "decoder.bias holds numbers of type I64"),
    "weights: complex numbers": (kind("decoder.bias", torch.complex64), "decoder.bias holds numbers of type C64"),
    "weights: features with fractions": (kind(TABLE, torch.float32), f"{TABLE} holds numbers of type F32"),
    "weights: features beyond the config": (number(TABLE, 99), "holds features that are none"),
    "weights: features below zero": (number(TABLE, -1), "holds features that are none"),
    "weights: pytorch_model.bin alone": (only_pickle, "no model.safetensors"),
    "weights: none": (without("model.safetensors"), "no model.safetensors"),
    "weights: an index of null": (index(None), "model.safetensors.index.json must hold names and values"),
    "weights: an index of other files": (
        index({"metadata": {}, "weight_map": {"decoder.bias": "../../etc/passwd"}}),
        "model.safetensors.index.json names other files",
    ),
    "processor: null": (text("processor_config.json", "null"), "processor_config.json must hold names and values"),
    "processor: cut short": (cut("processor_config.json", 20), "processor_config.json is no JSON"),
    "processor: nested 10,000 deep": (text("processor_config.json", DEEP), "maximum recursion depth exceeded"),
    "processor: a split that is none": (
        text("processor_config.json", '{"processor_class": "Bert4RecProcessor", "split": {"split": "x"}}'),
        "split is 'x'",
    ),
    "processor: missing": (without("processor_config.json"), "no processor_config.json"),
    "vocabulary: cut short": (cut("vocabulary.json", 100), "the processor cannot be loaded"),
    "vocabulary: null": (text("vocabulary.json", "null"), "not of the same checkpoint"),
    "vocabulary: nested 10,000 deep": (text("vocabulary.json", DEEP), "maximum recursion depth exceeded"),
    "vocabulary: bytes": (text("vocabulary.json", b"\xff\xfe"), "the processor cannot be loaded"),
    "vocabulary: ids twice": (vocabulary(item_ids=["i0"] * 50), "item_ids holds an id twice"),
    "vocabulary: an id too few": (vocabulary(item_ids=VOCABULARY["item_ids"][1:]), "titles must be 49 strings"),
    "vocabulary: an id too many": (
        vocabulary(item_ids=[*VOCABULARY["item_ids"], "x"], titles=None),
        "genre must have a list of values for each item",
    ),
    "vocabulary: ids that are NaN": (vocabulary(item_ids=[float("nan")] * 50), "all integers or all strings"),
    "vocabulary: ids beyond 64 bits": (
        vocabulary(item_ids=[10**30 + n for n in range(50)]),
        "item_ids holds a number beyond 64 bits",
    ),
    "vocabulary: half a character": (
        vocabulary(item_ids=["\ud800", *VOCABULARY["item_ids"][1:]]),
        "half a character",
    ),
    "vocabulary: a feature twice": (vocabulary(user_features=VOCABULARY["user_features"] * 2), "has a name twice"),
    "vocabulary: 10**12 values of an item": (
        vocabulary(item_features=[{"name": "genre", "max_values": 10**12, "values": ["a", "b"]}]),
        "not of the same checkpoint",
    ),
    "vocabulary: missing": (without("vocabulary.json"), "no vocabulary.json"),
}


@pytest.mark.parametrize("name", BAD_CHECKPOINTS)
def test_bad_checkpoints_are_refused(copy, refused, name):
    spoil, words = BAD_CHECKPOINTS[name]
    spoil(copy)
    refused(lambda: load_checkpoint(str(copy)), words)


@pytest.mark.parametrize("name", ["weights: NaN", "weights: features beyond the config", "config: 10**12 classes"])
def test_what_would_only_show_later_is_refused_by_the_auto_classes_too(copy, says, name):
    spoil, words = BAD_CHECKPOINTS[name]
    spoil(copy)
    with pytest.raises(ValueError) as error:
        AutoModelForMaskedLM.from_pretrained(copy)
    assert words in str(error.value)
    says(str(error.value))


def test_a_command_refuses_a_bad_checkpoint(copy, monkeypatch, capsys, says):
    (copy / "config.json").write_text(DEEP)
    with pytest.raises(SystemExit) as error:
        run_command(monkeypatch, "predict", "--model_dir", copy, "--data_dir", copy)
    said = capsys.readouterr().err
    assert error.value.code == 2 and said.startswith("error: ") and said.count("\n") == 1
    says(said)


BAD_ARGUMENTS = {
    "arguments: nested 10,000 deep": ("a.json", DEEP, "maximum recursion depth exceeded"),
    "arguments: YAML that grows": (
        "a.yaml",
        "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefghijkl", "bcdefghijklm")),
        "it must hold names and values",
    ),
    "arguments: YAML that makes objects": ("a.yaml", "k: !!python/object/apply:os.system [true]\n", "python/object"),
    "arguments: null": ("a.json", "null", "it must hold names and values"),
    "arguments: a name that is no argument": ("a.yaml", "delimitter: x\n", "no flag --delimitter; is it --delimiter?"),
}


@pytest.mark.parametrize("name", BAD_ARGUMENTS)
def test_bad_files_of_arguments_are_refused(tmp_path, refused, name):
    file, content, words = BAD_ARGUMENTS[name]
    (tmp_path / file).write_text(content)
    refused(lambda: parse_arguments(DataArguments, args=[str(tmp_path / file)]), words)


def test_an_ensemble_of_too_many_members_is_refused_before_they_are_made(says):
    with pytest.raises(ValueError, match="there are 100000 members; at most") as error:
        Bert4RecEnsembleConfig(members=[{}] * 100_000)
    says(str(error.value).splitlines()[-1])


# --- Calls ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pipe(whole):
    return pipeline("item-recommendation", model=str(whole))


ID = torch.tensor([[3, 4, 5]])
NAN = float("nan")

BAD_CALLS = {
    "ids beyond the vocabulary": (lambda m, p: m.recommend(torch.tensor([[3, 999]])), "input_ids has the id 999"),
    "ids below zero": (lambda m, p: m.recommend(torch.tensor([[3, -1]])), "input_ids has the id -1"),
    "ids in one dimension": (lambda m, p: m.recommend(ID[0]), "input_ids must be a 2-d tensor of integers, not 1-d"),
    "ids that are NaN": (lambda m, p: m.recommend(torch.tensor([[3, NAN]])), "not 2-d torch.float32"),
    "ids that are true": (lambda m, p: m.recommend(ID > 3), "not 2-d torch.bool"),
    "ids in a list": (lambda m, p: m.recommend([[3]]), "input_ids must be a 2-d tensor of integers, not list"),
    "no rows": (lambda m, p: m.recommend(ID[:0]), "input_ids has no rows"),
    "too long for the encoder": (lambda m, p: m(ID.repeat(1, 2000)), "a sequence has 6000 positions, the model 12"),
    "ids beyond the vocabulary, to the encoder": (lambda m, p: m(torch.tensor([[999]])), "out of range"),
    "labels beyond the vocabulary": (lambda m, p: m(ID, labels=torch.tensor([[999, -100, -100]])), "out of bounds"),
    "neither ids nor embeddings": (lambda m, p: m(), "exactly one of input_ids or inputs_embeds"),
    "a mask of another shape": (lambda m, p: m.recommend(ID, ID[:, 1:]), "attention_mask has shape (1, 2)"),
    "a feature beyond its values": (
        lambda m, p: m.recommend(ID, user_features=torch.tensor([[99]])),
        "user feature 'sex' has the id 99",
    ),
    "features of other users": (
        lambda m, p: m.recommend(ID, user_features=torch.tensor([[1], [1]])),
        "user_features has shape (2, 1)",
    ),
    "features with fractions": (
        lambda m, p: m.recommend(ID, user_features=torch.tensor([[1.0]])),
        "user_features must be a 2-d tensor of integers",
    ),
    "item features that are NaN": (lambda m, p: m.set_item_features(torch.full((53, 1), NAN)), "values outside"),
    "k of 0": (lambda m, p: m.recommend(ID, k=0), "k is 0; it must be at least 1"),
    "k below 0": (lambda m, p: m.recommend(ID, k=-1), "k is -1"),
    "k beyond the catalogue": (lambda m, p: m.recommend(ID, k=51), "k is 51, but only 50 items"),
    "k of 10**12": (lambda m, p: m.recommend(ID, k=10**12), "k is 1000000000000, but only 50 items"),
    "k of 1.5": (lambda m, p: m.recommend(ID, k=1.5), "'k' (position 1) must be int, not float"),
    "candidates beyond the vocabulary": (
        lambda m, p: m.recommend(ID, k=1, candidate_ids=torch.tensor([999])),
        "candidate_ids has the id 999",
    ),
    "candidates below zero": (
        lambda m, p: m.recommend(ID, k=1, candidate_ids=torch.tensor([-1])),
        "candidate_ids has the id -1",
    ),
    "no candidates": (
        lambda m, p: m.recommend(ID, k=1, candidate_ids=ID[0, :0]),
        "k is 1, but only 0 items",
    ),
    "a history that is a text": (lambda m, p: p("i1"), "a history is a list of item ids, not 'i1'"),
    "a history that is none": (lambda m, p: p(None), "a history is a list of item ids, not None"),
    "a history among histories that is a text": (lambda m, p: p([["i1"], "i2"]), "not 'i2'"),
    "a history of tensors": (lambda m, p: p(ID), "a history is a list of item ids, not tensor"),
    "an item that is NaN": (lambda m, p: p([[NAN]]), "item id nan is a float"),
    "an item of another type": (lambda m, p: p([[3]]), "item id 3 is a int"),
    "an item of 10**6 letters": (lambda m, p: p([[b"x" * 10**6]]), "is a bytes"),
    "a profile that is a text": (lambda m, p: p([["i1"]], ["F"]), "a profile is a dict of user features, not 'F'"),
    "a profile too few": (lambda m, p: p([["i1"], ["i2"]], [{}]), "2 histories and 1 profiles"),
    "a new item that is true": (lambda m, p: add_items(m, p, [True]), "item id True is a bool"),
    "a new item that is half a character": (lambda m, p: p.add_items(["\ud800"]), "half a character"),
    "candidates that nobody knows": (
        lambda m, p: ItemRecommendationPipeline(model=m, processor=p)({"history": []}, candidates=["new"]),
        "none of the candidates is in the vocabulary",
    ),
    "a user that is none": (lambda m, p: ItemRecommendationPipeline(model=m, processor=p)(None), "a user is {"),
    "a log that is a number": (lambda m, p: read_interactions(DataArguments(), 3), "the log is of type int"),
    "a cut-off that is a number": (lambda m, p: Split("temporal", 20220401), "not 20220401"),
    "a mask probability that is NaN": (
        lambda m, p: DataCollatorForItemMasking(p, mlm_probability=NAN),
        "mlm_probability is nan",
    ),
    "a row without items": (lambda m, p: DataCollatorForItemMasking(p)([{"input_ids": []}]), "has no items"),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_bad_calls_are_refused(pipe, says, name):
    call, words = BAD_CALLS[name]
    start, before = time.perf_counter(), pipe.processor.vocabulary
    with pytest.raises((ValueError, TypeError, IndexError, RuntimeError)) as error:  # the last two are torch's own
        call(pipe.model, pipe.processor)
    assert words in str(error.value) and time.perf_counter() - start < 10
    assert pipe.processor.vocabulary is before
    says(str(error.value))


ODD_CALLS = {
    "an empty history": ({"history": []}, {}),
    "a history of 100,000 items": ({"history": ["i1"] * 100_000}, {}),
    "items that nobody knows": ({"history": ["new", None, "i1"]}, {}),
    "k beyond the catalogue": ({"history": []}, {"k": 10**9}),
    "candidates of which one is known": ({"history": []}, {"candidates": ["new", "i1"]}),
    "a profile of NaN": ({"history": [], "profile": {"sex": NAN}}, {}),
    "a profile of other names": ({"history": [], "profile": {3: "F", "shoe": 43}}, {}),
    "a profile of a list": ({"history": [], "profile": {"sex": ["F"]}}, {}),
}


@pytest.mark.parametrize("name", ODD_CALLS)
def test_odd_calls_get_a_list(pipe, says, name):
    user, arguments = ODD_CALLS[name]
    items = pipe(user, **arguments)
    assert all(np.isfinite(item["score"]) for item in items)
    assert len(items) == min(arguments.get("k", 10), 1 if "candidates" in arguments else 50)
    says(f"{len(items)} items")


# --- Code -----------------------------------------------------------------------------------------------------------


class Payload:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_nothing_in_a_checkpoint_is_run(copy, tmp_path):
    """Of pickles, code and templates in a folder, unless one asks for it by trust_remote_code without the package."""
    trap = tmp_path / "sprung"
    for name in ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth", "pytorch_model.bin"):
        (copy / name).write_bytes(pickle.dumps(Payload(trap)))
    (copy / "chat_template.jinja").write_text("{{ cycler.__init__.__globals__.os.system('touch " + str(trap) + "') }}")
    code = f"import pathlib\npathlib.Path({str(trap)!r}).touch()\n"
    for path in [*copy.glob("*.py"), copy / "evil.py", copy / "handler.py", copy / "setup.py"]:
        path.write_text(code)
    auto_map = dict.fromkeys(("AutoConfig", "AutoModelForMaskedLM", "AutoProcessor"), "evil.Evil")
    pipelines = {"item-recommendation": {"impl": "evil.Evil", "pt": ["AutoModelForMaskedLM"]}}
    settings(auto_map=auto_map, custom_pipelines=pipelines)(copy)
    load_checkpoint(str(copy))
    for trust in (None, True):  # the package's own classes come before those of the folder
        AutoModelForMaskedLM.from_pretrained(copy, trust_remote_code=trust)
        AutoProcessor.from_pretrained(copy, trust_remote_code=trust)
        pipeline("item-recommendation", model=str(copy), trust_remote_code=trust)({"history": ["i1"]})
    assert not trap.exists()
    settings(auto_map=3)(copy)
    load_checkpoint(str(copy))[0].save_pretrained(tmp_path / "again")
    assert "modeling_bert4rec" in json.loads((tmp_path / "again" / "config.json").read_text())["auto_map"]["AutoModel"]
    pickle.loads((copy / "optimizer.pt").read_bytes())
    assert trap.exists()  # the trap works


FORBIDDEN_MODULES = {"pickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "code", "codeop"}
FORBIDDEN_CALLS = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load", "np.load"),
    *("torch.hub.load", "torch.jit.load", "torch.package.PackageImporter", "pd.read_pickle", "runpy.run_path"),
}


def test_no_line_of_the_package_or_the_examples_can_run_what_a_file_says():
    files = [
        path for folder in (Path(bert4rec_hf.__file__).parent, ROOT / "examples") for path in folder.rglob("*.py")
    ]
    assert len(files) > 30
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            where = f"{path}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
                assert not {name.partition(".")[0] for name in names} & FORBIDDEN_MODULES, where
            if isinstance(node, ast.Call):
                name, keywords = ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}
                assert name not in FORBIDDEN_CALLS, where
                assert name != "torch.load" or keywords.get("weights_only") == "True", where
                assert name != "importlib.import_module" or path.name in ("__init__.py", "__main__.py"), where
                assert not {"allow_pickle", "shell"} & set(keywords), where
                # The page and the handler run where the package is not, with a model that their owner has named.
                is_alone = path.parts[-2:] in (("demo", "app.py"), ("hub", "handler.py"))
                assert keywords.get("trust_remote_code", "False") == "False" or is_alone, where


def test_the_catalogue_is_as_long_as_promised(says):
    parts = (BAD_DATA, ODD_IDS, ODD_DATA, BAD_CHECKPOINTS, BAD_ARGUMENTS, BAD_CALLS, ODD_CALLS)
    says(f"{sum(map(len, parts))} cases, {sum(map(len, (BAD_DATA, BAD_CHECKPOINTS, BAD_ARGUMENTS, BAD_CALLS)))} bad")
    assert sum(map(len, parts)) >= 250
