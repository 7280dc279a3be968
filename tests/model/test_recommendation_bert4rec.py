# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
import sys

import numpy as np
import pytest
import torch
from helpers import KINDS, model_of
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from bert4rec_hf.model import recommendation_bert4rec
from bert4rec_hf.model.ranking_bert4rec import ALL_ITEMS, Projection, rank_items, rerank_items, stream_top_k


ALL_KINDS = [*KINDS, "ensemble"]


def within_limits(ranked, values, limit, k):
    """The definition: from the best item down, each that is within the limit."""
    chosen, counts = [], {}
    for item in ranked:
        own = {int(value) for value in values[item] if value}
        if len(chosen) < k and all(counts.get(value, 0) < limit for value in own):
            chosen.append(item)
            counts |= {value: counts.get(value, 0) + 1 for value in own}
    return chosen


@settings(max_examples=100, deadline=None)
@given(
    num_items=st.integers(5, 120),
    k=st.integers(1, 12),
    limit=st.integers(1, 4),
    num_values=st.integers(1, 6),
    max_values=st.integers(1, 3),
    num_candidates=st.none() | st.integers(1, 20),
    seed=st.integers(0, 99),
)
def test_limits_take_the_best_items_that_obey_them(num_items, k, limit, num_values, max_values, num_candidates, seed):
    torch.manual_seed(seed)
    states, weight, bias = torch.randn(3, 6), torch.randn(num_items, 6), torch.randn(num_items)
    values = torch.randint(num_values + 1, (num_items, max_values), dtype=torch.int32)
    candidates = None if num_candidates is None else torch.randint(3, num_items, (3, num_candidates))
    if candidates is not None:
        candidates[0, 0] = ALL_ITEMS  # everything is allowed to the first
    scores = torch.addmm(bias, states, weight.T).index_fill(1, torch.arange(3), -torch.inf).log_softmax(-1)
    seen = torch.zeros(3, 0, dtype=torch.long)

    def lists(scores, top_k=None):
        def rank(k, allow_fewer):
            return rank_items(scores, seen, k, candidate_ids=candidates, allow_fewer=allow_fewer, top_k=top_k)

        return rerank_items(rank, k, num_items, [(values, limit)], allow_fewer=True)

    dense, streamed = lists(scores), lists(Projection(states, weight, bias, (0, 1, 2)), stream_top_k)
    assert torch.equal(dense.item_ids, streamed.item_ids)
    assert_close(dense.scores, streamed.scores, atol=1e-5, rtol=1e-5)
    for row in range(3):
        allowed = range(3, num_items) if candidates is None or row == 0 else candidates[row].tolist()
        ranked = [item for item in scores[row].argsort(descending=True).tolist() if item in {*allowed} - {0, 1, 2}]
        expected = within_limits(ranked, values, limit, k)
        assert dense.item_ids[row][dense.item_ids[row] > 0].tolist() == expected
        assert dense.scores[row].isneginf().sum() == dense.scores.shape[1] - len(expected)


@pytest.mark.parametrize("kind", ALL_KINDS)
@pytest.mark.parametrize("settings_", [{"max_per": {"genre": 2, "keyword": 3}}, {"diversity": 0.5}])
def test_a_model_of_a_large_catalogue_reranks_alike(processor, inputs, kind, settings_, monkeypatch):
    model = model_of(processor, kind)
    settings_ = settings_ | {"k": 4, "exclude_ids": torch.tensor([5, 9])}
    whole = model.recommend(**inputs, **settings_)
    monkeypatch.setattr(recommendation_bert4rec, "STREAM_FROM", 10)
    stream = model.recommend(**inputs, **settings_)
    assert torch.equal(stream.item_ids, whole.item_ids)
    assert_close(stream.scores, whole.scores, atol=1e-5, rtol=1e-5)
    for row in range(3):
        alone = {name: values[row : row + 1] for name, values in inputs.items()}
        assert torch.equal(model.recommend(**alone, **settings_).item_ids, whole.item_ids[row : row + 1])
    if "max_per" in settings_:
        genres = processor.item_features()[whole.item_ids.numpy(), 0]
        assert max(np.bincount(row).max() for row in genres) == 2
        with pytest.raises(ValueError, match="k is 5, but only"):
            model.recommend(**inputs, k=5, max_per={"genre": 2})
        assert (model.recommend(**inputs, k=5, max_per={"genre": 2}, allow_fewer=True).item_ids[:, 4] == 0).all()


def test_diversity_goes_from_the_best_items_to_the_most_different_ones(processor, inputs):
    model = model_of(processor, "masked")

    def similarity(item_ids):
        vectors = model.unit_vectors(item_ids)
        return ((vectors @ vectors.mT).sum() - item_ids.numel()).item()

    lists = [model.recommend(**inputs, k=5, diversity=diversity).item_ids for diversity in (0.0, 1e-9, 0.3, 0.7, 1.0)]
    assert torch.equal(lists[0], lists[1])
    similarities = [similarity(item_ids) for item_ids in lists[1:]]
    assert similarities == sorted(similarities, reverse=True) and similarities[0] > similarities[-1]
    # By hand: the best item, then the best of those that are not similar to it at all
    best = lists[0][:, 0]
    assert torch.equal(lists[-1][:, 0], best)
    pool = model.recommend(**inputs, k=50).item_ids
    cosines = (model.unit_vectors(pool) @ model.unit_vectors(best)[..., None])[..., 0]
    assert torch.equal(lists[-1][:, 1], pool.gather(1, (cosines <= 0).long().argmax(1, keepdim=True))[:, 0])


def test_what_cannot_be_reranked_is_refused(model, inputs, monkeypatch):
    for settings_, words in (
        ({"max_per": {"colour": 2}}, "no item feature 'colour'; it has genre, keyword"),
        ({"max_per": {"genre": 0}}, "max_per of genre is 0"),
        ({"diversity": 1.5}, "diversity is 1.5"),
        ({"max_per": {"genre": 1}, "k": 0}, "k is 0"),
    ):
        with pytest.raises(ValueError, match=words):
            model.recommend(**inputs, **settings_)
    monkeypatch.setitem(sys.modules, "pyversity", None)
    with pytest.raises(ImportError, match="diversity needs pyversity"):
        model.recommend(**inputs, diversity=0.5)


@pytest.mark.parametrize("kind", ["masked", "causal"])
def test_vectors_have_the_order_of_the_recommendations(processor, inputs, kind):
    model = model_of(processor, kind)
    products = model.user_vectors(**inputs) @ model.item_vectors().T
    assert torch.equal(products.topk(50).indices, model.recommend(**inputs, k=50).item_ids)
    assert_close(products.log_softmax(-1), model.score(**inputs))


@pytest.mark.parametrize("kind, words", [("prior", "repeat prior has no vectors"), ("ensemble", "Take a member's")])
def test_models_without_vectors_say_why(processor, inputs, kind, words):
    model = model_of(processor, kind)
    for call in (model.item_vectors, lambda: model.user_vectors(**inputs)):
        with pytest.raises(ValueError, match=words):
            call()


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_similar_items_have_the_largest_cosine(processor, kind):
    model = model_of(processor, kind)
    similar = model.similar_items(torch.tensor([3, 20]), k=49)
    members = getattr(model, "members", [model])
    tables = [member.output_layer()[0] for member in members]
    for row, item in enumerate((3, 20)):
        cosines = sum(torch.cosine_similarity(table[item], table, dim=-1) for table in tables) / len(tables)
        expected = [i for i in cosines.argsort(descending=True).tolist() if i > 2 and i != item]
        assert similar.item_ids[row].tolist() == expected
        assert_close(similar.scores[row], cosines[expected])
    assert torch.equal(model.similar_items(torch.tensor([3, 20]), k=7, chunk_size=9).item_ids, similar.item_ids[:, :7])
    for item_ids, k, words in (
        ([0], 3, "PAD, MASK or UNK"),
        ([99], 3, "id 99"),
        ([3], 50, "k is 50"),
        ([3], 0, "k is 0"),
    ):
        with pytest.raises(ValueError, match=words):
            model.similar_items(torch.tensor(item_ids), k)


@pytest.mark.parametrize("kind", ALL_KINDS)
@pytest.mark.parametrize("length", [0, 3, 30])
def test_an_event_raises_an_item_by_the_score_without_it(processor, kind, length):
    model, items = model_of(processor, kind), torch.tensor([3, 17])
    history = (torch.arange(length) * 7 % 11 + 3)[None]  # with repeats
    padded = torch.nn.functional.pad(history, (2, 1))
    features = torch.tensor([[1, 2]])
    explained = model.explain(padded, items, user_features=features)
    whole = model.score(history, None, features)[0, items]
    assert_close(explained.scores, whole)
    assert explained.raised.shape == (2, length + 3)
    assert (explained.raised[:, padded[0] == 0] == 0).all()
    for place in range(length):
        rest = torch.cat([history[:, :place], history[:, place + 1 :]], dim=1)
        without = model.score(rest, None, features)[0, items]
        expected = torch.where(whole.isneginf(), 0.0, whole - without)
        assert_close(explained.raised[:, place + 2], expected, atol=1e-5, rtol=1e-5)
    assert_close(model.explain(padded, items, user_features=features, batch_size=2).raised, explained.raised)


def test_the_repeated_share_is_what_is_lost_without_the_history(processor):
    history, items = torch.tensor([[5, 6, 5]]), torch.tensor([5, 6, 7])
    model = model_of(processor, "prior")
    share = model.explain(history, items).repeat_share
    states, *seen = model.next_item_states(history)
    log_softmax, _ = model.repeat_prior(states, seen[1])
    new = model.log_probabilities(states).exp()[0, items] * log_softmax.exp()
    assert_close(share, 1 - new / model.score(history)[0, items].exp())
    assert share[0] > share[2] == 0
    assert model_of(processor, "masked").explain(history, items).repeat_share is None
    # In a vote each member has the share of its probability.
    ensemble = model_of(processor, "ensemble")
    voted = ensemble.explain(history, items)
    assert_close(voted.repeat_share * voted.scores.exp(), 3 / 6 * share * model.score(history)[0, items].exp())


def test_what_cannot_be_explained_is_refused(model):
    for history, items in (([[3], [4]], [5]), ([[3]], [0])):
        with pytest.raises(ValueError, match="one user, and items"):
            model.explain(torch.tensor(history), torch.tensor(items))
    with pytest.raises(ValueError, match="item_ids has the id 99"):
        model.explain(torch.tensor([[3]]), torch.tensor([99]))
