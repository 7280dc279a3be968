# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert4rec_hf import DataArguments, DataError, Interactions, Split
from bert4rec_hf.splits import history_and_targets, k_core


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


def test_history_ends_where_the_targets_begin():
    rows = Split("leave_one_out").rows(make_interactions([0] * 5))
    history, targets = history_and_targets(rows, "validation")
    assert history.tolist() == [1, 1, 1, 0, 0] and targets.tolist() == [0, 0, 0, 1, 0]
    history, targets = history_and_targets(rows, "test")
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
def test_every_row_is_in_one_part_and_nothing_trains_after_what_it_is_tested_on(rows, name, validation_days):
    rows = sorted(rows)
    split = Split(name, "1970-01-06", validation_days)
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
        (lambda: Split("temporal"), "--cutoff YYYY-MM-DD, not None"),
        (lambda: Split("temporal", "April"), "not 'April'"),
        (lambda: Split("random"), "split is 'random'"),
        (lambda: Split("temporal", "2022-04-01", -1), "validation_days is -1"),
        (lambda: Split("temporal", "1960-01-01").rows(make_interactions([0])), "the log runs from 1970-01-01"),
        (lambda: k_core(make_interactions([0, 1]), np.ones(2, dtype=bool), 2), "nobody is left"),
    ],
)
def test_a_split_that_cannot_be_made_is_refused(make, words):
    with pytest.raises(DataError, match=words):
        make()
