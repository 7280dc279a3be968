# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Top-k ranking with item filters, over dense or streamed scores, for catalogues of any size."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn
from transformers.modeling_outputs import ModelOutput

from .layers_bert4rec import add_history


# A row of candidates with this in place of a token id allows all items; -1 is what look-ups make of unknown ids.
ALL_ITEMS = -100
# Lists with limits or diversity are chosen among this many times as many items.
POOL = 10


@dataclass
class Bert4RecRecommendationOutput(ModelOutput):
    """
    What [`~RecommendationMixin.recommend`] returns.

    Args:
        item_ids (`torch.LongTensor` of shape `(batch_size, k)`):
            Token ids of the recommended items, best first (with `diversity` in the order of their choice).
        scores (`torch.FloatTensor` of shape `(batch_size, k)`):
            Their log-probabilities among all recommendable items.
    """

    item_ids: torch.LongTensor = None
    scores: torch.FloatTensor = None


class Projection(NamedTuple):
    """
    Scores that are computed in chunks: the log-softmax of `states @ weight.T + bias`.

    Args:
        states (`torch.Tensor` of shape `(batch_size, hidden_size)`): inputs of the output layer.
        weight, bias (`torch.Tensor` of shape `(vocab_size, hidden_size)` and `(vocab_size,)`): the output layer.
        special_ids (`tuple[int]`): ids that are not items.
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
        share (`torch.Tensor` of shape `(batch_size,)`): log of the softmax's mixture weight.
        history_ids, shares (`torch.Tensor` of shape `(batch_size, num_events)`): the events and their weights.
        ages (`torch.LongTensor` of shape `(batch_size, num_events)`): 0 where there is no event.
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
    Item filters and top-k, used by every ranking.

    Args:
        scores (`torch.Tensor` of shape `(batch_size, vocab_size)`, or what `top_k` takes):
            Higher is better; `-inf` where an item cannot be recommended.
        seen_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`):
            The whole histories, padded with PAD.
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
    """Turns a top-k, both `(batch_size, at most k)`, into the output; refuses short lists unless `allow_fewer`."""
    if values.isnan().any():  # topk ranks NaN first
        raise FloatingPointError("the scores are not finite: the model's weights are not, or its training diverged.")
    is_empty = values.isneginf()
    if not allow_fewer and (values.shape[1] < k or is_empty[:, -1].any()):
        raise ValueError(
            f"k is {k}, but only {int(is_empty.logical_not().sum(1).min())} items can be recommended to one of the "
            "users; ask for at most that."
        )
    return Bert4RecRecommendationOutput(item_ids=item_ids.masked_fill(is_empty, 0), scores=values)


def rerank_items(
    rank: Callable[..., Bert4RecRecommendationOutput],
    k: int,
    num_items: int,
    limits: Sequence[tuple[torch.Tensor, int]] = (),
    reorder: Callable | None = None,
    allow_fewer: bool = False,
) -> Bert4RecRecommendationOutput:
    """
    Lists of `k` items chosen from longer ones, which are extended where they do not hold enough items.

    Args:
        rank (`Callable`): [`rank_items`] of the scores, with `k` and `allow_fewer` left.
        num_items (`int`): length of the longest list.
        limits (`Sequence[tuple[torch.Tensor, int]]`, *optional*):
            For each limited feature the value ids of all items, `(vocab_size, max_values)`, 0 where there is none, and
            the number of items in a list that may share a value.
        reorder (`Callable`, *optional*):
            From the `POOL * k` best, `item_ids` and `scores`, and the number of items needed to the order in which to
            choose: places `(batch_size, that number)`. What comes after them in a longer list keeps its order.

    Raises:
        `ValueError`: if a list cannot hold `k` items, unless `allow_fewer`.
    """
    length = max(k, POOL * k)
    while True:
        length = min(length, num_items)
        item_ids, scores = rank(k=length, allow_fewer=True).to_tuple()
        is_complete = scores[:, -1].isneginf()  # the user has no more items
        if reorder is not None:
            pool = min(POOL * k, length)
            places = reorder(item_ids[:, :pool], scores[:, :pool], pool if limits else min(k, pool))
            rest = torch.arange(pool, length, device=places.device).expand(len(places), -1)
            places = torch.cat([places, rest], dim=1)
            item_ids, scores = item_ids.gather(1, places), scores.gather(1, places)
        places = _within_limits(item_ids, scores, limits, min(k, length)) if limits else None
        if places is not None:
            item_ids, scores = item_ids.gather(1, places.clamp(min=0)), scores.gather(1, places.clamp(min=0))
            scores = scores.masked_fill(places < 0, -torch.inf)
        is_short = scores[:, :k].isneginf().any(1)
        if length == num_items or not (is_short & ~is_complete).any():
            return as_lists(scores[:, :k], item_ids[:, :k], k, allow_fewer)
        length *= POOL


def _within_limits(
    item_ids: torch.LongTensor, scores: torch.Tensor, limits: Sequence[tuple[torch.Tensor, int]], k: int
) -> torch.LongTensor:
    """The first `k` places of each list that are within the limits, `(batch_size, k)`; -1 where there is none."""
    rows = torch.arange(len(item_ids), device=item_ids.device)
    values = [table[item_ids].long() for table, _ in limits]
    blocked = scores.isneginf()
    chosen = torch.full((len(item_ids), k), -1, device=item_ids.device)
    for number in range(k):
        if blocked.all():
            break
        place = (~blocked).long().argmax(1)  # the first
        is_there = ~blocked[rows, place]
        chosen[:, number] = torch.where(is_there, place, -1)
        blocked[rows, place] = True
        for of_items, (_, limit) in zip(values, limits):
            own = of_items[rows, place]
            before = of_items.gather(1, chosen[:, : number + 1, None].clamp(min=0).expand(-1, -1, of_items.shape[2]))
            shared = (before[..., None] == own[:, None, None]).any(2) & (chosen[:, : number + 1] >= 0)[..., None]
            used_up = torch.where((own > 0) & (shared.sum(1) >= limit), own, -1)
            blocked |= (of_items[..., None] == used_up[:, None, None]).flatten(2).any(2)
    return chosen


def diversify(
    item_ids: torch.LongTensor, scores: torch.Tensor, k: int, vectors: Callable, diversity: float
) -> torch.LongTensor:
    """
    Maximal marginal relevance (https://doi.org/10.1145/290941.291025), by pyversity: each item of a list is the best
    by `(1 - diversity) * relevance - diversity * similarity`, where the relevance is the item's probability over that
    of the best item, and the similarity is the largest cosine, 0 if negative, between its vector and those of the
    items before it.

    Args:
        item_ids, scores (both `(batch_size, length)`): lists as of [`rank_items`].
        k (`int`): number of items to choose.
        vectors (`Callable`): token ids of any shape to vectors `(*shape, size)`.
        diversity (`float`): from 0 to 1.

    Returns:
        `torch.LongTensor` of shape `(batch_size, k)`: places in the lists.

    Raises:
        `ImportError`: if pyversity is not installed.
    """
    try:
        from pyversity import mmr
    except ImportError:
        raise ImportError("diversity needs pyversity: pip install pyversity.") from None
    places = torch.arange(k).expand(len(item_ids), -1).clone()
    relevance = (scores - scores.amax(1, keepdim=True)).exp().double().cpu().numpy()
    lengths = scores.isneginf().logical_not().sum(1).tolist()
    embeddings = vectors(item_ids).float().cpu().numpy()
    for row, length in enumerate(lengths):
        if length:
            chosen = (embeddings[row, :length], relevance[row, :length], min(k, length))
            best = mmr(*chosen, diversity=diversity).indices
            places[row, : len(best)] = torch.from_numpy(best)
    return places.to(item_ids.device)


class ItemFilter:
    """
    The items allowed in each row's list: `candidate_ids`, or all, without `excluded_ids`.

    Args:
        excluded_ids, candidate_ids (`torch.LongTensor` of shape `(batch_size, num_ids)`, *optional*): token ids; a
            row of candidates with `ALL_ITEMS` allows all items.
        chunks (`range`, *optional*): start of each chunk of the catalogue, for masking in chunks.
    """

    def __init__(
        self,
        excluded_ids: torch.LongTensor | None,
        candidate_ids: torch.LongTensor | None,
        chunks: range | None = None,
    ):
        self.allows_all = None
        if candidate_ids is not None:
            self.allows_all = (candidate_ids == ALL_ITEMS).any(1, keepdim=True)
            candidate_ids = candidate_ids.clamp(min=0)
        self.excluded_ids, self.candidate_ids = excluded_ids, candidate_ids
        if chunks is not None:
            self.excluded, self.candidates = _places(excluded_ids, chunks), _places(self.candidate_ids, chunks)

    def mask(self, scores: torch.Tensor) -> torch.Tensor:
        """Scores `(batch_size, vocab_size)` with `-inf` for what is filtered out."""
        if self.candidate_ids is not None:
            allowed = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, self.candidate_ids, True)
            allowed |= self.allows_all
            scores = scores.masked_fill(~allowed, -torch.inf)
        return scores if self.excluded_ids is None else scores.scatter(1, self.excluded_ids, -torch.inf)

    def mask_chunk(self, scores: torch.Tensor, chunk: int) -> torch.Tensor:
        """The same for the items of a chunk, `(batch_size, chunk_size)`, in place where possible."""
        if self.candidates is not None:
            places = self.candidates[chunk]
            allowed = torch.full_like(scores, -torch.inf).index_put_(places, scores[places])
            scores = torch.where(self.allows_all, scores, allowed)
        if self.excluded is not None:
            scores[self.excluded[chunk]] = -torch.inf
        return scores

    def forbids(self, item_ids: torch.LongTensor) -> torch.BoolTensor:
        """Which of `item_ids` `(batch_size, any)` are filtered out."""
        forbidden = torch.zeros_like(item_ids, dtype=torch.bool)
        if self.excluded_ids is not None:
            forbidden |= _contains(self.excluded_ids, item_ids)
        if self.candidate_ids is not None:
            forbidden |= ~_contains(self.candidate_ids, item_ids) & ~self.allows_all
        return forbidden


def dense_top_k(
    scores: torch.Tensor,
    k: int,
    excluded_ids: torch.LongTensor | None = None,
    candidate_ids: torch.LongTensor | None = None,
) -> tuple[torch.Tensor, torch.LongTensor]:
    """
    The top-k of dense scores.

    Args:
        scores (`torch.Tensor` of shape `(batch_size, vocab_size)`): higher is better.
        k (`int`): length of the lists, capped at the number of items.
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
    As [`dense_top_k`], with only one chunk of the scores in memory: only the maximum logit of each group of items is
    kept, and the logits of the `k` best groups, which contain the `k` best items, are recomputed.

    Args:
        scores ([`Projection`]):
            The states and the output layer.
        chunk_size, group_size (`int`, *optional*, default to 4096 and 64):
            Items projected at once (few enough to fit in a cache, a multiple of `group_size`); items per group.
    """
    values, item_ids, _ = _stream(scores, k, excluded_ids, candidate_ids, chunk_size, group_size)
    return values, item_ids


def _stream(scores, k, excluded_ids, candidate_ids, chunk_size=4096, group_size=64):
    """[`stream_top_k`], and the log-normaliser subtracted from the logits, `(batch_size, 1)`."""
    states, weight, bias, special_ids = scores
    chunks = range(0, len(weight), chunk_size)
    filters = ItemFilter(excluded_ids, candidate_ids, chunks)
    normalizers, maxima, group_starts, group_strides = [], [], [], []
    for chunk, start in enumerate(chunks):
        logits = torch.addmm(bias[start : start + chunk_size], states, weight[start : start + chunk_size].T).float()
        logits[:, [item - start for item in special_ids if start <= item < start + chunk_size]] = -torch.inf
        normalizers.append(logits.logsumexp(1))
        logits = filters.mask_chunk(logits, chunk)
        # A group is every num_groups-th item of the chunk: the maximum over contiguous rows is fast.
        num_groups = -(-logits.shape[1] // group_size)
        padding = num_groups * group_size - logits.shape[1]
        logits = nn.functional.pad(logits, (0, padding), value=-torch.inf) if padding else logits
        maxima.append(logits.view(len(states), group_size, num_groups).amax(1))
        group_starts.append(torch.arange(start, start + num_groups, device=states.device))
        group_strides.append(torch.full_like(group_starts[-1], num_groups))

    maxima, group_starts, group_strides = torch.cat(maxima, 1), torch.cat(group_starts), torch.cat(group_strides)
    groups = maxima.topk(min(k, maxima.shape[1])).indices
    item_ids = group_starts[groups][..., None] + group_strides[groups][..., None] * torch.arange(
        group_size, device=states.device
    )
    item_ids = item_ids.flatten(1)
    excluded = (item_ids >= len(weight)) | torch.isin(item_ids, item_ids.new_tensor(special_ids))
    item_ids = item_ids.clamp(max=len(weight) - 1)
    excluded |= filters.forbids(item_ids)
    rows = max(1, 2**24 // (item_ids.shape[1] * states.shape[1]))  # 64 MB of item embeddings
    pairs = zip(item_ids.split(rows), states.split(rows))
    logits = torch.cat([torch.bmm(weight[ids], state[..., None])[..., 0] + bias[ids] for ids, state in pairs]).float()
    values, places = logits.masked_fill(excluded, -torch.inf).topk(min(k, len(weight), item_ids.shape[1]))
    normalizer = torch.stack(normalizers, 1).logsumexp(1, keepdim=True)
    return values - normalizer, item_ids.gather(1, places), normalizer


def stream_mixture_top_k(
    scores: Mixture,
    k: int,
    excluded_ids: torch.LongTensor | None = None,
    candidate_ids: torch.LongTensor | None = None,
) -> tuple[torch.Tensor, torch.LongTensor]:
    """As [`stream_top_k`] for a [`Mixture`]: the best new items by softmax, merged with the history items."""
    (states, weight, bias, _), share, shares, history_ids, ages = scores
    excluded = history_ids if excluded_ids is None else torch.cat([history_ids, excluded_ids], dim=1)
    values, item_ids, normalizer = _stream(scores.projection, k, excluded, candidate_ids)
    log_probs = (weight[history_ids] @ states[..., None])[..., 0] + bias[history_ids] - normalizer
    repeated = add_history(log_probs + share[:, None], history_ids, shares)
    is_allowed = (
        _is_first_occurrence(history_ids) & (ages > 0) & ~ItemFilter(excluded_ids, candidate_ids).forbids(history_ids)
    )
    repeated = repeated.masked_fill(~is_allowed, -torch.inf)
    values = torch.cat([values + share[:, None], repeated], dim=1)
    values, places = values.topk(min(k, len(weight)))
    return values, torch.cat([item_ids, history_ids], dim=1).gather(1, places)


def _is_first_occurrence(item_ids: torch.LongTensor) -> torch.BoolTensor:
    """Mask `(batch_size, num_events)` of each item's first occurrence in its row."""
    items, order = item_ids.sort(dim=1, stable=True)
    first = nn.functional.pad(items[:, 1:] != items[:, :-1], (1, 0), value=True)[:, : items.shape[1]]
    return torch.zeros_like(first).scatter(1, order, first)


def _places(ids: torch.LongTensor | None, chunks: range) -> list[tuple[torch.Tensor, torch.Tensor]] | None:
    """For each chunk of items, the rows and the columns in it of the `ids` `(batch_size, any)` that it contains."""
    if ids is None:
        return None
    items, order = ids.flatten().sort()
    bounds = torch.tensor([*chunks, chunks.stop], device=ids.device)
    sizes = torch.searchsorted(items, bounds).diff().tolist()
    id_chunks = zip(order.div(ids.shape[1], rounding_mode="floor").split(sizes), items.split(sizes), chunks)
    return [(rows, columns - start) for rows, columns, start in id_chunks]


def _contains(ids: torch.LongTensor, wanted: torch.LongTensor) -> torch.Tensor:
    """Which of `wanted` `(batch_size, num_wanted)` are among `ids` `(batch_size, num_ids)` of the same row."""
    if not ids.shape[1]:
        return torch.zeros_like(wanted, dtype=torch.bool)
    ids = ids.sort(1).values
    places = torch.searchsorted(ids, wanted).clamp(max=ids.shape[1] - 1)
    return ids.gather(1, places) == wanted
