# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Collaborative filtering to compare with."""

import numpy as np
import pytest
import torch
from helpers import make_model, random_log
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from bert4rec_hf import DataError, RankingEvaluator, Split, encode_evaluation, evaluate, fit_processor
from bert4rec_hf.evaluation import rivals
from bert4rec_hf.evaluation.reports import evaluation_text
from bert4rec_hf.evaluation.rivals import co_occurrences, ease, fit_rivals, item_knn


USER_ITEMS = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 0], [1, 0, 0, 1], [1, 1, 0, 1]], dtype=np.float32)


@given(st.integers(0, 99), st.integers(1, 9))
def test_items_that_users_have_together_are_counted(seed, at_once):
    user_items = np.random.default_rng(seed).random((7, 6)) < 0.4
    counts = co_occurrences(*user_items.nonzero(), 6, at_once)
    assert counts.tolist() == (user_items.T.astype(int) @ user_items).tolist()


def test_item_knn_by_hand():
    counts = torch.from_numpy(USER_ITEMS.T @ USER_ITEMS)
    cosine = np.array([[0, 3 / 4, 1 / 8**0.5, 2 / 8**0.5], [3 / 4, 0, 2 / 8**0.5, 1 / 8**0.5]])
    assert_close(item_knn(counts, 9, 0)[:2], torch.from_numpy(cosine).float())
    assert item_knn(counts, 9, 2)[0, 1] == pytest.approx(3 / (4 + 2))
    nearest = item_knn(counts, 1, 0)  # each item's most similar one, in its column
    assert (nearest > 0).sum(0).tolist() == [1, 1, 1, 1] and nearest[:, 2].argmax() == 1


def test_ease_solves_each_items_regression():
    """Column by column: ridge regression of an item on the others, as its definition says."""
    weights = ease(torch.from_numpy(USER_ITEMS.T @ USER_ITEMS), l2=0.7)
    for item in range(4):
        others = [other for other in range(4) if other != item]
        x, y = USER_ITEMS[:, others], USER_ITEMS[:, item]
        expected = np.linalg.solve(x.T @ x + 0.7 * np.eye(3), x.T @ y)
        assert_close(weights[others, item], torch.from_numpy(expected).float(), atol=1e-5, rtol=1e-4)
        assert weights[item, item] == 0


def test_als_solves_the_factors_of_a_history():
    """As those of a user who was trained on: one more step from the items' factors."""
    pytest.importorskip("implicit")
    users, tokens = USER_ITEMS.nonzero()
    score = rivals._als(users, tokens, 4, factors=2, regularization=0.1, alpha=3)
    scores = score(users, tokens, 5)
    assert scores.shape == (5, 4) and scores.isfinite().all()
    assert_close(score(users[users == 1] - 1, tokens[users == 1], 1)[0], scores[1], atol=1e-5, rtol=1e-4)
    assert (scores.numpy()[USER_ITEMS > 0].min() > scores.numpy()[USER_ITEMS == 0].mean()).all()


@pytest.fixture(scope="module")
def log():
    interactions, _, _ = random_log()
    split = Split("leave_one_out")
    return interactions, fit_processor(interactions, split), split


@pytest.mark.parametrize("exclude_seen", [False, True])
def test_the_best_settings_on_the_validation_rows_are_kept(log, exclude_seen):
    interactions, processor, split = log
    recommenders, told = fit_rivals(interactions, processor, split, 5, exclude_seen, names=["ItemKNN", "EASE"])
    for name, recommend in recommenders.items():
        for subset in ("validation", "test"):
            rows = encode_evaluation(interactions, processor, split, subset)
            evaluator = RankingEvaluator(rows, processor, [5], exclude_seen)
            ranked = evaluator.rank(recommend)
            assert ranked.min() >= 3
            if exclude_seen:
                assert not any(set(items) & set(seen) for items, seen in zip(ranked.tolist(), rows["input_ids"]))
            if subset == "validation":
                assert evaluator.metrics(ranked)["ndcg@5"] == pytest.approx(told[name]["validation"])
        assert told[name]["tried"] == np.prod([len(values) for values in rivals.GRIDS[name].values()])


def test_what_cannot_be_fitted_is_left_out_with_the_reason(log, monkeypatch):
    interactions, processor, split = log
    monkeypatch.setattr(rivals, "MAX_ITEMS", 10)
    monkeypatch.setattr(rivals, "find_spec", lambda name: None)
    recommenders, told = fit_rivals(interactions, processor, split)
    assert not recommenders and told["EASE"] == told["ItemKNN"] == {"left_out": "the catalogue has more than 10 items"}
    assert told["ALS"] == {"left_out": "it needs: pip install implicit"}
    with pytest.raises(DataError, match="rivals are tuned on validation rows; .*--validation_days"):
        fit_rivals(interactions, processor, Split("temporal", "2022-04-01"))


def test_the_report_names_the_rivals_and_what_they_cost(log):
    interactions, processor, split = log
    model = make_model(processor, initializer_range=1.0).eval()
    report = evaluate(
        *(model, processor, interactions, split), k=[5], progress=False, rivals=True, shuffle_histories=True
    ).report
    results = report["windows"][0]["groups"]["all users"]["results"]
    assert {"ItemKNN", "EASE", "BERT4Rec, histories shuffled"} <= {*results}
    text = evaluation_text([report])
    assert "of 5 settings in" in text and "EASE has l2" in text and "Against rivals and simple rules" in text
    assert "LOSES to" in text or "may be no better than" in text  # of random weights
    assert f"{report['windows'][0]['tied_targets']:.1%} of the targets share theirs" in text
