# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
import doctest
import math
import socket
import time
from pathlib import Path

import evaluate
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert4rec_hf.metrics.ranking import ranking
from bert4rec_hf.metrics.ranking.ranking import Ranking, ranking_scores


METRIC_DIR = Path(ranking.__file__).parent
METRICS = ("recall", "ndcg", "hit_rate", "mrr", "map", "score")


def assert_same(scores, expected):
    assert scores.keys() == expected.keys()
    for name in scores:
        np.testing.assert_allclose(scores[name], expected[name], rtol=0, atol=1e-12, err_msg=name)


def scores_by_definition(ranked, relevant, k):
    """The definitions for one user, written as loops."""
    relevant = {item for item in relevant if item >= 0}
    if not relevant:
        return dict.fromkeys((f"{metric}@{k}" for metric in METRICS), math.nan)
    hit_ranks, seen = [], set()
    for rank, item in enumerate(ranked[:k], start=1):
        if item in relevant and item not in seen:
            hit_ranks.append(rank)
        seen.add(item)
    num_ideal = min(k, len(relevant))
    recall = len(hit_ranks) / num_ideal
    ideal_gain = sum(1 / math.log2(rank + 1) for rank in range(1, num_ideal + 1))
    ndcg = sum(1 / math.log2(rank + 1) for rank in hit_ranks) / ideal_gain
    return {
        f"recall@{k}": recall,
        f"ndcg@{k}": ndcg,
        f"hit_rate@{k}": float(bool(hit_ranks)),
        f"mrr@{k}": 1 / hit_ranks[0] if hit_ranks else 0.0,
        f"map@{k}": sum(count / rank for count, rank in enumerate(hit_ranks, start=1)) / num_ideal,
        f"score@{k}": 0.75 * recall + 0.25 * ndcg,
    }


# --- By hand ---


def test_every_metric_equals_its_value_computed_by_hand():
    # Hits at ranks 2 and 4; the third relevant item is not ranked.
    scores = ranking_scores([[10, 20, 30, 40]], [[40, 99, 20]], k=[1, 2, 4])
    ndcg_at_2 = (1 / math.log2(3)) / (1 + 1 / math.log2(3))
    ndcg_at_4 = (1 / math.log2(3) + 1 / math.log2(5)) / (1 + 1 / math.log2(3) + 1 / 2)
    expected = {
        "recall@1": [0.0],
        "ndcg@1": [0.0],
        "hit_rate@1": [0.0],
        "mrr@1": [0.0],
        "map@1": [0.0],
        "score@1": [0.0],
        "recall@2": [1 / 2],
        "ndcg@2": [ndcg_at_2],
        "hit_rate@2": [1.0],
        "mrr@2": [1 / 2],
        "map@2": [(1 / 2) / 2],
        "score@2": [0.75 / 2 + 0.25 * ndcg_at_2],
        "recall@4": [2 / 3],
        "ndcg@4": [ndcg_at_4],
        "hit_rate@4": [1.0],
        "mrr@4": [1 / 2],
        "map@4": [(1 / 2 + 2 / 4) / 3],
        "score@4": [0.75 * 2 / 3 + 0.25 * ndcg_at_4],
    }
    assert_same(scores, expected)


def test_recall_is_capped_by_k():
    scores = ranking_scores([[1, 2, 3]], [[1, 2, 3, 4, 5, 6]], k=[1, 3])
    assert scores["recall@1"] == scores["recall@3"] == 1


def test_an_item_beyond_k_does_not_count():
    scores = ranking_scores([[7, 8, 1]], [[1]], k=[2, 3])
    assert all(scores[f"{metric}@2"] == 0 for metric in METRICS)
    assert all(scores[f"{metric}@3"] > 0 for metric in METRICS)


def test_an_item_relevant_to_one_user_is_not_relevant_to_another():
    scores = ranking_scores([[1, 2], [1, 2]], [[1], [3]], k=2)
    assert scores["hit_rate@2"].tolist() == [1, 0]


def test_a_repeated_prediction_counts_at_its_first_rank_only():
    repeated = ranking_scores([[1, 1, 2, 2]], [[1, 2, 3]], k=[2, 4])
    assert_same(repeated, ranking_scores([[1, 8, 2, 9]], [[1, 2, 3]], k=[2, 4]))


def test_a_repeated_reference_counts_once():
    repeated = ranking_scores([[1, 2, 3]], [[2, 2, 2, 5]], k=3)
    assert_same(repeated, ranking_scores([[1, 2, 3]], [[2, 5]], k=3))


def test_a_negative_prediction_keeps_its_rank_and_is_never_a_hit():
    scores = ranking_scores([[-1, 4, -100]], [[4, -1, -100]], k=3)
    assert scores["mrr@3"] == 1 / 2
    assert scores["recall@3"] == 1


def test_padded_references_equal_ragged_ones():
    predictions = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    ragged = ranking_scores(predictions, [[3, 1], [], np.array([9, 7, 2])], k=[1, 3])
    padded = np.array([[-1, 3, -1, 1], [-1, -100, -1, -1], [9, 7, 2, -100]])
    assert_same(ranking_scores(predictions, padded, k=[1, 3]), ragged)
    assert_same(ranking_scores(predictions, padded.tolist(), k=[1, 3]), ragged)
    assert_same(ranking_scores(predictions.astype(np.int32), padded.astype(np.int16), k=[1, 3]), ragged)


def test_a_user_without_relevant_items_scores_nan_in_every_metric():
    for scores in (
        ranking_scores([[1, 2], [1, 2]], [[], [1]], k=[1, 2]),
        ranking_scores([[1, 2], [1, 2]], np.array([[-1], [1]]), k=[1, 2]),
    ):
        assert len(scores) == 2 * len(METRICS)
        for values in scores.values():
            assert values.dtype == np.float64
            assert np.isnan(values).tolist() == [True, False]


def test_k_may_be_an_int_a_numpy_int_a_tuple_or_an_array():
    predictions, references = [[1, 2, 3]], [[2]]
    expected = ranking_scores(predictions, references, k=[2])
    for k in (2, np.int64(2), (2,), np.array([2])):
        scores = ranking_scores(predictions, references, k=k)
        assert list(scores) == [f"{metric}@2" for metric in METRICS]
        assert_same(scores, expected)


def test_ids_that_a_float_would_confuse_stay_apart():
    near, far = 2**53, 2**63 - 1
    scores = ranking_scores([[near + 1, far - 1], [near, far]], [[near, far], [near, far]], k=2)
    assert scores["recall@2"].tolist() == [0, 1]
    # An empty list is a float64 array to numpy, and must not turn the ids beside it into floats.
    scores = ranking_scores([[near + 1], [1]], [[near], []], k=1)
    assert scores["recall@1"][0] == 0


# --- Against other libraries ---


@pytest.fixture(scope="module")
def random_rankings():
    """80 users, 12 ranked items each out of a catalogue of 30, 1 to 15 relevant items each."""
    rng = np.random.default_rng(0)
    predictions = rng.permuted(np.tile(np.arange(30), (80, 1)), axis=1)[:, :12]
    references = [rng.choice(30, size=size, replace=False) for size in rng.integers(1, 16, size=80)]
    return predictions, references


@pytest.mark.parametrize("k", [1, 5, 12])
def test_scores_equal_those_of_ir_measures(random_rankings, k):
    ir_measures = pytest.importorskip("ir_measures")
    from ir_measures import AP, RR, R, Success, nDCG

    predictions, references = random_rankings
    scores = ranking_scores(predictions, references, k=k)
    num_relevant = np.array([len(items) for items in references])
    qrels = [
        ir_measures.Qrel(str(user), str(item), 1) for user, relevant in enumerate(references) for item in relevant
    ]
    run = [
        ir_measures.ScoredDoc(str(user), str(item), -rank)
        for user, ranked in enumerate(predictions.tolist())
        for rank, item in enumerate(ranked)
    ]
    theirs = {measure: np.full(len(predictions), np.nan) for measure in (nDCG @ k, RR @ k, AP @ k, Success @ k, R @ k)}
    for metric in ir_measures.iter_calc(list(theirs), qrels, run):
        theirs[metric.measure][int(metric.query_id)] = metric.value

    np.testing.assert_allclose(scores[f"ndcg@{k}"], theirs[nDCG @ k], atol=1e-6)
    np.testing.assert_allclose(scores[f"mrr@{k}"], theirs[RR @ k], atol=1e-6)
    np.testing.assert_allclose(scores[f"hit_rate@{k}"], theirs[Success @ k])
    # Theirs divide by the number of relevant items, these by at most k: equal where the cap does not bind ...
    uncapped = num_relevant <= k
    assert uncapped.any()
    np.testing.assert_allclose(scores[f"recall@{k}"][uncapped], theirs[R @ k][uncapped], atol=1e-6)
    np.testing.assert_allclose(scores[f"map@{k}"][uncapped], theirs[AP @ k][uncapped], atol=1e-6)
    # ... and a known factor apart where it does.
    cap = num_relevant / np.minimum(k, num_relevant)
    np.testing.assert_allclose(scores[f"recall@{k}"], theirs[R @ k] * cap, atol=1e-6)
    np.testing.assert_allclose(scores[f"map@{k}"], theirs[AP @ k] * cap, atol=1e-6)


def test_ndcg_equals_that_of_torchmetrics(random_rankings):
    retrieval = pytest.importorskip("torchmetrics.functional.retrieval")
    import torch

    predictions, references = random_rankings
    ours = ranking_scores(predictions, references, k=5)["ndcg@5"]
    for user, (ranked, relevant) in enumerate(zip(predictions, references, strict=True)):
        item_scores, is_relevant = torch.zeros(30), torch.zeros(30, dtype=torch.bool)
        item_scores[ranked] = torch.arange(len(ranked), 0, -1, dtype=torch.float)
        is_relevant[relevant] = True
        theirs = retrieval.retrieval_normalized_dcg(item_scores, is_relevant, top_k=5)
        assert ours[user] == pytest.approx(theirs.item(), abs=1e-6)


# --- Properties ---

# Few distinct ids, so that hits and repeats are common; some are neighbours that a float cannot tell apart.
item_ids = st.sampled_from([-100, -1, 0, 1, 2, 3, 4, 5, 2**53, 2**53 + 1, 2**63 - 2, 2**63 - 1])


@st.composite
def rankings(draw):
    num_users, num_ranked = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    ranked = st.lists(item_ids, min_size=num_ranked, max_size=num_ranked)
    predictions = draw(st.lists(ranked, min_size=num_users, max_size=num_users))
    references = draw(st.lists(st.lists(item_ids, max_size=9), min_size=num_users, max_size=num_users))
    return np.array(predictions, dtype=np.int64), references


@settings(deadline=None)
@given(rankings())
def test_scores_equal_the_definitions_written_as_loops(case):
    predictions, references = case
    for k in range(1, predictions.shape[1] + 1):
        users = [scores_by_definition(*user, k) for user in zip(predictions.tolist(), references, strict=True)]
        assert_same(ranking_scores(predictions, references, k), {name: [u[name] for u in users] for name in users[0]})


@settings(deadline=None)
@given(rankings())
def test_scores_lie_between_0_and_1(case):
    predictions, references = case
    for values in ranking_scores(predictions, references, range(1, predictions.shape[1] + 1)).values():
        defined = values[~np.isnan(values)]
        assert ((defined >= 0) & (defined <= 1)).all()


@settings(deadline=None)
@given(rankings(), st.randoms(use_true_random=False))
def test_scores_do_not_depend_on_the_order_of_users_or_references(case, random):
    predictions, references = case
    order = random.sample(range(len(predictions)), len(predictions))
    shuffled = [random.sample(references[user], len(references[user])) for user in order]
    expected = ranking_scores(predictions, references, k=1)
    assert_same(
        ranking_scores(predictions[order], shuffled, k=1), {name: values[order] for name, values in expected.items()}
    )


@settings(deadline=None)
@given(rankings())
def test_one_call_for_many_cutoffs_equals_one_call_for_each(case):
    predictions, references = case
    cutoffs = range(1, predictions.shape[1] + 1)
    one_by_one = {}
    for k in cutoffs:
        one_by_one |= ranking_scores(predictions[:, :k], references, k)
    assert_same(ranking_scores(predictions, references, cutoffs), one_by_one)


@settings(deadline=None)
@given(rankings())
def test_a_larger_k_never_loses_a_hit(case):
    predictions, references = case
    cutoffs = np.arange(1, predictions.shape[1] + 1)
    scores = ranking_scores(predictions, references, cutoffs)
    num_relevant = np.array([len({item for item in relevant if item >= 0}) for relevant in references])
    hits = np.array([scores[f"recall@{k}"] * np.minimum(k, num_relevant) for k in cutoffs])
    for values in (hits, [scores[f"hit_rate@{k}"] for k in cutoffs], [scores[f"mrr@{k}"] for k in cutoffs]):
        assert not (np.diff(values, axis=0) < -1e-12).any()


@settings(deadline=None)
@given(st.lists(st.sets(st.integers(0, 2**63 - 1), min_size=1, max_size=6), min_size=1, max_size=5))
def test_a_perfect_ranking_scores_1_at_every_k(relevant):
    predictions = np.full((len(relevant), 8), -1)
    for row, items in zip(predictions, relevant, strict=True):
        row[: len(items)] = list(items)
    for name, values in ranking_scores(predictions, list(map(list, relevant)), k=range(1, 9)).items():
        assert (values == 1).all(), name


def test_ten_thousand_users_take_a_fraction_of_a_second():
    rng = np.random.default_rng(0)
    predictions, references = rng.integers(0, 20_000, (10_000, 25)), rng.integers(0, 20_000, (10_000, 100))
    start = time.process_time()
    ranking_scores(predictions, references, k=25)
    assert time.process_time() - start < 1


# --- Errors ---


@pytest.mark.parametrize("k", [0, -1, 4, [1, 4]])
def test_k_outside_the_ranking_is_refused_with_both_numbers(k):
    with pytest.raises(ValueError, match=rf"k is {np.max(k)} and 3 items"):
        ranking_scores([[1, 2, 3]], [[1]], k=k)


def test_an_empty_k_is_refused():
    with pytest.raises(ValueError, match="k is empty"):
        ranking_scores([[1, 2, 3]], [[1]], k=[])


def test_a_fractional_k_is_refused():
    with pytest.raises(TypeError, match="1.5"):
        ranking_scores([[1, 2, 3]], [[1]], k=1.5)


def test_different_numbers_of_users_are_refused_with_both_numbers():
    with pytest.raises(ValueError, match="predictions for 2 users and references for 3"):
        ranking_scores([[1], [2]], [[1], [2], [3]], k=1)


def test_zero_users_are_refused():
    for predictions, references in (([], []), (np.empty((0, 5), dtype=int), np.empty((0, 2), dtype=int))):
        with pytest.raises(ValueError, match="no users"):
            ranking_scores(predictions, references, k=1)


@pytest.mark.parametrize("predictions", [[[1, 2], [3]], [1, 2], np.zeros((2, 3, 4), dtype=int)])
def test_predictions_that_are_not_rectangular_are_refused(predictions):
    with pytest.raises(ValueError, match="rectangular"):
        ranking_scores(predictions, [[1], [2]], k=1)


def test_ids_that_are_not_integers_are_refused():
    with pytest.raises(TypeError, match="predictions must hold integer ids.*float64"):
        ranking_scores([[1.0, 2.0]], [[1]], k=1)
    with pytest.raises(TypeError, match="references must hold integer ids.*float64"):
        ranking_scores([[1, 2]], [[1.5]], k=1)
    with pytest.raises(TypeError, match="references must hold integer ids.*float64"):
        ranking_scores([[1, 2]], np.array([[1.0, np.nan]]), k=1)


@pytest.mark.parametrize("references", [[1, 2], np.array([1, 2]), [{1}, {2}]])
def test_references_without_a_list_for_each_user_are_refused(references):
    with pytest.raises(TypeError, match="list or an array of item ids for every user"):
        ranking_scores([[1], [2]], references, k=1)


# --- The evaluate module ---


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args):
        raise AssertionError("the metric opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_the_metric_loads_by_path_without_the_network(no_network, tmp_path):
    metric = evaluate.load(str(METRIC_DIR), cache_dir=str(tmp_path))
    predictions, references = [[3, 1, 2], [4, 5, 6], [7, 8, 9]], [[1, 7], [4], []]
    results = metric.compute(predictions=predictions, references=references, k=[1, 3])
    scores = ranking_scores(predictions, references, k=[1, 3])
    assert results == {name: np.nanmean(values) for name, values in scores.items()}
    assert all(type(value) is float for value in results.values())


def test_the_example_in_the_documentation_is_true(no_network, monkeypatch):
    monkeypatch.chdir(METRIC_DIR.parents[2])
    example = doctest.DocTestParser().get_doctest(Ranking.__doc__, {"evaluate": evaluate}, "Ranking", None, None)
    assert len(example.examples) == 3
    assert doctest.DocTestRunner().run(example).failed == 0


def test_k_is_10_unless_given(tmp_path):
    results = Ranking(cache_dir=str(tmp_path)).compute(predictions=[list(range(10))], references=[[9]])
    assert list(results) == [f"{metric}@10" for metric in METRICS]
    assert results["mrr@10"] == 1 / 10


def test_batches_add_up_to_the_whole(random_rankings, tmp_path):
    predictions, references = random_rankings
    metric = Ranking(cache_dir=str(tmp_path))
    for start in range(0, len(predictions), 32):
        metric.add_batch(predictions=predictions[start : start + 32], references=references[start : start + 32])
    scores = ranking_scores(predictions, references, k=5)
    assert metric.compute(k=5) == {name: np.nanmean(values) for name, values in scores.items()}


def test_a_user_without_relevant_items_is_left_out_of_the_means(tmp_path):
    metric = Ranking(cache_dir=str(tmp_path))
    with_empty = metric.compute(predictions=[[1, 2], [3, 4]], references=[[2], []], k=2)
    assert with_empty == Ranking(cache_dir=str(tmp_path)).compute(predictions=[[1, 2]], references=[[2]], k=2)
