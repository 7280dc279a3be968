# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""From scores to lists: filters and top-k, of catalogues of any size."""

from dataclasses import dataclass

import torch
from torch import nn
from transformers.modeling_outputs import ModelOutput


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


class RecommendationMixin:
    """What every recommender does, by its `score`."""

    def score(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        user_features: torch.LongTensor | None = None,
    ) -> torch.Tensor:
        """
        Scores every item as the next one of each history, by the state of a MASK appended to it.

        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`):
                Whole histories, oldest item first, of any length (0 too); the encoder sees the last
                `max_position_embeddings - 1` items.
            attention_mask (`torch.Tensor` of shape `(batch_size, sequence_length)`, *optional*):
                0 for padding; by default PAD is padding.
            user_features (`torch.LongTensor` of shape `(batch_size, num_user_features)`, *optional*):
                Value ids of the user's features.

        Returns:
            `torch.FloatTensor` of shape `(batch_size, vocab_size)`: log-probabilities over the recommendable items,
            `-inf` for PAD, MASK and UNK.
        """
        raise NotImplementedError

    @torch.no_grad()
    def recommend(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        user_features: torch.LongTensor | None = None,
        k: int = 10,
        exclude_seen: bool = False,
        candidate_ids: torch.LongTensor | None = None,
        allow_fewer: bool = False,
    ) -> Bert4RecRecommendationOutput:
        """
        Recommends the `k` best next items of each history. Items of the history may come again unless `exclude_seen`.

        Args:
            input_ids, attention_mask, user_features:
                As for [`~RecommendationMixin.score`].
            k (`int`, *optional*, defaults to 10):
                Number of items.
            exclude_seen (`bool`, *optional*, defaults to `False`):
                Leave out every item of the whole history.
            candidate_ids (`torch.LongTensor`, *optional*):
                Recommend among these items only; shape `(num_candidates,)` or `(batch_size, num_candidates)`.
            allow_fewer (`bool`, *optional*, defaults to `False`):
                Where fewer than `k` items can be recommended, end a list with PAD, of score `-inf`.

        Raises:
            `ValueError`: if `k` is below 1 or beyond the number of items that can be recommended, or for ids that the
            model does not have.
        """
        self.check_inputs(input_ids, attention_mask, user_features, candidate_ids)
        seen_ids = self.seen_items(input_ids, attention_mask)
        scores = self.score(input_ids, attention_mask, user_features)
        return rank_items(scores, seen_ids, k, exclude_seen, candidate_ids, allow_fewer)

    def check_inputs(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        user_features: torch.LongTensor | None = None,
        candidate_ids: torch.LongTensor | None = None,
    ):
        """Raises `ValueError` for what [`~RecommendationMixin.recommend`] cannot take; a GPU would end the process."""
        _check_ids("input_ids", input_ids, (2,), self.config.vocab_size)
        if not len(input_ids):
            raise ValueError("input_ids has no rows; there is nobody to recommend to.")
        if attention_mask is not None and attention_mask.shape != input_ids.shape:
            raise ValueError(
                f"attention_mask has shape {tuple(attention_mask.shape)}, input_ids {tuple(input_ids.shape)}."
            )
        if candidate_ids is not None:
            _check_ids("candidate_ids", candidate_ids, (1, 2), self.config.vocab_size)
        if user_features is not None:
            names = [feature["name"] for feature in self.config.user_features]
            _check_ids("user_features", user_features, (2,))
            if user_features.shape != (len(input_ids), len(names)):
                raise ValueError(
                    f"user_features has shape {tuple(user_features.shape)}; {len(input_ids)} users have "
                    f"{len(names)} user features each ({', '.join(names)})."
                )
            for feature, values in zip(self.config.user_features, user_features.unbind(1)):
                _check_ids(f"user feature {feature['name']!r}", values, (1,), feature["num_values"])

    def seen_items(self, input_ids: torch.LongTensor, attention_mask: torch.Tensor | None = None) -> torch.LongTensor:
        """`input_ids` with PAD where `attention_mask` says that there is nothing."""
        if attention_mask is None:
            return input_ids
        return input_ids.masked_fill(attention_mask == 0, self.config.pad_token_id)


def _check_ids(name: str, ids: torch.Tensor, dimensions: tuple[int, ...], end: int | None = None):
    """Raises `ValueError` for what is no tensor of ids below `end`."""
    if not isinstance(ids, torch.Tensor) or ids.dtype not in (torch.int64, torch.int32) or ids.ndim not in dimensions:
        what = f"{ids.ndim}-d {ids.dtype}" if isinstance(ids, torch.Tensor) else type(ids).__name__
        shapes = " or ".join(f"{number}-d" for number in dimensions)
        raise ValueError(f"{name} must be a {shapes} tensor of integers, not {what}.")
    if end is not None and (outside := (ids < 0) | (ids >= end)).any():
        raise ValueError(f"{name} has the id {int(ids[outside][0])}; the model's are from 0 to {end - 1}.")


def rank_items(
    scores: torch.Tensor,
    input_ids: torch.LongTensor,
    k: int = 10,
    exclude_seen: bool = False,
    candidate_ids: torch.LongTensor | None = None,
    allow_fewer: bool = False,
) -> Bert4RecRecommendationOutput:
    """
    The filters and the top-k that every ranking shares.

    Args:
        scores (`torch.Tensor` of shape `(batch_size, vocab_size)`):
            Higher is better; `-inf` where an item cannot be recommended.
        input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`):
            The whole histories, PAD where there is nothing.
        k (`int`, *optional*, defaults to 10):
            Number of items a list holds.
        exclude_seen (`bool`, *optional*, defaults to `False`):
            Leave out the items of `input_ids`.
        candidate_ids (`torch.LongTensor` of shape `(num_candidates,)` or `(batch_size, num_candidates)`, *optional*):
            Recommend nothing else; PAD is ignored.
        allow_fewer (`bool`, *optional*, defaults to `False`):
            Where fewer than `k` items can be recommended, end a list with PAD, of score `-inf`, instead of raising.

    Raises:
        `ValueError`: if `k` is below 1 or beyond the number of items that can be recommended to a row.
    """
    if k < 1:
        raise ValueError(f"k is {k}; it must be at least 1.")
    if exclude_seen:
        scores = scores.scatter(1, input_ids, -torch.inf)
    if candidate_ids is not None:
        candidate_ids = candidate_ids.expand(len(scores), -1)
        allowed = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, candidate_ids, True)
        scores = scores.masked_fill(~allowed, -torch.inf)
    return as_lists(*scores.topk(min(k, scores.shape[1])), k, allow_fewer)


def as_lists(
    values: torch.Tensor, item_ids: torch.LongTensor, k: int, allow_fewer: bool = False
) -> Bert4RecRecommendationOutput:
    """A top-k, both `(batch_size, at most k)`, as lists of `k`; see [`rank_items`] for those that have fewer."""
    nothing = values.isneginf()
    if not allow_fewer and (values.shape[1] < k or nothing[:, -1].any()):
        raise ValueError(
            f"k is {k}, but only {int(nothing.logical_not().sum(1).min())} items can be recommended to one of the "
            "users; ask for at most that."
        )
    return Bert4RecRecommendationOutput(item_ids=item_ids.masked_fill(nothing, 0), scores=values)


@torch.no_grad()
def stream_top_k(
    states: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    k: int = 10,
    never: tuple[int, ...] = (),
    seen_ids: torch.LongTensor | None = None,
    candidate_ids: torch.LongTensor | None = None,
    normalize: bool = True,
    chunk_size: int = 4096,
    group_size: int = 64,
) -> tuple[torch.Tensor, torch.LongTensor, torch.Tensor]:
    """
    The top-k of `states @ weight.T + bias`, of which never more than a chunk exists: of each group of items only the
    greatest logit is kept, and the `k` best groups, in which the `k` best items are, are multiplied out again.

    Args:
        states (`torch.Tensor` of shape `(batch_size, hidden_size)`):
            What is projected.
        weight, bias (`torch.Tensor` of shape `(vocab_size, hidden_size)` and `(vocab_size,)`):
            The output layer.
        k (`int`, *optional*, defaults to 10):
            Length of the lists, where there are so many items.
        never (`tuple[int]`, *optional*):
            Ids that are no items.
        seen_ids (`torch.LongTensor` of shape `(batch_size, num_seen)`, *optional*):
            Items to leave out of a row's list.
        candidate_ids (`torch.LongTensor` of shape `(num_candidates,)` or `(batch_size, num_candidates)`, *optional*):
            The only items of a row's list.
        normalize (`bool`, *optional*, defaults to `True`):
            Give log-probabilities among all items, listed or not, instead of logits.
        chunk_size, group_size (`int`, *optional*, default to 4096 and 64):
            Items that are projected at once, few enough to stay in a cache, a multiple of the items of a group.

    Returns:
        `tuple[torch.Tensor, torch.LongTensor, torch.Tensor]`: values and item ids, both `(batch_size, k)`, best first;
        `-inf` where nothing is left. Last what was subtracted of the logits, `(batch_size, 1)`.

    Raises:
        `ValueError`: if `k` is below 1.
    """
    if k < 1:
        raise ValueError(f"k is {k}; it must be at least 1.")
    seen, candidates = (None if ids is None else ids.expand(len(states), -1) for ids in (seen_ids, candidate_ids))
    starts = range(0, len(weight), chunk_size)
    seen_places, candidate_places = (_places(ids, starts) for ids in (seen, candidates))
    normalizers, maxima, firsts, strides = [], [], [], []
    for chunk, start in enumerate(starts):
        logits = torch.addmm(bias[start : start + chunk_size], states, weight[start : start + chunk_size].T).float()
        logits[:, [item - start for item in never if start <= item < start + chunk_size]] = -torch.inf
        if normalize:
            normalizers.append(logits.logsumexp(1))
        if candidates is not None:
            places = candidate_places[chunk]
            logits = torch.full_like(logits, -torch.inf).index_put_(places, logits[places])
        if seen is not None:
            logits[seen_places[chunk]] = -torch.inf
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
    left_out = (item_ids >= len(weight)) | torch.isin(item_ids, item_ids.new_tensor(never))
    item_ids = item_ids.clamp(max=len(weight) - 1)
    if seen is not None:
        left_out |= _contains(seen, item_ids)
    if candidates is not None:
        left_out |= ~_contains(candidates, item_ids)
    rows = max(1, 2**24 // (item_ids.shape[1] * states.shape[1]))  # 64 MB of item embeddings
    pairs = zip(item_ids.split(rows), states.split(rows))
    logits = torch.cat([torch.bmm(weight[ids], state[..., None])[..., 0] + bias[ids] for ids, state in pairs]).float()
    values, places = logits.masked_fill(left_out, -torch.inf).topk(min(k, len(weight), item_ids.shape[1]))
    normalizer = (
        torch.stack(normalizers, 1).logsumexp(1, keepdim=True) if normalize else values.new_zeros(len(values), 1)
    )
    return values - normalizer, item_ids.gather(1, places), normalizer


def add_history(log_probs: torch.Tensor, item_ids: torch.LongTensor, shares: torch.Tensor) -> torch.Tensor:
    """
    Adds to what a softmax gives the items of a history the shares of all events of the same item.

    Args:
        log_probs (`torch.Tensor` of shape `(num_states, num_events)`): of the item of each event.
        item_ids, shares (`torch.Tensor` of shape `(num_states, num_events)`): the events.
    """
    rows = torch.arange(len(item_ids), device=item_ids.device)[:, None]
    keys, places = (
        (rows * (item_ids.max() + 1 if item_ids.numel() else 1) + item_ids).flatten().unique(return_inverse=True)
    )
    shares = shares.new_zeros(len(keys)).index_add_(0, places, shares.flatten())[places].view_as(shares)
    return torch.logaddexp(log_probs, log_of_shares(shares))


def log_of_shares(shares: torch.Tensor) -> torch.Tensor:
    """The logarithm, whose gradient is 0 and not NaN where a share is 0."""
    return torch.where(shares > 0, shares, 1.0).log().masked_fill(shares <= 0, -torch.inf)


def first_of_each(item_ids: torch.LongTensor, candidate_ids: torch.LongTensor | None = None) -> torch.BoolTensor:
    """Where in `(batch_size, num_events)` an item, if it is a candidate, is the first of its row."""
    items, order = item_ids.sort(dim=1, stable=True)
    first = nn.functional.pad(items[:, 1:] != items[:, :-1], (1, 0), value=True)[:, : items.shape[1]]
    first = torch.zeros_like(first).scatter(1, order, first)
    return first if candidate_ids is None else first & _contains(candidate_ids.expand(len(item_ids), -1), item_ids)


def _places(ids: torch.LongTensor | None, starts: range) -> list[tuple[torch.Tensor, torch.Tensor]] | None:
    """For each chunk of items that starts there the rows and the columns of those among `ids` `(batch_size, any)`."""
    if ids is None:
        return None
    items, order = ids.flatten().sort()
    bounds = torch.tensor([*starts, starts.stop], device=ids.device)
    sizes = torch.searchsorted(items, bounds).diff().tolist()
    pieces = zip(order.div(ids.shape[1], rounding_mode="floor").split(sizes), items.split(sizes), starts)
    return [(rows, columns - start) for rows, columns, start in pieces]


def _contains(ids: torch.LongTensor, wanted: torch.LongTensor) -> torch.Tensor:
    """Which of `wanted` `(batch_size, num_wanted)` are among `ids` `(batch_size, num_ids)` of the same row."""
    if not ids.shape[1]:
        return torch.zeros_like(wanted, dtype=torch.bool)
    ids = ids.sort(1).values
    places = torch.searchsorted(ids, wanted).clamp(max=ids.shape[1] - 1)
    return ids.gather(1, places) == wanted
