# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from bert4rec_hf.model import modeling_bert4rec, ranking_bert4rec
from bert4rec_hf.model.layers_bert4rec import Bert4RecRepeatPrior
from bert4rec_hf.model.ranking_bert4rec import rank_items, stream_top_k


@settings(max_examples=150, deadline=None)
@given(
    num_items=st.integers(4, 150),
    k=st.integers(1, 12),
    sizes=st.sampled_from([(8, 2), (16, 16), (32, 4), (4096, 64)]),
    num_seen=st.none() | st.integers(0, 9),
    candidates=st.sampled_from([None, "shared", "own"]),
    seed=st.integers(0, 99),
)
def test_a_stream_ranks_as_all_scores_at_once(num_items, k, sizes, num_seen, candidates, seed):
    torch.manual_seed(seed)
    states, weight, bias = torch.randn(3, 5), torch.randn(num_items, 5), torch.randn(num_items)
    seen = torch.zeros(3, 0, dtype=torch.long) if num_seen is None else torch.randint(num_items, (3, num_seen))
    shape = {None: None, "shared": (6,), "own": (3, 6)}[candidates]
    allowed = None if shape is None else torch.randint(num_items, shape)
    scores = torch.addmm(bias, states, weight.T)
    scores[:, :3] = -torch.inf
    expected = rank_items(scores.log_softmax(-1), seen, k, num_seen is not None, allowed, allow_fewer=True)
    for normalize in (True, False):
        values, item_ids, _ = stream_top_k(
            *(states, weight, bias, k, (0, 1, 2)),
            *(None if num_seen is None else seen, allowed, normalize, *sizes),
        )
        there = expected.scores > -torch.inf
        offset = 0 if normalize else scores.logsumexp(1, keepdim=True)
        assert_close(values, expected.scores + offset, atol=1e-5, rtol=1e-5)
        assert torch.equal(item_ids[there], expected.item_ids[there])


@pytest.mark.parametrize("repeats", [False, True])
@pytest.mark.parametrize("wishes", [{}, {"exclude_seen": True}, {"candidate_ids": torch.tensor([5, 9, 40, 41])}])
def test_a_model_of_a_large_catalogue_recommends_alike(model, processor, wishes, repeats, monkeypatch):
    inputs = processor([["i1", "i2"], [], ["i9"] * 3, ["i9", "i2", "i1", "i9", "i40"] * 4])
    if repeats:
        model.repeat_prior = Bert4RecRepeatPrior(model.config)
    whole = model.recommend(**inputs, k=4, **wishes)
    monkeypatch.setattr(modeling_bert4rec, "STREAM_FROM", 10)
    monkeypatch.setattr(ranking_bert4rec, "rank_items", None)
    stream = model.recommend(**inputs, k=4, **wishes)
    assert torch.equal(stream.item_ids, whole.item_ids)
    assert_close(stream.scores, whole.scores, atol=1e-5, rtol=1e-5)
    for k, words in ((51, "k is 51, but only 50 items"), (0, "k is 0")):
        with pytest.raises(ValueError, match=words):
            model.recommend(**inputs, k=k)
    few = model.recommend(**inputs, k=60, allow_fewer=True)
    assert (few.item_ids[:, 50:] == 0).all() and few.scores[:, 50:].isneginf().all()


def test_seen_and_filtered_items_leave_shorter_lists():
    scores, seen = torch.arange(6.0).expand(2, -1), torch.tensor([[5, 4, 3], [0, 0, 0]])
    lists = rank_items(scores, seen, 4, exclude_seen=True, allow_fewer=True)
    assert lists.item_ids.tolist() == [[2, 1, 0, 0], [5, 4, 3, 2]] and lists.scores[0, 3] == -torch.inf
