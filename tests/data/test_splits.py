# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
import datetime
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from helpers import SMALL
from hypothesis import given, settings
from hypothesis import strategies as st

from bert4rec_hf import DataArguments, DataError, Split, parse_windows
from bert4rec_hf.cli import train
from bert4rec_hf.data import splits
from bert4rec_hf.data.interactions import Interactions
from bert4rec_hf.data.splits import Window, k_core


def make_interactions(users, items=None, days=None):
    users = np.array(users, dtype=np.int32)
    items = np.arange(len(users), dtype=np.int32) if items is None else np.array(items, dtype=np.int32)
    days = np.zeros(len(users), dtype=np.int32) if days is None else np.array(days, dtype=np.int32)
    ids = (pa.array(np.arange(codes.max() + 1)) for codes in (users, items))
    return Interactions(DataArguments(), *ids, users, items, days)


def test_leave_one_out_holds_out_the_last_two_events_of_each_user():
    interactions = make_interactions([0, 0, 0, 0, 1, 1, 2, 2, 2, 3])
    rows = {name: mask.astype(int).tolist() for name, mask in Split("leave_one_out").rows(interactions).items()}
    assert rows["train"] == [1, 1, 0, 0, 1, 1, 1, 0, 0, 1]
    assert rows["validation"] == [0, 0, 1, 0, 0, 0, 0, 1, 0, 0]
    assert rows["test"] == [0, 0, 0, 1, 0, 0, 0, 0, 1, 0]


def test_some_users_validate_and_the_others_train_on_that_event():
    interactions = make_interactions([0] * 4 + [1] * 2 + [2] * 3 + [3] * 3 + [4] * 3)
    split = Split("leave_one_out", validation_users=2)
    rows = {name: mask.astype(int).tolist() for name, mask in split.rows(interactions).items()}
    assert rows["validation"] == [0, 0, 1, 0] + [0, 0] + [0, 0, 0] + [0, 1, 0] + [
        0,
        0,
        0,
    ]  # users 0 and 3 of 0, 2, 3, 4
    assert rows["train"] == [1, 1, 0, 0] + [1, 1] + [1, 1, 0] + [1, 0, 0] + [1, 1, 0]
    assert rows["test"] == Split("leave_one_out").rows(interactions)["test"].astype(int).tolist()
    history, _ = split.apply(interactions).history_and_targets("test")
    assert history.tolist() == [not test for test in rows["test"]]
    for everyone in (4, 9):
        everyone = Split("leave_one_out", validation_users=everyone).rows(interactions)
        assert (everyone["validation"] == Split("leave_one_out").rows(interactions)["validation"]).all()
    assert str(split) == "leave_one_out, 2 validation users"


def test_history_ends_where_the_targets_begin():
    interactions, split = make_interactions([0] * 5), Split("leave_one_out")
    history, targets = split.apply(interactions).history_and_targets("validation")
    assert history.tolist() == [1, 1, 1, 0, 0] and targets.tolist() == [0, 0, 0, 1, 0]
    history, targets = split.apply(interactions).history_and_targets("test")
    assert history.tolist() == [1, 1, 1, 1, 0] and targets.tolist() == [0, 0, 0, 0, 1]


def test_temporal_split_cuts_at_midnight_before_the_day():
    days = [(np.datetime64(day) - np.datetime64("1970-01-01")).astype(int) for day in
            ("2022-03-24", "2022-03-25", "2022-03-31", "2022-04-01")]  # fmt: skip
    rows = Split("temporal", "2022-04-01", validation_days=7).rows(make_interactions([0] * 4, days=days))
    assert rows["train"].tolist() == [1, 0, 0, 0]
    assert rows["validation"].tolist() == [0, 1, 1, 0]
    assert rows["test"].tolist() == [0, 0, 0, 1]


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), min_size=1, max_size=60),
    st.sampled_from(["none", "leave_one_out", "temporal"]),
    st.integers(0, 3),
)
def test_every_row_is_in_one_part_and_nothing_trains_after_what_it_is_tested_on(rows, name, validation):
    rows = sorted(rows)
    split = Split(name, "1970-01-06", validation, validation)
    interactions = make_interactions([user for user, _ in rows], days=[day for _, day in rows])
    try:
        parts = split.rows(interactions)
    except DataError:
        assert name == "temporal"
        return
    assert (sum(mask.astype(int) for mask in parts.values()) == 1).all()
    for user in set(interactions.user):
        places = [
            np.flatnonzero(parts[part] & (interactions.user == user)) for part in ("train", "validation", "test")
        ]
        joined = np.concatenate(places)
        assert (np.diff(joined) > 0).all()


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.booleans()), min_size=1, max_size=40),
    st.integers(0, 4),
)
def test_the_k_core_is_what_leaving_out_one_by_one_comes_to(rows, least):
    interactions = make_interactions([user for user, _, _ in rows], [item for _, item, _ in rows])
    train = np.array([trains for _, _, trains in rows])
    left = [(user, item) for user, item, trains in rows if trains]
    while least > 1:
        few = [row for row in left if min(sum(row[side] == other[side] for other in left) for side in (0, 1)) < least]
        if not few:
            break
        left.remove(few[0])
    try:
        users, items = k_core(interactions, train, least)
    except DataError:
        assert least > 1 and not left
        return
    kept = [(user, item) for user, item, trains in rows if trains and users[user] and items[item]]
    assert sorted(kept) == sorted(left)


@settings(deadline=None)
@given(
    st.dates(datetime.date(1800, 1, 1), datetime.date(2500, 1, 1)),
    st.lists(st.tuples(st.integers(1, 60), st.sampled_from(["", "D", "W", "M"])), min_size=1, max_size=5),
    st.lists(st.integers(-99, 3000), min_size=1, max_size=20),
)
def test_windows_divide_the_days_from_the_cut_off_on(cutoff, lengths, days):
    split = Split("temporal", cutoff.isoformat())
    windows = parse_windows(",".join(f"{number}{unit}" for number, unit in lengths), split)
    assert windows[0].first == split.cutoff_day() and len(windows) == len(lengths)
    assert all(window.first < window.end for window in windows)
    assert all(window.end == later.first for window, later in zip(windows, windows[1:]))
    days = sorted(split.cutoff_day() + day for day in days)
    interactions = make_interactions([0] * len(days), days=days)
    inside = sum(window.rows(interactions).astype(int) for window in windows)
    assert inside.tolist() == [windows[0].first <= day < windows[-1].end for day in days]


TIMES = [0, 0, 1, 4, 4, 5, 0, 9, 3, 4, 6]  # of three users: 5 of the 11 rows before day 4, 8 before day 5, 9 before 6
USERS = [0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("quantile, day", [("q0.4", 4), ("q.45", 4), ("q0.5", 5), ("q0.8", 6), ("q0.9", 9)])
def test_a_cut_off_is_the_first_day_before_which_a_share_of_the_rows_is(quantile, day):
    interactions = make_interactions(USERS, days=TIMES)
    split = Split("temporal", quantile)
    date = str(np.datetime64(day, "D"))
    assert split.of(interactions) == Split("temporal", date) and split.of(interactions).of(None) == split.of(
        interactions
    )
    for name, rows in Split("temporal", date).rows(interactions).items():
        assert (split.rows(interactions)[name] == rows).all() and (split.apply(interactions).rows[name] == rows).all()


@pytest.mark.parametrize(
    "targets, test, history",
    [
        ("all", [3, 4, 5, 7, 9, 10], [0, 1, 2, 6, 8]),
        ("first", [3, 7, 9], [0, 1, 2, 6, 8]),
        ("last", [5, 7, 10], [0, 1, 2, 3, 4, 6, 8, 9]),
    ],
)
def test_the_history_goes_up_to_the_target(targets, test, history):
    log = Split("temporal", "q0.4", validation_days=1, targets=targets).apply(make_interactions(USERS, days=TIMES))
    rows = [np.flatnonzero(mask).tolist() for mask in log.history_and_targets("test")]
    assert rows == [history, test]
    # What is after the cut-off trains nobody, target or not
    assert np.flatnonzero(log.rows["train"]).tolist() == [0, 1, 2, 6]
    assert np.flatnonzero(log.rows["validation"]).tolist() == [8]


def test_one_target_of_each_user_and_a_window_of_days():
    split = Split("temporal", "1970-01-05", targets="last")
    log = split.apply(make_interactions(USERS, days=TIMES))
    history, targets = log.history_and_targets("test", Window(5, 7))
    assert np.flatnonzero(targets).tolist() == [5, 10] and np.flatnonzero(history).tolist() == [0, 1, 2, 3, 4, 8, 9]
    assert "targets" not in Split("temporal", "1970-01-05").settings()  # as in checkpoints without it
    assert Split(**split.settings()) == split


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), min_size=2), st.integers(1, 9))
def test_a_random_target_is_one_of_the_users_own_and_the_same_again(rows, cutoff):
    users, days = zip(*sorted([*rows, (0, 0), (1, 9)]))
    interactions = make_interactions(users, days=days)
    split = Split("temporal", str(np.datetime64(cutoff, "D")), targets="random")
    test = split.rows(interactions)["test"]
    has_targets = np.bincount(interactions.user[interactions.day >= cutoff], minlength=6) > 0
    assert (np.bincount(interactions.user[test], minlength=6) == has_targets).all()
    assert (interactions.day[test] >= cutoff).all() and (split.rows(interactions)["test"] == test).all()
    history, targets = split.apply(interactions).history_and_targets("test")
    for row in np.flatnonzero(targets):
        of_user = np.flatnonzero(interactions.user == interactions.user[row])
        assert np.flatnonzero(history & (interactions.user == interactions.user[row])).tolist() == [
            other for other in of_user if other < row
        ]


def test_k_core_looks_at_training_rows_until_nothing_changes():
    # Item 2 falls first, then user 1, whose second event it was.
    interactions = make_interactions([0, 0, 1, 1, 2, 2, 0], items=[0, 1, 0, 2, 0, 1, 2])
    train = np.array([True] * 6 + [False])
    users, items = k_core(interactions, train, 2)
    assert users.tolist() == [True, False, True] and items.tolist() == [True, True, False]
    assert all(mask.all() for mask in k_core(interactions, train, 0))


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: Split("temporal"), "--cutoff YYYY-MM-DD, or a quantile such as q0.9, not None"),
        (lambda: Split("temporal", "April"), "not 'April'"),
        (lambda: Split("random"), "split is 'random'"),
        (lambda: Split("temporal", "2022-04-01", -1), "validation_days is -1"),
        (lambda: Split("temporal", "q1.0"), "or a quantile such as q0.9, not 'q1.0'"),
        (lambda: Split("temporal", "q0.9").of(make_interactions([0, 1])), "the log's last day has the rest"),
        (
            lambda: Split("temporal", "q0.9", targets="best"),
            "targets is 'best'; it must be all, first, last or random",
        ),
        (lambda: Split(targets="last"), "only a temporal split has several"),
        (lambda: parse_windows("1M", Split("temporal", "2022-04-01", targets="last")), "windows have all targets"),
        (lambda: Split(validation_users=-1), "validation_users is -1"),
        (lambda: Split("temporal", "1960-01-01").apply(make_interactions([0])).fitted_rows, "runs from 1970-01-01"),
        (lambda: k_core(make_interactions([0, 1]), np.ones(2, dtype=bool), 2), "nobody is left"),
    ],
)
def test_a_split_that_cannot_be_made_is_refused(make, words):
    with pytest.raises(DataError, match=words):
        make()


APRIL = Split("temporal", "2022-04-01")


@pytest.mark.parametrize(
    "cutoff, text, ends",
    [
        ("2022-04-01", "1M,1M,1M", ["2022-05-01", "2022-06-01", "2022-07-01"]),
        ("2022-01-31", "1M,1M,1m", ["2022-02-28", "2022-03-31", "2022-04-30"]),  # no drift by short months
        ("2022-04-01", "14, 2W,10D", ["2022-04-15", "2022-04-29", "2022-05-09"]),
        ("2021-12-15", "1M,3D,1M", ["2022-01-15", "2022-01-18", "2022-02-18"]),
    ],
)
def test_windows_follow_each_other(cutoff, text, ends):
    windows = parse_windows(text, Split("temporal", cutoff))
    assert [str(np.datetime64(window.end, "D")) for window in windows] == ends
    starts = [cutoff, *ends[:-1]]
    assert [str(np.datetime64(window.first, "D")) for window in windows] == starts
    assert windows[0].name == f"{cutoff}..{np.datetime64(ends[0]) - 1}"


@pytest.mark.parametrize("text", ["", "1Y", "M", "0M", "1M,,1M", "-3", "1.5M", "a"])
def test_windows_that_are_none_are_refused(text):
    with pytest.raises(DataError, match="give lengths such as 1M,1M,1M"):
        parse_windows(text, APRIL)


def test_windows_need_a_cut_off():
    assert parse_windows(None, Split("leave_one_out")) is None
    with pytest.raises(DataError, match="windows need a temporal split, and this one is leave_one_out"):
        parse_windows("1M", Split("leave_one_out"))


def test_windows_divide_the_test_rows(interactions):
    windows = parse_windows("10D,10D,2M", APRIL)
    rows = np.stack([APRIL.apply(interactions).history_and_targets("test", window)[1] for window in windows])
    assert (rows.sum(0) == APRIL.rows(interactions)["test"]).all()
    frozen, updated = (
        APRIL.apply(interactions).history_and_targets("test", windows[1], update) for update in (False, True)
    )
    assert (frozen[1] == updated[1]).all() and (frozen[0] == APRIL.rows(interactions)["train"]).all()
    assert (updated[0] == (interactions.day < windows[1].first)).all() and updated[0].sum() > frozen[0].sum()


def test_training_rows_among_the_targets_are_named(interactions):
    targets = APRIL.rows(interactions)["test"]
    APRIL.apply(interactions).check_unseen(targets)
    Split("temporal", "2022-03-01").apply(interactions).check_unseen(targets)
    with pytest.raises(DataError) as error:
        Split("temporal", "2022-04-02").apply(interactions).check_unseen(targets)
    first = np.flatnonzero(targets & (interactions.day == APRIL.cutoff_day()))[0]
    user = interactions.user_ids[int(interactions.user[first])].as_py()
    assert f"user {user}, item" in str(error.value) and "2022-04-01;" in str(error.value)


def test_a_run_with_three_windows_splits_the_log_once(sample_dir, tmp_path, monkeypatch):
    counts = Counter()

    def counted(name, function):
        def wrapper(*args, **kwargs):
            counts[name] += 1
            return function(*args, **kwargs)

        return wrapper

    monkeypatch.setattr(splits, "k_core", counted("k_core", splits.k_core))
    monkeypatch.setattr(Split, "rows", counted("rows", Split.rows))
    arguments = ["--split", "temporal", "--cutoff", "2022-04-01", "--windows", "1W,1W,1W", "--min_events", "2"]
    arguments += ["--validation_days", "7", "--do_eval", "--max_steps", "2", *SMALL]
    train.main(["--data_dir", str(sample_dir), "--save_dir", str(tmp_path / "run"), *arguments])
    assert counts == {"k_core": 1, "rows": 1}


def test_a_split_is_applied_once_and_another_apart(interactions):
    log = APRIL.apply(interactions)
    assert log is Split("temporal", "2022-04-01").apply(interactions)
    assert log is not Split("temporal", "2022-04-02").apply(interactions)
    assert log.rows is log.rows and log.core is log.core
