# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
import numpy as np
import pyarrow as pa
import pytest
from helpers import make

from bert4rec_hf import DataArguments, Split, analyze, parse_windows, read_interactions
from bert4rec_hf.evaluation.reports import data_text


FILES = ("profile_data_file", "meta_data_file", "meta_data_plus_file")


def read(events):
    users, items, days = zip(*events)
    log = {"profile_id": users, "album_id": items, "log_time": [int(day.replace("-", "")) for day in days]}
    arguments = DataArguments(item_features=[], user_features=[], **dict.fromkeys(FILES, "none"))
    return read_interactions(arguments, pa.table(log))


EVENTS = [
    *((1, item, "2022-03-01") for item in "ab"),
    (1, "a", "2022-03-05"),
    (2, "a", "2022-03-31"),
    (1, "a", "2022-04-02"),
    (1, "c", "2022-04-02"),
    (2, "b", "2022-04-02"),
    (3, "c", "2022-04-30"),
    (3, "d", "2022-05-01"),
]


def test_by_hand():
    report = analyze(read(EVENTS), Split("temporal", "2022-04-01"))
    assert (report["events"], report["users"], report["items"]) == (9, 3, 4)
    assert (report["first_day"], report["last_day"]) == ("2022-03-01", "2022-05-01")
    assert report["events_per_user"]["median"] == 2 and report["events_per_user"]["max"] == 5
    assert report["events_per_item"]["mean"] == 9 / 4
    assert report["top_items"] == {"1%": 4 / 9, "10%": 4 / 9}
    assert report["repeat_share"] == pytest.approx(2 / 9)  # user 1 has a again, twice
    assert report["sessions"]["events"]["max"] == 2 and report["sessions"]["events"]["mean"] == 9 / 7
    gaps = [4, 28, 2, 1]  # user 1: 1, 5 March, 2 April; user 2: 31 March, 2 April; user 3: 30 April, 1 May
    assert report["sessions"]["days_to_the_next"]["mean"] == np.mean(gaps)
    march, april, may = report["months"]
    assert march == {"month": "2022-03", "events": 4, "users": 2, "items": 2, "repeat_share": 1 / 4}
    assert (april["new_items"], april["gone_items"], april["new_users"]) == pytest.approx((1 / 3, 0, 1 / 3))
    assert (april["events_on_new_items"], april["top_overlap"]) == (2 / 4, 1)
    assert april["drift"] == pytest.approx(divergence([3 / 4, 1 / 4, 0], [1 / 4, 1 / 4, 1 / 2]))
    assert (may["new_items"], may["gone_items"], may["drift"], may["new_users"]) == (1, 1, 1, 0)
    # Asked for: user 1 a, c; user 2 b; user 3 c, d. Training has a and b, and nothing of user 3.
    (target,) = report["targets"]
    assert target == {
        "name": "test",
        "targets": 5,
        "users": 3,
        "repeats": 1 / 5,
        "unknown_items": 3 / 5,
        "users_without_history": 1 / 3,
    }


def divergence(p, q):
    p, q = np.array(p), np.array(q)
    middle = (p + q) / 2
    return sum(x / 2 * np.log2(x / m) for part in (p, q) for x, m in zip(part, middle) if x)


def test_windows_and_splits_of_other_kinds():
    interactions = read(EVENTS)
    split = Split("temporal", "2022-04-01")
    targets = analyze(interactions, split, parse_windows("1M,1M,1M", split))["targets"]
    assert [target["targets"] for target in targets] == [4, 1, 0]
    assert targets[2]["repeats"] is None
    assert analyze(interactions, Split("none"))["targets"] == []
    assert analyze(interactions, Split("leave_one_out"))["targets"][0]["targets"] == 1


def test_one_event():
    report = analyze(read([(1, "a", "2022-03-01")]), Split("none"))
    assert report["sessions"]["days_to_the_next"] is None and len(report["months"]) == 1


def test_what_each_feature_covers():
    interactions, split = make(
        [(1, "a"), (1, "b"), (2, "a"), (3, "c"), (3, "c")],
        "none",
        profiles={"profile_id": [1, 2, 9], "likes": [["노래"], ["노래", "동화"], ["동화"]], "age": [7, None, 9]},
        items={"album_id": ["a", "b", "c"], "genre": ["동화", None, "영어"], "picture": [[1, 2], [0, 3], None]},
        item_features=["genre"],
        user_features=["likes", "age"],
        vector_features=["picture"],
        keep_duplicates=True,
    )
    report = analyze(interactions, split)
    assert report["features"] == [
        {"name": "genre", "of": "items", "values": 2, "items": 2, "users": 3, "events": 4},
        {"name": "picture", "of": "items", "values": 2, "items": 2, "users": 2, "events": 3},
        {"name": "likes", "of": "users", "values": 2, "items": 2, "users": 2, "events": 3},
        {"name": "age", "of": "users", "values": 2, "items": 2, "users": 1, "events": 2},
    ]
    text = data_text(report)
    assert "genre                    items         2 |    66.7%     100.0%    80.0%" in text
