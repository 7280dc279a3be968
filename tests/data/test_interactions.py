# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
import csv
import datetime
import io
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from datasets import Dataset
from helpers import make
from hypothesis import given, settings
from hypothesis import strategies as st

from bert4rec_hf import DataArguments, DataError, fit_processor, read_interactions
from bert4rec_hf.data.interactions import Interactions, _order


LOG = "profile_id,log_time,album_id\n"
LOG_ALONE = {
    "item_features": [],
    "user_features": [],
    "profile_data_file": "none",
    "meta_data_file": "none",
    "meta_data_plus_file": "none",
}


def write(folder, history=LOG + "1,20220301000000,10\n", profiles=None, items=None, keywords=None):
    files = {
        "history_data.csv": history,
        "profile_data.csv": profiles,
        "meta_data.csv": items,
        "meta_data_plus.csv": keywords,
    }
    for name, text in files.items():
        if text is not None:
            (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())


def read(folder, **kwargs):
    """Reads the files that are there, with no features but those asked for."""
    names = {
        "profile_data_file": "profile_data.csv",
        "meta_data_file": "meta_data.csv",
        "meta_data_plus_file": "meta_data_plus.csv",
    }
    defaults = {name: file if (folder / file).exists() else "none" for name, file in names.items()}
    defaults |= {"item_features": [], "user_features": []}
    return read_interactions(DataArguments(data_dir=str(folder), **(defaults | kwargs)))


def events(interactions):
    """The log as raw ids, in its order."""
    users = interactions.user_ids.take(pa.array(interactions.user)).to_pylist()
    items = interactions.item_ids.take(pa.array(interactions.item)).to_pylist()
    return list(zip(users, items))


def feature(interactions, name):
    """Item feature values by raw item id."""
    codes, values = interactions.item_features[name]
    found = {}
    for code, value in zip(codes.tolist(), values.to_pylist()):
        found.setdefault(interactions.item_ids[code].as_py(), []).append(value)
    return found


def test_log_is_ordered_by_user_time_and_place_in_the_file(tmp_path):
    write(tmp_path, LOG + "2,20220301000000,10\n1,20220302000000,11\n1,20220301000099,12\n1,20220301000099,10\n")
    assert events(read(tmp_path)) == [(1, 12), (1, 10), (1, 11), (2, 10)]


def test_times_that_no_clock_shows_keep_their_order(tmp_path):
    write(tmp_path, LOG + "1,20220427155699,10\n1,20220427155668,11\n1,20220427155700,12\n")
    interactions = read(tmp_path)
    assert [item for _, item in events(interactions)] == [11, 10, 12]
    assert set(interactions.day) == {(datetime.date(2022, 4, 27) - datetime.date(1970, 1, 1)).days}


def test_exact_duplicates_go_and_rewatching_stays(tmp_path):
    rows = "1,20220301000000,10\n" * 3 + "1,20220301000000,11\n" + "1,20220301000000,10\n" + "1,20220301000001,10\n"
    write(tmp_path, LOG + rows)
    interactions = read(tmp_path)
    assert events(interactions) == [(1, 10), (1, 11), (1, 10)]
    assert interactions.counts["exact duplicate rows dropped"] == 3
    assert "3  exact duplicate rows dropped" in interactions.summary()


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_cleaning_is_what_a_loop_would_do(rows):
    history = pa.table(
        {name: [row[i] for row in rows] for i, name in enumerate(("profile_id", "log_time", "album_id"))}
    )
    history = history.set_column(1, "log_time", pa.array([20220301000000 + row[1] for row in rows]))
    arguments = DataArguments(**LOG_ALONE)
    expected = sorted(dict.fromkeys(rows), key=lambda row: row[:2])  # stable: the first of duplicates, then file order
    assert events(read_interactions(arguments, history)) == [(user, item) for user, _, item in expected]


EMPTY = {"", "NULL", "null", "NaN", "nan", "None"}  # what the reader takes for no id


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=1, max_size=6))
def test_any_text_is_an_id_and_comes_back_as_it_was(ids):
    """But for white space around it, and numbers, which come back as numbers."""
    ids = [item for item in ids if item not in EMPTY and item == item.strip()] or ["x"]
    rows = io.StringIO()
    csv.writer(rows).writerows([item, 20220301000000 + place, item] for place, item in enumerate(ids))
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), LOG + rows.getvalue())
        interactions = read(Path(folder))
    assert {str(item) for item in interactions.item_ids.to_pylist()} == set(ids)
    assert interactions.item_ids.equals(interactions.user_ids) and len(interactions) == len(ids)


def test_repeats_are_counted_and_collapsed_on_request(tmp_path):
    write(tmp_path, LOG + "".join(f"1,2022030100000{n},{item}\n" for n, item in enumerate([10, 10, 10, 11, 10])))
    kept = read(tmp_path)
    assert len(kept) == 5 and kept.counts["rows repeating the row before, kept"] == 2
    assert events(read(tmp_path, collapse_repeats=True)) == [(1, 10), (1, 11), (1, 10)]


@pytest.mark.parametrize(
    "written, ids",
    [
        (["12", "7"], [7, 12]),
        (["12.0", "7.0"], [7, 12]),
        (["007", "12"], ["007", "12"]),
        (["A1", "12"], ["12", "A1"]),
        (["앨범1", "앨범 2"], ["앨범 2", "앨범1"]),
        ([" 12", "7"], [7, 12]),
        (["12345678901234567890", "7"], ["12345678901234567890", "7"]),
    ],
)
def test_ids_keep_their_type(tmp_path, written, ids):
    write(tmp_path, LOG + "".join(f"1,20220301000000,{item}\n" for item in written))
    assert read(tmp_path).item_ids.to_pylist() == ids


def test_side_tables_join_ids_of_another_type(tmp_path):
    write(
        tmp_path,
        LOG + "1,20220301000000,10\n1,20220301000001,11\n",
        items="album_id,title,genre_mid\n10,열,동화\nX9,아무개,동화\n11.0,열하나,노래\n",
    )
    interactions = read(tmp_path, item_features=["genre_mid"])
    assert interactions.titles.to_pylist() == ["열", "열하나"]  # "11.0" is 11, also beside "X9"
    write(tmp_path, LOG + "A,20220301000000,10\nA,20220301000001,X9\n")
    assert read(tmp_path).titles.to_pylist() == ["열", "아무개"]


def test_an_item_in_several_rows_takes_the_first_value_that_is_there(tmp_path):
    write(
        tmp_path,
        LOG + "1,20220301000000,10\n1,20220301000001,11\n",
        items="album_id,title,country\n10,,\n10,열,한국\n10,또 열,일본\n12,,한국\n",
    )
    interactions = read(tmp_path, item_features=["country"])
    assert feature(interactions, "country") == {10: ["한국"]}
    assert interactions.titles.to_pylist() == ["열", None]
    assert interactions.counts["items with events that no item table knows"] == 1


def test_keywords_are_filtered_by_weight_and_come_heaviest_first(tmp_path):
    write(
        tmp_path,
        items="album_id,title\n10,열\n",
        keywords="album_id,keyword_type,keyword_name,keyword_value\n10,t,가,3\n10,t,나,2.9\n10,t,다,9\n10,t,라,\n",
    )
    interactions = read(tmp_path, item_features=["keyword_name"])
    assert feature(interactions, "keyword_name") == {10: ["다", "가"]}
    interactions = read(tmp_path, item_features=["keyword_name"], keyword_min_value=0)
    assert feature(interactions, "keyword_name") == {10: ["다", "가", "나"]}


def test_list_columns_are_features_of_several_values():
    history = pa.table({"profile_id": [1], "log_time": [20220301000000], "album_id": ["a"]})
    items = pa.table({"album_id": ["b", "a"], "tags": [["x"], ["y", "z"]]})
    arguments = DataArguments(
        item_features=["tags"], user_features=[], profile_data_file="none", meta_data_plus_file="none"
    )
    assert feature(read_interactions(arguments, history, items=items), "tags") == {"a": ["y", "z"]}


def test_users_without_events_keep_their_profile(tmp_path):
    write(tmp_path, profiles="profile_id,sex,age\n5,F,3\n1,M,7\n,M,2\n5,F,4\n")
    interactions = read(tmp_path, user_features=["sex", "age"])
    assert interactions.user_ids.to_pylist() == [1, 5]
    assert interactions.user_features["age"].to_pylist() == ["7", "3"]
    assert interactions.counts["profiles without events"] == 1
    assert events(interactions) == [(1, 10)]


def test_a_byte_order_mark_is_no_part_of_a_column_name(tmp_path):
    write(tmp_path, b"\xef\xbb\xbf" + (LOG + "1,20220301000000,10\n").encode())
    assert events(read(tmp_path)) == [(1, 10)]


def test_quoted_line_breaks_are_read(tmp_path):
    write(tmp_path, items='album_id,title\n10,"두\n줄"\n')
    assert read(tmp_path).titles.to_pylist() == ["두\n줄"]


def test_csv_parquet_folder_glob_and_dataset_read_alike(tmp_path):
    table = {
        "profile_id": [2, 1, 1],
        "log_time": [20220301000000, 20220301000001, 20220301000000],
        "album_id": [4, 5, 6],
    }
    expected = [(1, 6), (1, 5), (2, 4)]
    arguments = DataArguments(**LOG_ALONE)
    for part, rows in enumerate((slice(0, 1), slice(1, 3))):
        piece = pa.table({name: values[rows] for name, values in table.items()})
        pa.parquet.write_table(piece, tmp_path / f"log-{part}.parquet")
    for history in (str(tmp_path), str(tmp_path / "log-*.parquet"), Dataset.from_dict(table), pa.table(table)):
        assert events(read_interactions(arguments, history)) == expected
    write(tmp_path, "profile_id,log_time,album_id\n2,20220301000000,4\n1,20220301000001,5\n1,20220301000000,6\n")
    assert events(read_interactions(arguments, str(tmp_path / "history_data.csv"))) == expected


def test_times_within_a_second_keep_their_order():
    times = pa.array([900, 500, 100], pa.timestamp("ms"))
    for column in (times, pa.array([0.9, 0.5, 0.1])):
        history = pa.table({"profile_id": [1, 1, 1], "album_id": [5, 6, 5], "log_time": column})
        arguments = DataArguments(**LOG_ALONE)
        assert events(read_interactions(arguments, history)) == [(1, 5), (1, 6), (1, 5)]


def test_lines_that_a_stray_quote_swallows_are_counted(tmp_path):
    write(tmp_path, items='album_id,title\n10,열\n11,"둘\n12,셋\n13,넷"\n')
    counts = read(tmp_path).counts
    assert counts["lines of the item table that are no rows (line breaks in quotes, empty lines)"] == 2


def test_files_of_different_types_are_read_together(tmp_path):
    (tmp_path / "log").mkdir()
    times = [20220301000000]
    for part, item in enumerate((7, "X9")):
        table = pa.table({"profile_id": [1], "log_time": times, "album_id": [item]})
        pa.parquet.write_table(table, tmp_path / "log" / f"{part}.parquet")
    (tmp_path / "log" / "_SUCCESS").write_text("")
    assert events(read(tmp_path, history_data_file="log")) == [(1, "7"), (1, "X9")]


def test_other_columns_and_delimiters_by_argument(tmp_path):
    write(tmp_path, "user;item;ts\nu1;i1;1650000000\n")
    arguments = {"user_column": "user", "item_column": "item", "time_column": "ts", "delimiter": ";"}
    assert events(read(tmp_path, **arguments)) == [("u1", "i1")]


@pytest.mark.parametrize(
    "time", [20220415123456, 202204151234, 20220415, 1650000000, 1650000000000, 1650000000000000, 1650000000 * 10**9]
)
def test_days_of_every_way_to_write_a_time(tmp_path, time):
    write(tmp_path, LOG + f"1,{time},10\n")
    assert read(tmp_path).day[0] == (datetime.date(2022, 4, 15) - datetime.date(1970, 1, 1)).days


def test_timestamps_are_times(tmp_path):
    write(tmp_path, LOG + "1,2022-04-15 00:00:01,10\n1,2022-04-14 23:59:59,11\n")
    interactions = read(tmp_path)
    assert [item for _, item in events(interactions)] == [11, 10]
    assert interactions.day[1] - interactions.day[0] == 1


@pytest.mark.parametrize(
    "files, arguments, words",
    [
        ({"history": b""}, {}, r"history_data.csv: the file is empty"),
        ({"history": LOG}, {}, r"history_data.csv: there are no rows"),
        ({"history": "a,b\n1,2\n"}, {}, r"history_data.csv: there is no column 'profile_id', only a, b"),
        ({"history": "profile_id;log_time;album_id\n1;2;3\n"}, {}, r"delimiter does not seem to be ','"),
        ({"history": LOG.encode() + "1,20220301000000,가\n".encode("cp949")}, {}, r"history_data.csv: .*not UTF-8"),
        ({"history": ("\ufeff" + LOG).encode("utf-16-le")}, {}, r"history_data.csv: .*not UTF-8"),
        ({"history": LOG + "1,20220301000000,10\n1,어제,11\n"}, {}, r"history_data.csv, row 2: log_time is '어제'"),
        ({"history": LOG + "1,,10\n"}, {}, r"history_data.csv, row 1: log_time is empty"),
        ({"history": LOG + "1,20220301000000,10\n,20220301000000,10\n"}, {}, r"row 2: profile_id is empty \(1 such"),
        ({"history": LOG + "1,20220301000000,\n"}, {}, r"row 1: album_id is empty"),
        ({"history": LOG + "1,20220301000000,10\n1,2\n"}, {}, r"history_data.csv: .*[Ee]xpected 3 columns, got 2"),
        ({}, {"history_data_file": "absent.csv"}, r"absent.csv: there is no such file"),
        ({}, {"profile_data_file": "absent.csv"}, r"absent.csv: there is no such file"),
        (
            {"items": "album_id,title\n"},
            {"item_features": ["genre"]},
            r"item feature 'genre' is no column",
        ),
        ({"profiles": "profile_id,sex\n"}, {"user_features": ["age"]}, r"profile_data.csv: there is no column 'age'"),
        ({}, {"user_features": ["age"]}, r"user_features age need a profile table"),
        ({}, {"item_features": ["genre"]}, r"item_features genre need an item table"),
        (
            {"keywords": "album_id,keyword_name,keyword_value\n10,가,많이\n"},
            {"item_features": ["keyword_name"]},
            r"meta_data_plus.csv, row 1: keyword_value is '많이', not a number",
        ),
        ({"history": LOG + "1,2022-03-01,10\n1,noon,11\n"}, {}, r"row 2: log_time is 'noon'"),
        ({"history": LOG + "1,0,10\n1,20220301000000,11\n1,20220301000000,12\n"}, {}, r"row 1: log_time is 0, not"),
        (
            {"keywords": "album_id,keyword_name\n10,가\n"},
            {"item_features": ["keyword_name"]},
            r"no column 'keyword_value'",
        ),
        ({}, {"history_data_file": "none"}, r"there is no log"),
        ({}, {"delimiter": "::"}, r"delimiter is '::'"),
        ({}, {"keyword_max_length": 0}, r"keyword_max_length is 0"),
    ],
)
def test_bad_input_is_named_in_one_line(tmp_path, files, arguments, words):
    write(tmp_path, **files)
    with pytest.raises(DataError, match=words) as error:
        read(tmp_path, **arguments)
    assert "\n" not in str(error.value)


def test_the_made_up_service_is_read_with_all_its_dirt(interactions):
    counts = interactions.counts
    assert counts["rows read from the log"] == 6000
    assert counts["exact duplicate rows dropped"] == 120
    assert counts["events"] == len(interactions) == 5880
    assert counts["items with events that no item table knows"] > 0
    assert counts["profiles without events"] > 0
    assert len(interactions.user_ids) == 150


@given(data=st.data())
def test_rows_are_ordered_by_user_time_and_place(data):
    """Of any times, those too far apart for one key too."""
    num_rows = data.draw(st.integers(1, 30))
    users = data.draw(st.lists(st.integers(0, 4), min_size=num_rows, max_size=num_rows))
    near, far = st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1)
    times = data.draw(st.lists(data.draw(st.sampled_from([near, far])), min_size=num_rows, max_size=num_rows))
    rows = sorted(range(num_rows), key=lambda row: (users[row], times[row]))
    assert _order(np.array(users, np.int32), np.array(times, np.int64)).tolist() == rows


def test_the_summary_leaves_out_what_is_nothing_and_fits_15_lines(interactions):
    lines = interactions.summary().splitlines()
    assert len(lines) <= 15 and not any(line.split()[0] == "0" for line in lines)
    assert any("6,000  rows read from the log" in line for line in lines)
    (of_features,) = [line for line in lines if "items with events without" in line]
    named = {name: interactions.counts[f"items with events without {name}"] for name in ("genre_mid", "country")}
    assert all(f"{name} ({count:,})" in of_features for name, count in named.items())


@pytest.mark.parametrize("steps", [1, 15, 16, 40])
def test_a_long_summary_keeps_the_greatest_counts(steps):
    interactions = Interactions(DataArguments(), *(pa.array([1]),) * 2, *(np.zeros(1, np.int32),) * 3)
    interactions.counts = {f"step {n}": n + 1 for n in range(steps)} | {"nothing": 0}
    lines = interactions.summary().splitlines()
    assert len(lines) == min(steps, 15) and lines[-1].endswith(f"step {steps - 1}" if steps < 16 else "smaller counts")
    assert steps < 16 or f"and {steps - 14} smaller counts" in lines[-1]
    assert f"{steps:>12,}  step {steps - 1}" in lines


def test_a_log_of_some_rows_is_split_anew():
    interactions, split = make([(1, "a"), (1, "b"), (2, "c"), (2, "a"), (2, "b")], "none")
    assert split.apply(interactions).fitted_rows.sum() == 5
    part = interactions.of_rows(interactions.item != 2)
    assert len(part) == len(part.tied) == 4 and len(interactions) == 5
    assert split.apply(part).fitted_rows.shape == (4,)
    assert fit_processor(part, split).vocabulary["item_ids"] == ["a", "b"]
