# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from bert4rec_hf import Bert4RecConfig
from bert4rec_hf.model import ranking_bert4rec, recommendation_bert4rec
from bert4rec_hf.model.layers_bert4rec import Bert4RecRepeatPrior
from bert4rec_hf.model.ranking_bert4rec import Mixture, Projection, rank_items, stream_mixture_top_k, stream_top_k


IDS = {None: None, "shared": (6,), "own": (3, 6), "none": (0,)}


@settings(max_examples=150, deadline=None)
@given(
    num_items=st.integers(4, 150),
    k=st.integers(1, 12),
    sizes=st.sampled_from([(8, 2), (16, 16), (32, 4), (4096, 64)]),
    num_seen=st.none() | st.integers(0, 9),
    candidates=st.sampled_from([*IDS]),
    excluded=st.sampled_from([*IDS]),
    repeats=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_stream_ranks_as_all_scores_at_once(num_items, k, sizes, num_seen, candidates, excluded, repeats, seed):
    torch.manual_seed(seed)
    states, weight, bias = torch.randn(3, 6), torch.randn(num_items, 6), torch.randn(num_items)
    seen = torch.zeros(3, 0, dtype=torch.long) if num_seen is None else torch.randint(num_items, (3, num_seen))
    candidates, excluded = (
        None if IDS[kind] is None else torch.randint(num_items, IDS[kind]) for kind in (candidates, excluded)
    )
    logits = torch.addmm(bias, states, weight.T).index_fill(1, torch.arange(3), -torch.inf)
    scores = logits.log_softmax(-1)
    projection = Projection(states, weight, bias, (0, 1, 2))
    filters = (seen, k, num_seen is not None, candidates, excluded, True)
    if repeats:
        prior, history = Bert4RecRepeatPrior(Bert4RecConfig(hidden_size=6, num_attention_heads=1)), seen
        prior.requires_grad_(False)
        ages = torch.arange(history.shape[1], 0, -1).expand_as(history) * (history > 2)
        scores = prior.mix(scores, states, history, ages)
        mixture = Mixture(projection, *prior(states, ages), history, ages)
        streamed = rank_items(mixture, *filters, top_k=stream_mixture_top_k)
    else:
        top_k = partial(stream_top_k, chunk_size=sizes[0], group_size=sizes[1])
        streamed = rank_items(projection, *filters, top_k=top_k)
    expected = rank_items(scores, *filters)
    there = expected.scores > -torch.inf
    assert_close(streamed.scores, expected.scores, atol=1e-5, rtol=1e-5)
    assert torch.equal(streamed.item_ids[there], expected.item_ids[there])
    # And both are what the words say.
    allowed = torch.ones(3, num_items, dtype=torch.bool).index_fill(1, torch.arange(3), False)
    if num_seen is not None:
        allowed.scatter_(1, seen, False)
    if excluded is not None:
        allowed.scatter_(1, excluded.expand(3, -1), False)
    if candidates is not None:
        allowed &= torch.zeros_like(allowed).scatter(1, candidates.expand(3, -1), True)
    for row in range(3):
        best = scores[row].masked_fill(~allowed[row], -torch.inf).sort(descending=True).values[:k]
        assert_close(expected.scores[row, : len(best)], best)


@pytest.mark.parametrize("repeats", [False, True])
@pytest.mark.parametrize(
    "wishes",
    [
        {},
        {"exclude_seen": True},
        {"candidate_ids": torch.tensor([5, 9, 40, 41, 4, 11])},
        {"exclude_ids": torch.tensor([[3, 4], [9, 9], [12, 13], [43, 0]])},
        {"exclude_ids": torch.tensor([3], dtype=torch.int32), "exclude_seen": True},
    ],
)
def test_a_model_of_a_large_catalogue_recommends_alike(model, processor, wishes, repeats, monkeypatch):
    inputs = processor([["i1", "i2"], [], ["i9"] * 3, ["i9", "i2", "i1", "i9", "i40"] * 4])
    if repeats:
        model.repeat_prior = Bert4RecRepeatPrior(model.config)
    whole = model.recommend(**inputs, k=3, **wishes)
    monkeypatch.setattr(recommendation_bert4rec, "STREAM_FROM", 10)
    monkeypatch.setattr(ranking_bert4rec, "dense_top_k", None)
    stream = model.recommend(**inputs, k=3, **wishes)
    assert torch.equal(stream.item_ids, whole.item_ids)
    assert_close(stream.scores, whole.scores, atol=1e-5, rtol=1e-5)
    for k, words in ((51, "k is 51, but only 50 items"), (0, "k is 0")):
        with pytest.raises(ValueError, match=words):
            model.recommend(**inputs, k=k)
    few = model.recommend(**inputs, k=60, allow_fewer=True)
    assert (few.item_ids[:, 50:] == 0).all() and few.scores[:, 50:].isneginf().all()


@pytest.mark.parametrize("streamed", [False, True])
def test_ids_of_32_bits_do(model, inputs, streamed, monkeypatch):
    monkeypatch.setattr(recommendation_bert4rec, "STREAM_FROM", 10 if streamed else 2**16)
    short = {name: values.int() for name, values in inputs.items()}
    for repeats in (False, True):
        model.repeat_prior = Bert4RecRepeatPrior(model.config) if repeats else None
        assert_close(model.score(**short), model.score(**inputs))
        for wishes in ({}, {"exclude_seen": True}, {"candidate_ids": torch.tensor([4, 5, 6])}):
            expected = model.recommend(**inputs, k=2, **wishes).item_ids
            wishes = {name: value.int() if name == "candidate_ids" else value for name, value in wishes.items()}
            assert torch.equal(model.recommend(**short, k=2, **wishes).item_ids, expected)


def test_rows_of_filters_that_are_nobodys_are_refused(model, inputs):
    for name in ("candidate_ids", "exclude_ids"):
        with pytest.raises(ValueError, match=f"{name} has 2 rows, input_ids 3"):
            model.recommend(**inputs, k=1, **{name: torch.tensor([[4], [5]])})
        with pytest.raises(ValueError, match=f"{name} has the id 99"):
            model.recommend(**inputs, k=1, **{name: torch.tensor([99])})


def test_seen_and_filtered_items_leave_shorter_lists():
    scores, seen = torch.arange(6.0).expand(2, -1), torch.tensor([[5, 4, 3], [0, 0, 0]])
    lists = rank_items(scores, seen, 4, exclude_seen=True, allow_fewer=True)
    assert lists.item_ids.tolist() == [[2, 1, 0, 0], [5, 4, 3, 2]] and lists.scores[0, 3] == -torch.inf
