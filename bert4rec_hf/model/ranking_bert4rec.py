# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""One top-k with its filters, over all scores at once or streamed, for catalogues of any size."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn
from transformers.modeling_outputs import ModelOutput

from .layers_bert4rec import add_history


@dataclass
class Bert4RecRecommendationOutput(ModelOutput):
    """
    What [`~RecommendationMixin.recommend`] returns.

    Args:
        item_ids (`torch.LongTensor` of shape `(batch_size, k)`):
            Token ids of the recommended items, best first.
        scores (`torch.FloatTensor` of shape `(batch_size, k)`):
            Their log-probabilities among all recommendable items.
    """

    item_ids: torch.LongTensor | None = None
    scores: torch.FloatTensor | None = None


class Projection(NamedTuple):
    """
    Scores that need not exist all at once: the log of the softmax of `states @ weight.T + bias`.

    Args:
        states (`torch.Tensor` of shape `(batch_size, hidden_size)`): what is projected.
        weight, bias (`torch.Tensor` of shape `(vocab_size, hidden_size)` and `(vocab_size,)`): the output layer.
        special_ids (`tuple[int]`): ids that are no items.
    """

    states: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor
    special_ids: tuple[int, ...] = ()


class Mixture(NamedTuple):
    """
    A [`Projection`] mixed with the user's own history by a repeat prior.

    Args:
        projection ([`Projection`]): the softmax over all items.
        share (`torch.Tensor` of shape `(batch_size,)`): log of the softmax's share.
        history_ids, shares (`torch.Tensor` of shape `(batch_size, num_events)`): the events and their shares.
        ages (`torch.LongTensor` of shape `(batch_size, num_events)`): 0 for what is no event.
    """

    projection: Projection
    share: torch.Tensor
    shares: torch.Tensor
    history_ids: torch.LongTensor
    ages: torch.LongTensor


def rank_items(
    scores: torch.Tensor | Projection | Mixture,
    seen_ids: torch.LongTensor,
    k: int = 10,
    exclude_seen: bool = False,
    candidate_ids: torch.LongTensor | None = None,
    exclude_ids: torch.LongTensor | None = None,
    allow_fewer: bool = False,
    top_k: Callable | None = None,
) -> Bert4RecRecommendationOutput:
    """
    The filters and the top-k that every ranking shares.

    Args:
        scores (`torch.Tensor` of shape `(batch_size, vocab_size)`, or what `top_k` takes):
            Higher is better; `-inf` where an item cannot be recommended.
        seen_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`):
            The whole histories, PAD where there is nothing.
        k, exclude_seen, candidate_ids, exclude_ids, allow_fewer (*optional*):
            As for [`~RecommendationMixin.recommend`].
        top_k (`Callable`, *optional*, defaults to [`dense_top_k`]):
            [`dense_top_k`], [`stream_top_k`] or [`stream_mixture_top_k`].

    Raises:
        `ValueError`: if `k` is below 1 or beyond the number of items that can be recommended to a row.
        `FloatingPointError`: if a score is NaN.
    """
    if k < 1:
        raise ValueError(f"k is {k}; it must be at least 1.")
    excluded = [] if exclude_ids is None else [exclude_ids.long().expand(len(seen_ids), -1)]
    excluded += [seen_ids] if exclude_seen else []
    excluded_ids = torch.cat(excluded, dim=1) if excluded else None
    candidate_ids = None if candidate_ids is None else candidate_ids.long().expand(len(seen_ids), -1)
    return as_lists(*(top_k or dense_top_k)(scores, k, excluded_ids, candidate_ids), k, allow_fewer)


def as_lists(
    values: torch.Tensor, item_ids: torch.LongTensor, k: int, allow_fewer: bool = False
) -> Bert4RecRecommendationOutput:
    """A top-k, both `(batch_size, at most k)`, as lists of `k`; see [`rank_items`] for those that have fewer."""
    if values.isnan().any():  # which top-k takes for the best
        raise FloatingPointError("the scores are not finite: the model's weights are not, or its training diverged.")
    nothing = values.isneginf()
    if not allow_fewer and (values.shape[1] < k or nothing[:, -1].any()):
        raise ValueError(
            f"k is {k}, but only {int(nothing.logical_not().sum(1).min())} items can be recommended to one of the "
            "users; ask for at most that."
        )
    return Bert4RecRecommendationOutput(item_ids=item_ids.masked_fill(nothing, 0), scores=values)


class ItemFilter:
    """
    Which items a row's list may have: all but `excluded_ids` or, of those, `candidate_ids` only.

    Args:
        excluded_ids, candidate_ids (`torch.LongTensor` of shape `(batch_size, num_ids)`, *optional*): token ids.
        chunks (`range`, *optional*): where each chunk of the catalogue starts, if it is masked by chunks.
    """

    def __init__(
        self,
        excluded_ids: torch.LongTensor | None,
        candidate_ids: torch.LongTensor | None,
        chunks: range | None = None,
    ):
        self.excluded_ids, self.candidate_ids = excluded_ids, candidate_ids
        if chunks is not None:
            self.excluded, self.candidates = _places(excluded_ids, chunks), _places(candidate_ids, chunks)

    def mask(self, scores: torch.Tensor) -> torch.Tensor:
        """Scores `(batch_size, vocab_size)` with `-inf` for what is filtered out."""
        if self.candidate_ids is not None:
            allowed = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, self.candidate_ids, True)
            scores = scores.masked_fill(~allowed, -torch.inf)
        return scores if self.excluded_ids is None else scores.scatter(1, self.excluded_ids, -torch.inf)

    def mask_chunk(self, scores: torch.Tensor, chunk: int) -> torch.Tensor:
        """The same of the items of a chunk, `(batch_size, chunk_size)`, in place where it can."""
        if self.candidates is not None:
            places = self.candidates[chunk]
            scores = torch.full_like(scores, -torch.inf).index_put_(places, scores[places])
        if self.excluded is not None:
            scores[self.excluded[chunk]] = -torch.inf
        return scores

    def forbids(self, item_ids: torch.LongTensor) -> torch.BoolTensor:
        """Which of `item_ids` `(batch_size, any)` are filtered out."""
        forbidden = torch.zeros_like(item_ids, dtype=torch.bool)
        if self.excluded_ids is not None:
            forbidden |= _contains(self.excluded_ids, item_ids)
        if self.candidate_ids is not None:
            forbidden |= ~_contains(self.candidate_ids, item_ids)
        return forbidden


def dense_top_k(
    scores: torch.Tensor,
    k: int,
    excluded_ids: torch.LongTensor | None = None,
    candidate_ids: torch.LongTensor | None = None,
) -> tuple[torch.Tensor, torch.LongTensor]:
    """
    The top-k of scores that are all there.

    Args:
        scores (`torch.Tensor` of shape `(batch_size, vocab_size)`): higher is better.
        k (`int`): length of the lists, where there are so many items.
        excluded_ids, candidate_ids (`torch.LongTensor` of shape `(batch_size, num_ids)`, *optional*):
            As for [`ItemFilter`].

    Returns:
        `tuple[torch.Tensor, torch.LongTensor]`: scores and token ids, both `(batch_size, k)`, best first; `-inf` where
        nothing is left.
    """
    scores = ItemFilter(excluded_ids, candidate_ids).mask(scores)
    return scores.topk(min(k, scores.shape[1]))


def stream_top_k(
    scores: Projection,
    k: int,
    excluded_ids: torch.LongTensor | None = None,
    candidate_ids: torch.LongTensor | None = None,
    chunk_size: int = 4096,
    group_size: int = 64,
) -> tuple[torch.Tensor, torch.LongTensor]:
    """
    As [`dense_top_k`] of scores of which never more than a chunk exists: of each group of items only the greatest
    logit is kept, and the `k` best groups, in which the `k` best items are, are multiplied out again.

    Args:
        scores ([`Projection`]):
            The states and the output layer.
        chunk_size, group_size (`int`, *optional*, default to 4096 and 64):
            Items that are projected at once, few enough to stay in a cache, a multiple of the items of a group.
    """
    values, item_ids, _ = _stream(scores, k, excluded_ids, candidate_ids, chunk_size, group_size)
    return values, item_ids


def _stream(scores, k, excluded_ids, candidate_ids, chunk_size=4096, group_size=64):
    """[`stream_top_k`], and what was subtracted of the logits, `(batch_size, 1)`."""
    states, weight, bias, special_ids = scores
    chunks = range(0, len(weight), chunk_size)
    filters = ItemFilter(excluded_ids, candidate_ids, chunks)
    normalizers, maxima, firsts, strides = [], [], [], []
    for chunk, start in enumerate(chunks):
        logits = torch.addmm(bias[start : start + chunk_size], states, weight[start : start + chunk_size].T).float()
        logits[:, [item - start for item in special_ids if start <= item < start + chunk_size]] = -torch.inf
        normalizers.append(logits.logsumexp(1))
        logits = filters.mask_chunk(logits, chunk)
        # A group is every num_groups-th item of the chunk: the maxima of whole rows at once are quick.
        num_groups = -(-logits.shape[1] // group_size)
        padding = num_groups * group_size - logits.shape[1]
        logits = nn.functional.pad(logits, (0, padding), value=-torch.inf) if padding else logits
        maxima.append(logits.view(len(states), group_size, num_groups).amax(1))
        firsts.append(torch.arange(start, start + num_groups, device=states.device))
        strides.append(torch.full_like(firsts[-1], num_groups))

    maxima, firsts, strides = torch.cat(maxima, 1), torch.cat(firsts), torch.cat(strides)
    groups = maxima.topk(min(k, maxima.shape[1])).indices
    item_ids = firsts[groups][..., None] + strides[groups][..., None] * torch.arange(group_size, device=states.device)
    item_ids = item_ids.flatten(1)
    left_out = (item_ids >= len(weight)) | torch.isin(item_ids, item_ids.new_tensor(special_ids))
    item_ids = item_ids.clamp(max=len(weight) - 1)
    left_out |= filters.forbids(item_ids)
    rows = max(1, 2**24 // (item_ids.shape[1] * states.shape[1]))  # 64 MB of item embeddings
    pairs = zip(item_ids.split(rows), states.split(rows))
    logits = torch.cat([torch.bmm(weight[ids], state[..., None])[..., 0] + bias[ids] for ids, state in pairs]).float()
    values, places = logits.masked_fill(left_out, -torch.inf).topk(min(k, len(weight), item_ids.shape[1]))
    normalizer = torch.stack(normalizers, 1).logsumexp(1, keepdim=True)
    return values - normalizer, item_ids.gather(1, places), normalizer


def stream_mixture_top_k(
    scores: Mixture,
    k: int,
    excluded_ids: torch.LongTensor | None = None,
    candidate_ids: torch.LongTensor | None = None,
) -> tuple[torch.Tensor, torch.LongTensor]:
    """As [`stream_top_k`] of a [`Mixture`]: what is new keeps the softmax's order, and the history is added to it."""
    (states, weight, bias, _), share, shares, history_ids, ages = scores
    left_out = history_ids if excluded_ids is None else torch.cat([history_ids, excluded_ids], dim=1)
    values, item_ids, normalizer = _stream(scores.projection, k, left_out, candidate_ids)
    log_probs = (weight[history_ids] @ states[..., None])[..., 0] + bias[history_ids] - normalizer
    repeated = add_history(log_probs + share[:, None], history_ids, shares)
    listed = _first_of_each(history_ids) & (ages > 0) & ~ItemFilter(excluded_ids, candidate_ids).forbids(history_ids)
    repeated = repeated.masked_fill(~listed, -torch.inf)
    values = torch.cat([values + share[:, None], repeated], dim=1)
    values, places = values.topk(min(k, len(weight)))
    return values, torch.cat([item_ids, history_ids], dim=1).gather(1, places)


def _first_of_each(item_ids: torch.LongTensor) -> torch.BoolTensor:
    """Where in `(batch_size, num_events)` an item is the first of its row."""
    items, order = item_ids.sort(dim=1, stable=True)
    first = nn.functional.pad(items[:, 1:] != items[:, :-1], (1, 0), value=True)[:, : items.shape[1]]
    return torch.zeros_like(first).scatter(1, order, first)


def _places(ids: torch.LongTensor | None, chunks: range) -> list[tuple[torch.Tensor, torch.Tensor]] | None:
    """For each chunk of items that starts there the rows and the columns of those among `ids` `(batch_size, any)`."""
    if ids is None:
        return None
    items, order = ids.flatten().sort()
    bounds = torch.tensor([*chunks, chunks.stop], device=ids.device)
    sizes = torch.searchsorted(items, bounds).diff().tolist()
    pieces = zip(order.div(ids.shape[1], rounding_mode="floor").split(sizes), items.split(sizes), chunks)
    return [(rows, columns - start) for rows, columns, start in pieces]


def _contains(ids: torch.LongTensor, wanted: torch.LongTensor) -> torch.Tensor:
    """Which of `wanted` `(batch_size, num_wanted)` are among `ids` `(batch_size, num_ids)` of the same row."""
    if not ids.shape[1]:
        return torch.zeros_like(wanted, dtype=torch.bool)
    ids = ids.sort(1).values
    places = torch.searchsorted(ids, wanted).clamp(max=ids.shape[1] - 1)
    return ids.gather(1, places) == wanted
