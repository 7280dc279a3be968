# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
import numpy as np
import pytest
import torch
from helpers import make_model

from bert4rec_hf import Bert4RecEnsembleForMaskedLM, encode_evaluation, select_members
from bert4rec_hf.evaluation.evaluator import recommend_all
from bert4rec_hf.metrics.ranking.ranking import ranking_scores


@pytest.fixture(scope="module")
def pool(interactions, fitted):
    """A model that is wrong and two that know something of the validation rows, each of other ones."""
    processor, split = fitted
    dataset = encode_evaluation(interactions, processor, split, "validation")
    members = [make_model(processor, initializer_range=0.4, num_hidden_layers=n).eval() for n in (1, 2, 3)]
    targets = np.concatenate(dataset["relevant"])
    targets = targets[targets < processor.vocab_size]
    members[0].decoder.bias.data[targets] -= 20.0
    items, counts = np.unique(targets, return_counts=True)
    order = counts.argsort()[::-1]
    for part, member in enumerate(members[1:]):  # every other one of the most frequent targets
        some = order[part::2]
        member.decoder.bias.data[items[some]] += 4 * torch.from_numpy(counts[some]).float().log()
    return members, processor, dataset


def ndcg(ensemble, processor, dataset, k, exclude_seen):
    ranked = recommend_all(ensemble.recommend, dataset, processor, k, exclude_seen)
    return ranking_scores(ranked, dataset["relevant"], [k])[f"ndcg@{k}"].mean()


@pytest.mark.parametrize("voting", ["probability", "log_probability", "reciprocal_rank"])
@pytest.mark.parametrize("exclude_seen", [False, True])
def test_each_round_takes_who_helps_most(pool, voting, exclude_seen):
    members, processor, dataset = pool
    ensemble = Bert4RecEnsembleForMaskedLM.from_members(members, processor, voting)
    counts, best = np.zeros(3, dtype=int), (-1, None)
    for _ in range(4):
        reached = []
        for number in range(3):
            tried = counts + np.eye(3, dtype=int)[number]
            chosen = tried.nonzero()[0]
            some = ensemble.subset(chosen, tried[chosen].astype(float).tolist())
            reached.append(ndcg(some, processor, dataset, 5, exclude_seen))
        counts[np.argmax(reached)] += 1
        if max(reached) > best[0]:
            best = max(reached), counts.copy()
    selected, value = select_members(
        ensemble, processor, dataset, 5, exclude_seen, num_rounds=4, num_candidates=10_000, progress=False
    )
    assert selected.tolist() == best[1].tolist() and value == pytest.approx(best[0], abs=1e-6)
    assert len(dataset) % 23 == 1  # the last batch has one user
    few, _ = select_members(ensemble, processor, dataset, 5, exclude_seen, num_rounds=4, batch_size=23, progress=False)
    assert few.tolist() == selected.tolist()  # what no member thinks much of changes nothing


def test_who_says_nothing_new_is_left_out(pool):
    members, processor, dataset = pool
    ensemble = Bert4RecEnsembleForMaskedLM.from_members(members, processor)
    counts, value = select_members(ensemble, processor, dataset, progress=False)
    assert counts[0] == 0 and (counts[1:] > 0).all()
    alone = [ndcg(ensemble.subset([number]), processor, dataset, 10, False) for number in range(3)]
    assert value > max(alone)
    assert torch.is_grad_enabled()
