# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
from collections import Counter, defaultdict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import make
from hypothesis import given, settings
from hypothesis import strategies as st

from bert4rec_hf import fit_processor
from bert4rec_hf.evaluation.baselines import fit_baselines, item_popularity, with_shuffled_histories


EVENTS = [(user, item) for user, items in enumerate(("aabcb", "abcca", "aacbc", "bc")) for item in items]
OWN = "own most frequent, then popular"
NAMES = ["most popular", "popular in the last 30 days", "own most frequent", OWN, "Markov chain"]


def test_by_hand():
    interactions, split = make(EVENTS)
    processor = fit_processor(interactions, split)
    train = split.rows(interactions)["train"]  # aab abc aac bc
    baselines = fit_baselines(interactions, processor, train)
    assert list(baselines) == NAMES
    histories = processor([["b", "c", "c"], ["a"], []])["input_ids"]
    lists = {name: processor.decode(recommend(histories, k=3).item_ids) for name, recommend in baselines.items()}
    assert lists["most popular"] == [["a", "b", "c"]] * 3  # 5, 3, 3: a tie goes to the lower id
    assert lists["own most frequent"] == [["c", "b", "a"], ["a", "b", "c"], ["a", "b", "c"]]
    # after a: a a, b b, c; after b: c c; after c nothing, so the most popular
    assert lists["Markov chain"] == [["a", "b", "c"], ["a", "b", "c"], ["a", "b", "c"]]
    after_b = baselines["Markov chain"](processor([["a", "b"]])["input_ids"], k=3).item_ids
    assert processor.decode(after_b) == [["c", "a", "b"]]
    unseen = baselines["own most frequent"](histories[:1], k=1, exclude_seen=True).item_ids
    assert processor.decode(unseen) == [["a"]]


def test_popularity_of_users_counts_each_once():
    interactions, split = make(EVENTS)
    processor = fit_processor(interactions, split)
    rows = split.rows(interactions)["train"]
    assert item_popularity(interactions, processor, rows)[3:].tolist() == [5, 3, 3]
    assert item_popularity(interactions, processor, rows, of_users=True)[3:].tolist() == [3, 3, 3]


def test_recent_popularity_looks_at_the_last_days_of_training():
    interactions, split = make(EVENTS)
    processor = fit_processor(interactions, split)
    train = split.rows(interactions)["train"]
    interactions.day[np.flatnonzero(train)[:-2]] -= 10  # only "b" and "c" of the last user are recent
    recommend = fit_baselines(interactions, processor, train, 5)["popular in the last 5 days"]
    assert processor.decode(recommend(torch.tensor([[3]]), k=3).item_ids) == [["b", "c", "a"]]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=8), min_size=1, max_size=6),
    st.lists(st.sampled_from("abcdefg"), max_size=6),
)
def test_they_are_what_counting_by_hand_gives(users, history):
    interactions, split = make([(user, item) for user, items in enumerate(users) for item in items], "none")
    processor = fit_processor(interactions, split)
    history = [item for item in history if item in processor.vocabulary["item_ids"]]
    popular = Counter(item for items in users for item in items)
    own, follows = Counter(history), defaultdict(Counter)
    for items in users:
        for item, following in zip(items, items[1:]):
            follows[item][following] += 1
    following = follows[history[-1]] if history else {}
    expected = {
        "most popular": lambda item: (-popular[item], item),
        "own most frequent": lambda item: (-own[item], 0 if own[item] else -popular[item], item),
        OWN: lambda item: (-own[item], -popular[item], item),
        "Markov chain": lambda item: (-following.get(item, 0), -popular[item], item),
    }
    baselines = fit_baselines(interactions, processor, split.rows(interactions)["train"])
    inputs = processor([history, ["a"] * 7] if "a" in popular else [history])  # padded, and alone
    for name, key in expected.items():
        ranked = baselines[name](**inputs, k=len(popular)).item_ids[:1]
        assert processor.decode(ranked)[0] == sorted(popular, key=key)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_but_the_given_rows_is_looked_at(interactions, fitted, name):
    processor, split = fitted
    rows = split.rows(interactions)["train"]
    histories = processor([processor.vocabulary["item_ids"][:4], []])["input_ids"]
    before = fit_baselines(interactions, processor, rows)[name](histories, k=20).item_ids
    item, day = interactions.item.copy(), interactions.day.copy()
    try:
        interactions.item[~rows] = interactions.item[~rows][::-1]
        interactions.day[~rows] += 1000
        assert fit_baselines(interactions, processor, rows)[name](histories, k=20).item_ids.equal(before)
    finally:
        interactions.item[:], interactions.day[:] = item, day


@given(st.lists(st.lists(st.integers(3, 30), max_size=6), min_size=1, max_size=5), st.booleans())
def test_shuffled_histories_have_the_same_items_in_another_order(histories, left):
    width = max(map(len, histories)) + 2
    ids = torch.zeros(len(histories), width, dtype=torch.long)
    for row, history in enumerate(histories):
        ids[row, width - len(history) :] = torch.tensor(history, dtype=torch.long)
    ids = ids if left else ids.flip(1)
    seen = []
    model = SimpleNamespace(
        config=SimpleNamespace(pad_token_id=0),
        **{"device": "cpu", "training": False, "eval": None, "train": None},
        recommend=lambda input_ids, attention_mask, **kwargs: seen.append((input_ids, kwargs)),
    )
    for mask in (None, (ids != 0).long()):
        with_shuffled_histories(model)(input_ids=ids, attention_mask=mask, k=3, exclude_seen=True)
    (first, settings), (second, _) = seen
    assert (first == second).all() and settings == {"k": 3, "exclude_seen": True}
    assert ((first == 0) == (ids == 0)).all()
    assert [sorted(row) for row in first.tolist()] == [sorted(row) for row in ids.tolist()]
    if any(len(set(history)) > 4 for history in histories):
        long = torch.arange(3, 203)[None]
        with_shuffled_histories(model)(input_ids=long)
        assert (seen[-1][0] != long).float().mean() > 0.9
