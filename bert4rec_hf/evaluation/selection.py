# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Ensemble selection: the models of a pool that vote, and their weights."""

import numpy as np
import torch
from datasets import Dataset

from ..model.modeling_bert4rec_ensemble import Bert4RecEnsembleForMaskedLM
from ..model.processing_bert4rec import Bert4RecProcessor
from ..model.ranking_bert4rec import rank_items
from ..model.vocabulary_bert4rec import NUM_SPECIAL_TOKENS
from .evaluator import RankingEvaluator, batches_of


@torch.no_grad()
def select_members(
    ensemble: Bert4RecEnsembleForMaskedLM,
    processor: Bert4RecProcessor,
    dataset: Dataset,
    k: int = 10,
    exclude_seen: bool = False,
    num_rounds: int = 50,
    num_candidates: int = 200,
    batch_size: int = 128,
    progress: bool = True,
    allow_fewer: bool = False,
) -> tuple[np.ndarray, float]:
    """
    Fits the members' weights: greedy selection with replacement (Caruana et al. 2004,
    https://doi.org/10.1145/1015330.1015432). Each round adds the member that gives the best NDCG@`k`; the weights are
    the members' counts at the best round.

    Args:
        ensemble ([`Bert4RecEnsembleForMaskedLM`]): the pool; its `voting` is the voting rule.
        dataset (`Dataset`): from [`encode_evaluation`], of rows that no member was trained on: the validation rows.
        num_candidates (`int`, *optional*, defaults to 200): candidates per user, the items with the highest vote of
            any member; no other item can reach a short list.
        allow_fewer (`bool`, *optional*, defaults to `False`): as for [`evaluate`].

    Returns:
        `tuple[np.ndarray, float]`: the count of each member, int64 `(num_members,)`, 0 for those that should not
        vote, and the NDCG@`k` of these counts.
    """
    k = min(k, processor.vocab_size - NUM_SPECIAL_TOKENS) if allow_fewer else k
    num_candidates = max(k, min(num_candidates, processor.vocab_size - NUM_SPECIAL_TOKENS))
    shape = len(ensemble.members), len(dataset), num_candidates
    items, ballots = np.zeros(shape[1:], dtype=np.int64), np.empty(shape, dtype=np.float32)
    description = "scoring with the members" if progress else None
    for users, inputs in batches_of(dataset, processor, batch_size, ensemble.device, description):
        states = ensemble.next_item_states(**inputs)
        chunks = ensemble.pieces(torch.from_numpy(users), inputs["input_ids"])
        for (rows, seen_ids), *chunk in zip(chunks, *(ensemble.pieces(*state) for state in states)):
            rows = rows.numpy()
            chunk_ballots = torch.stack([*ensemble.ballots(chunk)])
            best = rank_items(chunk_ballots.amax(0), seen_ids, num_candidates, exclude_seen, allow_fewer=True)
            items[rows] = best.item_ids.cpu().numpy()
            ballots[:, rows] = (
                chunk_ballots.gather(2, best.item_ids.expand(len(chunk_ballots), -1, -1)).float().cpu().numpy()
            )
    ballots[:, items == 0] = -np.inf

    evaluator = RankingEvaluator(dataset, processor, [k], exclude_seen, allow_fewer=allow_fewer)
    counts, total, best = np.zeros(len(ballots), dtype=np.int64), np.float32(0), (-1.0, None)
    for _ in range(num_rounds):
        ndcgs = [_ndcg(total + ballot, items, evaluator) for ballot in ballots]
        chosen = int(np.argmax(ndcgs))
        counts[chosen] += 1
        total = total + ballots[chosen]
        if ndcgs[chosen] > best[0]:
            best = ndcgs[chosen], counts.copy()
    return best[1], best[0]


def _ndcg(total: np.ndarray, items: np.ndarray, evaluator: RankingEvaluator) -> float:
    (k,) = evaluator.k
    places = torch.from_numpy(total).topk(k, dim=1).indices.numpy()
    ranked = np.take_along_axis(items, places, axis=1)
    return evaluator.metrics(ranked)[f"ndcg@{k}"]
