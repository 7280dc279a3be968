# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Scoring and recommending from histories, shared by single models and ensembles."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, wraps
from typing import TypeVar

import torch
from torch import nn
from transformers.modeling_outputs import ModelOutput

from .configuration_bert4rec import feature_sizes
from .layers_bert4rec import is_item, positions_from_the_newest
from .ranking_bert4rec import (
    ALL_ITEMS,
    Bert4RecRecommendationOutput,
    Mixture,
    Projection,
    dense_top_k,
    diversify,
    rank_items,
    rerank_items,
    stream_mixture_top_k,
    stream_top_k,
)


# Above this number of items `recommend` never holds all scores in memory, unless they are normalised over unseen ones.
STREAM_FROM = 2**16

Method = TypeVar("Method", bound=Callable)


def gather_parameters(method: Method) -> Method:
    """FSDP2 gathers sharded parameters around `forward`; this has it gather them around another method too."""

    @wraps(method)
    def wrapper(self, *args, **kwargs):
        if hasattr(self, "unshard") and method.__name__ not in vars(self):  # a model that fully_shard has wrapped
            from torch.distributed.fsdp import register_fsdp_forward_method

            register_fsdp_forward_method(self, method.__name__)
            return getattr(self, method.__name__)(*args, **kwargs)
        return method(self, *args, **kwargs)

    return wrapper


@dataclass
class Bert4RecExplanationOutput(ModelOutput):
    """
    What [`~RecommendationMixin.explain`] returns.

    Args:
        scores (`torch.FloatTensor` of shape `(num_items,)`):
            The items' log-probabilities after the whole history.
        raised (`torch.FloatTensor` of shape `(num_items, sequence_length)`):
            How much each event raises them; negative where it lowers them, 0 at padding.
        repeat_share (`torch.FloatTensor` of shape `(num_items,)`, *optional*):
            The share of an item's probability that comes from its being in the history: with a repeat prior only.
    """

    scores: torch.FloatTensor = None
    raised: torch.FloatTensor = None
    repeat_share: torch.FloatTensor | None = None


class RecommendationMixin:
    """Recommending with `score`, for every recommender."""

    def score(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        user_features: torch.LongTensor | None = None,
        timestamps: torch.LongTensor | None = None,
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
            timestamps (`torch.LongTensor` of shape `(batch_size, sequence_length + 1)`, *optional*):
                For a model with `config.time_intervals`: when each event was, and last the moment to recommend for,
                in seconds since 1970, 0 where it is unknown.

        Returns:
            `torch.FloatTensor` of shape `(batch_size, vocab_size)`: log-probabilities over the recommendable items,
            `-inf` for PAD, MASK and UNK, and with `config.exclude_seen_in_loss` for the history.
        """
        raise NotImplementedError

    @torch.no_grad()
    @gather_parameters
    def recommend(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        user_features: torch.LongTensor | None = None,
        k: int = 10,
        exclude_seen: bool = False,
        candidate_ids: torch.LongTensor | None = None,
        exclude_ids: torch.LongTensor | None = None,
        allow_fewer: bool = False,
        max_per: dict[str, int] | None = None,
        diversity: float = 0.0,
        timestamps: torch.LongTensor | None = None,
    ) -> Bert4RecRecommendationOutput:
        """
        Recommends the `k` best next items of each history. Items of the history are allowed unless `exclude_seen`.

        Args:
            input_ids, attention_mask, user_features, timestamps:
                As for [`~RecommendationMixin.score`].
            k (`int`, *optional*, defaults to 10):
                Number of items.
            exclude_seen (`bool`, *optional*, defaults to `False`):
                Leave out every item of the whole history; always so with `config.exclude_seen_in_loss`.
            candidate_ids (`torch.LongTensor` of shape `(num_ids,)` or `(batch_size, num_ids)`, *optional*):
                Recommend among these items only. PAD is ignored; a row with -100 allows all items.
            exclude_ids (`torch.LongTensor` of shape `(num_ids,)` or `(batch_size, num_ids)`, *optional*):
                Leave out these items. PAD is ignored.
            allow_fewer (`bool`, *optional*, defaults to `False`):
                Where fewer than `k` items can be recommended, pad the list with PAD, of score `-inf`.
            max_per (`dict[str, int]`, *optional*):
                For an item feature of the model, the number of items in a list that may share a value, as in
                `{"genre_mid": 3}`. The best items within the limits are recommended.
            diversity (`float`, *optional*, defaults to 0.0):
                From 0, the best items, to 1, the most different ones, by maximal marginal relevance among the `10 * k`
                best; see [`diversify`](ranking_bert4rec.py). Needs pyversity.

        Raises:
            `ValueError`: if `k` is below 1 or beyond the number of items that can be recommended, or for ids or
            features that the model does not have.
            `FloatingPointError`: if a score is NaN, as after a training that diverged.
        """
        self.check_inputs(input_ids, attention_mask, user_features, candidate_ids, exclude_ids, timestamps)
        limits = [(self.feature_values(name), _check_limit(name, limit)) for name, limit in (max_per or {}).items()]
        if not 0 <= diversity <= 1:
            raise ValueError(f"diversity is {diversity}; it must be from 0 to 1.")
        exclude_seen = exclude_seen or self.config.exclude_seen_in_loss
        seen_ids = self.seen_items(input_ids, attention_mask)
        scores, top_k = self.prepare_ranking(input_ids, attention_mask, user_features, timestamps)
        filters = {"exclude_seen": exclude_seen, "candidate_ids": candidate_ids, "exclude_ids": exclude_ids}
        rank = partial(rank_items, scores, seen_ids, **filters, top_k=top_k)
        if not limits and not diversity:
            return rank(k=k, allow_fewer=allow_fewer)
        reorder = partial(diversify, vectors=self.unit_vectors, diversity=diversity) if diversity else None
        return rerank_items(rank, k, self.config.vocab_size, limits, reorder, allow_fewer)

    def feature_values(self, name: str) -> torch.Tensor:
        """
        The value ids of all items of an item feature, `(vocab_size, max_values)`, 0 where there is none.

        Raises:
            `ValueError`: if the model does not have the feature.
        """
        raise NotImplementedError

    def unit_vectors(self, item_ids: torch.LongTensor) -> torch.Tensor:
        """Vectors of length 1 of items, `(*item_ids.shape, size)`: their inner product is the items' similarity."""
        raise NotImplementedError

    @torch.no_grad()
    @gather_parameters
    def similar_items(
        self, item_ids: torch.LongTensor, k: int = 10, chunk_size: int = 2**16
    ) -> Bert4RecRecommendationOutput:
        """
        The `k` items most similar to each of some items, by the cosine of their rows of the output layer; the item
        itself is left out. For an ensemble it is the mean over the members.

        Args:
            item_ids (`torch.LongTensor` of shape `(batch_size,)`): token ids of items.

        Returns:
            [`Bert4RecRecommendationOutput`] with `item_ids` and `scores`, the cosines, both `(batch_size, k)`.

        Raises:
            `ValueError`: for ids that are not items, or for `k` below 1 or beyond the number of other items.
        """
        _check_ids("item_ids", item_ids, (1,), self.config.vocab_size)
        if not is_item(self.config, item_ids).all():
            raise ValueError("item_ids holds PAD, MASK or UNK, which are like no item.")
        if not 1 <= k <= self.config.vocab_size - 4:
            raise ValueError(
                f"k is {k}; it must be from 1 to {self.config.vocab_size - 4}, the number of other items."
            )
        item_ids = item_ids.long()
        queries, similar, values = self.unit_vectors(item_ids), None, None
        for start in range(0, self.config.vocab_size, chunk_size):
            others = torch.arange(start, min(start + chunk_size, self.config.vocab_size), device=item_ids.device)
            cosines = (queries @ self.unit_vectors(others).T).float()
            cosines = cosines.masked_fill(~is_item(self.config, others) | (others == item_ids[:, None]), -torch.inf)
            others = others.expand(len(item_ids), -1)
            if similar is not None:
                others, cosines = torch.cat([similar, others], 1), torch.cat([values, cosines], 1)
            values, places = cosines.topk(min(k, cosines.shape[1]))
            similar = others.gather(1, places)
        return Bert4RecRecommendationOutput(item_ids=similar, scores=values)

    @torch.no_grad()
    @gather_parameters
    def explain(
        self,
        input_ids: torch.LongTensor,
        item_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        user_features: torch.LongTensor | None = None,
        batch_size: int = 64,
        timestamps: torch.LongTensor | None = None,
    ) -> "Bert4RecExplanationOutput":
        """
        How much each event of one user's history raises the log-probability of items: their score after the whole
        history, less that without the event. If an item occurs several times, each occurrence is left out on its own.

        Args:
            input_ids (`torch.LongTensor` of shape `(1, sequence_length)`): the history, as for `recommend`.
            item_ids (`torch.LongTensor` of shape `(num_items,)`): token ids of the items to explain.
            batch_size (`int`, *optional*, defaults to 64): events that are left out at once.
            timestamps (`torch.LongTensor` of shape `(1, sequence_length + 1)`, *optional*): as for `recommend`.

        Raises:
            `ValueError`: for more than one user, or for ids that are not items.
        """
        self.check_inputs(input_ids, attention_mask, user_features, timestamps=timestamps)
        _check_ids("item_ids", item_ids, (1,), self.config.vocab_size)
        if len(input_ids) != 1 or not is_item(self.config, item_ids).all():
            raise ValueError("explain takes the history of one user, and items: not PAD, MASK or UNK.")
        history = self.seen_items(input_ids, attention_mask)
        places = history[0].nonzero()[:, 0]
        batch_size = max(1, min(batch_size, 2**24 // self.config.vocab_size))  # 64 MB of scores
        scores = [self.score(history, None, user_features, timestamps)[:, item_ids]]
        for left_out in places.split(batch_size) if len(places) else ():
            rows = history.repeat(len(left_out), 1)
            rows.scatter_(1, left_out[:, None], self.config.pad_token_id)
            same = [None if part is None else part.expand(len(rows), -1) for part in (user_features, timestamps)]
            scores.append(self.score(rows, None, *same)[:, item_ids])
        scores = torch.cat(scores)
        raised = scores.new_zeros(len(item_ids), history.shape[1])
        raised[:, places] = (scores[:1] - scores[1:]).T
        raised[scores[0].isneginf()] = 0.0  # nothing raises what is never recommended
        repeated = self.repeated_probabilities(history, item_ids, user_features, timestamps)
        repeat_share = None if repeated is None else (repeated.log() - scores[0]).exp()
        return Bert4RecExplanationOutput(scores=scores[0], raised=raised, repeat_share=repeat_share)

    def repeated_probabilities(
        self,
        input_ids: torch.LongTensor,
        item_ids: torch.LongTensor,
        user_features: torch.LongTensor | None = None,
        timestamps: torch.LongTensor | None = None,
    ) -> torch.Tensor | None:
        """The part of the probabilities of items `(num_items,)` that a repeat prior gives them; `None` without one."""
        raise NotImplementedError

    def prepare_ranking(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        user_features: torch.LongTensor | None = None,
        timestamps: torch.LongTensor | None = None,
    ) -> tuple[torch.Tensor | Projection | Mixture, Callable]:
        """The `scores` and the `top_k` of [`rank_items`]."""
        return self.score(input_ids, attention_mask, user_features, timestamps), dense_top_k

    def check_inputs(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        user_features: torch.LongTensor | None = None,
        candidate_ids: torch.LongTensor | None = None,
        exclude_ids: torch.LongTensor | None = None,
        timestamps: torch.LongTensor | None = None,
    ) -> None:
        """Raises `ValueError` for invalid inputs of [`~RecommendationMixin.recommend`]: a GPU ends the process."""
        _check_ids("input_ids", input_ids, (2,), self.config.vocab_size)
        if not len(input_ids):
            raise ValueError("input_ids has no rows; there is nobody to recommend to.")
        if attention_mask is not None and attention_mask.shape != input_ids.shape:
            raise ValueError(
                f"attention_mask has shape {tuple(attention_mask.shape)}, input_ids {tuple(input_ids.shape)}."
            )
        for name, ids in (("candidate_ids", candidate_ids), ("exclude_ids", exclude_ids)):
            if ids is not None:
                is_there = ids != ALL_ITEMS if name == "candidate_ids" else True
                _check_ids(name, ids, (1, 2), self.config.vocab_size, is_there)
                if ids.ndim == 2 and len(ids) != len(input_ids):
                    raise ValueError(f"{name} has {len(ids)} rows, input_ids {len(input_ids)}.")
        if timestamps is not None:
            _check_ids("timestamps", timestamps, (2,))
            if self.config.time_intervals == "none":
                raise ValueError("the model does not read timestamps: its time_intervals is 'none'.")
            if timestamps.shape != (len(input_ids), input_ids.shape[1] + 1):
                raise ValueError(
                    f"timestamps has shape {tuple(timestamps.shape)}, input_ids {tuple(input_ids.shape)}; it needs a "
                    "column more, the moment to recommend for."
                )
        if user_features is not None:
            names = [feature["name"] for feature in self.config.user_features]
            sizes = feature_sizes(self.config.user_features)
            _check_ids("user_features", user_features, (2,))
            if user_features.shape != (len(input_ids), sum(sizes)):
                raise ValueError(
                    f"user_features has shape {tuple(user_features.shape)}; {len(input_ids)} users have "
                    f"{sum(sizes)} values of user features each ({', '.join(names)})."
                )
            for feature, values in zip(self.config.user_features, user_features.split(sizes, dim=1)):
                _check_ids(f"user feature {feature['name']!r}", values, (2,), feature["num_values"])

    def seen_items(self, input_ids: torch.LongTensor, attention_mask: torch.Tensor | None = None) -> torch.LongTensor:
        """`input_ids` with PAD where `attention_mask` is 0."""
        input_ids = input_ids.long()
        if attention_mask is None:
            return input_ids
        return input_ids.masked_fill(attention_mask == 0, self.config.pad_token_id)


class NextItemMixin(RecommendationMixin):
    """Recommending by one model's hidden state at the next item."""

    @torch.no_grad()
    @gather_parameters
    def score(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        user_features: torch.LongTensor | None = None,
        timestamps: torch.LongTensor | None = None,
    ) -> torch.Tensor:
        return self.log_probabilities(*self.next_item_states(input_ids, attention_mask, user_features, timestamps))

    def log_probabilities(self, hidden_states: torch.Tensor, *history: torch.LongTensor) -> torch.Tensor:
        """
        States `(num_states, hidden_size)`, and the history at each state, if the model has a repeat prior or leaves
        seen items out, to log-probabilities `(num_states, vocab_size)`; see `score`.
        """
        logits = self.project(hidden_states)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if self.config.exclude_seen_in_loss:
            logits, history = logits.scatter(1, history[0], -torch.inf), ()
        for special_id in self.special_ids:  # indexing by a list would copy it to the device
            logits[:, special_id] = -torch.inf
        log_probs = logits.log_softmax(-1)
        return self.repeat_prior.mix(log_probs, hidden_states, *history) if history else log_probs

    def next_item_states(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        user_features: torch.LongTensor | None = None,
        timestamps: torch.LongTensor | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """
        The arguments of [`~Bert4RecForMaskedLM.log_probabilities`]: the encoder's states `(batch_size, hidden_size)`
        at the next item and, with a repeat prior or without seen items, the whole history.
        """
        history = ()
        item_ids = self.seen_items(input_ids, attention_mask)
        if self.repeat_prior is not None:
            ages = positions_from_the_newest(item_ids != self.config.pad_token_id) + 1
            history = item_ids, ages.masked_fill(~is_item(self.config, item_ids), 0)
        elif self.config.exclude_seen_in_loss:
            history = (item_ids,)
        input_ids, attention_mask, last, timestamps = self.add_mask(item_ids, attention_mask, timestamps)
        inputs = {"user_features": user_features, "timestamps": timestamps, "output_positions": last}
        return self.model(input_ids, attention_mask, **inputs)[0][:, 0], *history

    def add_mask(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        timestamps: torch.LongTensor | None = None,
    ) -> tuple[torch.LongTensor, torch.Tensor, torch.LongTensor, torch.LongTensor | None]:
        """
        The newest items of histories padded on either side, followed by MASK and aligned right. If the model is
        causal, they are aligned left, and MASK stands before histories that are not truncated.

        Returns:
            Token ids and attention mask, `(batch_size, width)`, the last column of each row, `(batch_size, 1)`, and
            the moments of [`Bert4RecModel.forward`] `(batch_size, width)`, if `timestamps` are given as for `score`.
        """
        if attention_mask is None:
            attention_mask = input_ids != self.config.pad_token_id
        width = min(input_ids.shape[1] + 1, self.config.max_position_embeddings)
        if self.config.is_causal:
            newest = last = attention_mask.long().sum(1, keepdim=True).clamp(max=width - 1)
        else:
            last = input_ids.new_full((len(input_ids), 1), width - 1)
            newest = last - 1
        columns = newest - positions_from_the_newest(attention_mask)
        # Padding and items that are too old go to an extra column, which is cut off.
        columns = torch.where(attention_mask.bool() & (columns >= 0), columns, width)
        masked = input_ids.new_full((len(input_ids), width + 1), self.config.pad_token_id)
        masked[:, 0 if self.config.is_causal else width - 1] = self.config.mask_token_id
        masked = masked.scatter(1, columns, input_ids)[:, :width]
        if timestamps is not None:
            events, moment = timestamps[:, :-1], timestamps[:, -1:]
            moments = events.new_zeros(len(events), width + 1).scatter(1, columns, events)
            if self.config.is_causal:  # a position is about the next event
                moments = nn.functional.pad(moments[:, 1:-1], (0, 1))
            timestamps = moments[:, :width].scatter(1, last, moment)
        return masked, (masked != self.config.pad_token_id).long(), last, timestamps

    def feature_values(self, name: str) -> torch.Tensor:
        names = [feature["name"] for feature in self.config.item_features]
        if name not in names:
            raise ValueError(f"the model has no item feature {name!r}; it has {', '.join(names) or 'none'}.")
        embeddings = self.get_input_embeddings()
        return embeddings.item_features.split(embeddings.max_values, dim=1)[names.index(name)]

    def unit_vectors(self, item_ids: torch.LongTensor) -> torch.Tensor:
        return nn.functional.normalize(self.output_layer()[0][item_ids], dim=-1)

    @torch.no_grad()
    @gather_parameters
    def item_vectors(self) -> torch.Tensor:
        """
        Vectors of all items, `(vocab_size, hidden_size + 1)`, for a nearest-neighbour index: their inner product with
        [`~NextItemMixin.user_vectors`] orders items as `recommend` does. They are the output layer's weight and bias;
        the bias of PAD, MASK and UNK is `-inf`: leave their rows, the first three, out of an index.

        Raises:
            `ValueError`: for a model with a repeat prior.
        """
        self._check_vectors()
        weight, bias = self.output_layer()
        bias = bias.index_fill(0, torch.tensor(self.special_ids, device=bias.device), -torch.inf)
        return torch.cat([weight, bias[:, None]], dim=1)

    @torch.no_grad()
    @gather_parameters
    def user_vectors(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        user_features: torch.LongTensor | None = None,
        timestamps: torch.LongTensor | None = None,
    ) -> torch.Tensor:
        """
        A vector of each history, `(batch_size, hidden_size + 1)`; see [`~NextItemMixin.item_vectors`]. The arguments
        are those of `score`.

        Raises:
            `ValueError`: for a model with a repeat prior, or invalid ids.
        """
        self._check_vectors()
        self.check_inputs(input_ids, attention_mask, user_features, timestamps=timestamps)
        states = self.head(self.next_item_states(input_ids, attention_mask, user_features, timestamps)[0])
        return nn.functional.pad(states, (0, 1), value=1.0)

    def _check_vectors(self):
        if self.repeat_prior is not None:
            raise ValueError(
                "a model with a repeat prior has no vectors: what a user had before is raised for this user alone, "
                "which no inner product can express. Train one with --repeat_prior false."
            )

    def repeated_probabilities(
        self,
        input_ids: torch.LongTensor,
        item_ids: torch.LongTensor,
        user_features: torch.LongTensor | None = None,
        timestamps: torch.LongTensor | None = None,
    ) -> torch.Tensor | None:
        if self.repeat_prior is None:
            return None
        states, history_ids, ages = self.next_item_states(input_ids, None, user_features, timestamps)
        _, shares = self.repeat_prior(states, ages)
        return (shares.T * (history_ids.T == item_ids)).sum(0)

    def prepare_ranking(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        user_features: torch.LongTensor | None = None,
        timestamps: torch.LongTensor | None = None,
    ) -> tuple[torch.Tensor | Projection | Mixture, Callable]:
        if self.config.vocab_size <= STREAM_FROM or self.config.exclude_seen_in_loss:
            return super().prepare_ranking(input_ids, attention_mask, user_features, timestamps)
        states, *history = self.next_item_states(input_ids, attention_mask, user_features, timestamps)
        scores = Projection(self.head(states), *self.output_layer(), self.special_ids)
        if not history:
            return scores, stream_top_k
        history_ids, ages = history
        return Mixture(scores, *self.repeat_prior(states, ages), history_ids, ages), stream_mixture_top_k


def _check_limit(name: str, limit: int) -> int:
    if not isinstance(limit, int) or limit < 1:
        raise ValueError(f"max_per of {name} is {limit!r}; it must be an integer, at least 1.")
    return limit


def _check_ids(
    name: str,
    ids: torch.Tensor,
    dimensions: tuple[int, ...],
    end: int | None = None,
    is_there: torch.BoolTensor | bool = True,
):
    """Raises `ValueError` unless `ids` is an integer tensor of ids below `end`, where `is_there`."""
    if not isinstance(ids, torch.Tensor) or ids.dtype not in (torch.int64, torch.int32) or ids.ndim not in dimensions:
        found = f"{ids.ndim}-d {ids.dtype}" if isinstance(ids, torch.Tensor) else type(ids).__name__
        shapes = " or ".join(f"{number}-d" for number in dimensions)
        raise ValueError(f"{name} must be a {shapes} tensor of integers, not {found}.")
    if end is not None and (outside := ((ids < 0) | (ids >= end)) & is_there).any():
        raise ValueError(f"{name} has the id {int(ids[outside][0])}; the model's are from 0 to {end - 1}.")
