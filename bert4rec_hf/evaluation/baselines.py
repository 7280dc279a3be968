# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""
Recommenders that a model has to beat. Each is called like [`Bert4RecForMaskedLM.recommend`] and is fitted on the rows
it is given and nothing else.
"""

from collections.abc import Callable

import numpy as np
import torch

from ..data.encoding import token_ids
from ..data.interactions import Interactions
from ..model.modeling_bert4rec import Bert4RecForMaskedLM
from ..model.processing_bert4rec import Bert4RecProcessor
from ..model.ranking_bert4rec import rank_items
from ..model.vocabulary_bert4rec import NUM_SPECIAL_TOKENS


def item_popularity(
    interactions: Interactions, processor: Bert4RecProcessor, rows: np.ndarray, of_users: bool = False
) -> np.ndarray:
    """Events, or users if `of_users`, of each token id among `rows`, a mask of the log: `(vocab_size,)`."""
    tokens = token_ids(interactions, processor)[interactions.item[rows]]
    keys = (interactions.user[rows].astype(np.int64) * processor.vocab_size + tokens)[tokens >= 0]
    if of_users:
        keys = np.sort(keys)
        keys = keys[np.diff(keys, prepend=-1) > 0]
    return np.bincount(keys % processor.vocab_size, minlength=processor.vocab_size)


def by_popularity(counts: np.ndarray) -> torch.Tensor:
    """Scores between 0 and 1, float64 `(vocab_size,)`, in the order of `counts`; ties go to the lower id."""
    scores = np.empty(len(counts))
    scores[np.argsort(-counts, kind="stable")] = 1 - np.arange(len(counts)) / len(counts)
    scores[:NUM_SPECIAL_TOKENS] = -np.inf
    return torch.from_numpy(scores)


def popularity(counts: np.ndarray) -> Callable:
    """The items with the greatest `counts` `(vocab_size,)`."""
    scores = by_popularity(counts)

    def recommend(input_ids, attention_mask=None, k=10, exclude_seen=False, allow_fewer=False, **ignored):
        return rank_items(scores.expand(len(input_ids), -1), input_ids, k, exclude_seen, allow_fewer=allow_fewer)

    return recommend


def own_frequency(counts: np.ndarray, ties_by_popularity: bool = False) -> Callable:
    """
    The user's most frequent items, ties to the lower id or to the greater of `counts`; then the items with the
    greatest `counts`.
    """
    popularity_scores = by_popularity(counts)
    tie_break = (
        popularity_scores
        if ties_by_popularity
        else 1 - torch.arange(len(popularity_scores), dtype=torch.float64) / len(popularity_scores)
    )

    def recommend(input_ids, attention_mask=None, k=10, exclude_seen=False, allow_fewer=False, **ignored):
        own = popularity_scores.new_zeros(len(input_ids), len(popularity_scores)).scatter_add_(
            1, input_ids, popularity_scores.new_ones(input_ids.shape)
        )
        scores = torch.where(own > 0, own + tie_break, popularity_scores)
        scores[:, :NUM_SPECIAL_TOKENS] = -torch.inf
        return rank_items(scores, input_ids, k, exclude_seen, allow_fewer=allow_fewer)

    return recommend


def markov(interactions: Interactions, processor: Bert4RecProcessor, rows: np.ndarray, counts: np.ndarray) -> Callable:
    """
    First-order Markov chain: the items that most often followed the user's last item in `rows` (a mask of the log);
    then the items with the greatest `counts`.
    """
    popularity_scores = by_popularity(counts)
    users = interactions.user[rows]
    tokens = token_ids(interactions, processor)[interactions.item[rows]].astype(np.int64)
    follows = (users[1:] == users[:-1]) & (tokens[1:] >= 0) & (tokens[:-1] >= 0)
    pairs, times = np.unique((tokens[:-1] * len(popularity_scores) + tokens[1:])[follows], return_counts=True)
    starts = torch.from_numpy(np.searchsorted(pairs, np.arange(len(popularity_scores) + 1) * len(popularity_scores)))
    following, times = torch.from_numpy(pairs % len(popularity_scores)), torch.from_numpy(times).double()

    def recommend(input_ids, attention_mask=None, k=10, exclude_seen=False, allow_fewer=False, **ignored):
        attention_mask = input_ids != processor.pad_token_id if attention_mask is None else attention_mask
        attention_mask, input_ids = (torch.nn.functional.pad(ids, (1, 0)) for ids in (attention_mask, input_ids))
        places = (attention_mask * torch.arange(input_ids.shape[1])).argmax(1, keepdim=True)
        last = input_ids.gather(1, places)[:, 0]  # PAD where there is no history
        sizes = starts[last + 1] - starts[last]
        row_index = torch.repeat_interleave(torch.arange(len(last)), sizes)
        pair_index = torch.arange(len(row_index)) - (sizes.cumsum(0) - sizes - starts[last])[row_index]
        scores = popularity_scores.repeat(len(last), 1)
        scores[row_index, following[pair_index]] += times[pair_index]
        return rank_items(scores, input_ids, k, exclude_seen, allow_fewer=allow_fewer)

    return recommend


def with_shuffled_histories(model: Bert4RecForMaskedLM) -> Callable:
    """A model on histories in a random order, the same at each call; the times of the events keep their order."""

    def recommend(input_ids, attention_mask=None, **kwargs):
        mask = input_ids != model.config.pad_token_id if attention_mask is None else attention_mask != 0
        generator = torch.Generator().manual_seed(int(input_ids.sum()))
        draws = torch.rand(input_ids.shape, generator=generator).to(mask.device)
        order = draws.masked_fill(~mask, 2.0).argsort(1)  # what is no padding, in a random order
        places = mask.logical_not().byte().argsort(dim=1, stable=True)
        shuffled = torch.empty_like(input_ids).scatter_(1, places, input_ids.gather(1, order))
        return model.recommend(torch.where(mask, shuffled, input_ids), attention_mask, **kwargs)

    recommend.device, recommend.training = model.device, model.training
    recommend.eval, recommend.train = model.eval, model.train
    return recommend


def fit_baselines(
    interactions: Interactions, processor: Bert4RecProcessor, train: np.ndarray, recent_days: int = 30
) -> dict[str, Callable]:
    """
    The baselines by their names: most popular, popular in the last `recent_days` days, the user's own most frequent
    with ties to the lower id and to the more popular, and a first-order Markov chain.

    Args:
        train (`np.ndarray` of bool, shape `(num_rows,)`): the training rows of the log.
    """
    counts = item_popularity(interactions, processor, train)
    recent = train & (interactions.day > interactions.day[train].max() - recent_days)
    return {
        "most popular": popularity(counts),
        f"popular in the last {recent_days} days": popularity(item_popularity(interactions, processor, recent)),
        "own most frequent": own_frequency(counts),
        "own most frequent, then popular": own_frequency(counts, ties_by_popularity=True),
        "Markov chain": markov(interactions, processor, train, counts),
    }
