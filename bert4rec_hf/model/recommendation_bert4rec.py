# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Scoring and recommending from histories, shared by single models and ensembles."""

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

import torch

from .layers_bert4rec import is_item, positions_from_the_newest
from .ranking_bert4rec import (
    Bert4RecRecommendationOutput,
    Mixture,
    Projection,
    dense_top_k,
    rank_items,
    stream_mixture_top_k,
    stream_top_k,
)


# Above this number of items `recommend` never holds all scores in memory.
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


class RecommendationMixin:
    """Recommending with `score`, for every recommender."""

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
    ) -> Bert4RecRecommendationOutput:
        """
        Recommends the `k` best next items of each history. Items of the history are allowed unless `exclude_seen`.

        Args:
            input_ids, attention_mask, user_features:
                As for [`~RecommendationMixin.score`].
            k (`int`, *optional*, defaults to 10):
                Number of items.
            exclude_seen (`bool`, *optional*, defaults to `False`):
                Leave out every item of the whole history.
            candidate_ids (`torch.LongTensor` of shape `(num_ids,)` or `(batch_size, num_ids)`, *optional*):
                Recommend among these items only. PAD is ignored.
            exclude_ids (`torch.LongTensor` of shape `(num_ids,)` or `(batch_size, num_ids)`, *optional*):
                Leave out these items. PAD is ignored.
            allow_fewer (`bool`, *optional*, defaults to `False`):
                Where fewer than `k` items can be recommended, pad the list with PAD, of score `-inf`.

        Raises:
            `ValueError`: if `k` is below 1 or beyond the number of items that can be recommended, or for ids that the
            model does not have.
            `FloatingPointError`: if a score is NaN, as after a training that diverged.
        """
        self.check_inputs(input_ids, attention_mask, user_features, candidate_ids, exclude_ids)
        seen_ids = self.seen_items(input_ids, attention_mask)
        scores, top_k = self.prepare_ranking(input_ids, attention_mask, user_features)
        return rank_items(scores, seen_ids, k, exclude_seen, candidate_ids, exclude_ids, allow_fewer, top_k)

    def prepare_ranking(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        user_features: torch.LongTensor | None = None,
    ) -> tuple[torch.Tensor | Projection | Mixture, Callable]:
        """The `scores` and the `top_k` of [`rank_items`]."""
        return self.score(input_ids, attention_mask, user_features), dense_top_k

    def check_inputs(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        user_features: torch.LongTensor | None = None,
        candidate_ids: torch.LongTensor | None = None,
        exclude_ids: torch.LongTensor | None = None,
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
                _check_ids(name, ids, (1, 2), self.config.vocab_size)
                if ids.ndim == 2 and len(ids) != len(input_ids):
                    raise ValueError(f"{name} has {len(ids)} rows, input_ids {len(input_ids)}.")
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
    ) -> torch.Tensor:
        return self.log_probabilities(*self.next_item_states(input_ids, attention_mask, user_features))

    def log_probabilities(self, hidden_states: torch.Tensor, *history: torch.LongTensor) -> torch.Tensor:
        """
        States `(num_states, hidden_size)`, and with a repeat prior the history at each state, to
        log-probabilities `(num_states, vocab_size)`; see `score`.
        """
        logits = self.project(hidden_states)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        for special_id in self.special_ids:  # indexing by a list would copy it to the device
            logits[:, special_id] = -torch.inf
        log_probs = logits.log_softmax(-1)
        return self.repeat_prior.mix(log_probs, hidden_states, *history) if history else log_probs

    def next_item_states(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        user_features: torch.LongTensor | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """
        The arguments of [`~Bert4RecForMaskedLM.log_probabilities`]: the encoder's states `(batch_size, hidden_size)`
        at the next item and, with a repeat prior, the whole history.
        """
        history = ()
        item_ids = self.seen_items(input_ids, attention_mask)
        if self.repeat_prior is not None:
            ages = positions_from_the_newest(item_ids != self.config.pad_token_id) + 1
            history = item_ids, ages.masked_fill(~is_item(self.config, item_ids), 0)
        input_ids, attention_mask, last = self.add_mask(item_ids, attention_mask)
        outputs = self.model(input_ids, attention_mask, user_features=user_features, output_positions=last)
        return outputs[0][:, 0], *history

    def add_mask(
        self, input_ids: torch.LongTensor, attention_mask: torch.Tensor | None = None
    ) -> tuple[torch.LongTensor, torch.Tensor, torch.LongTensor]:
        """
        The newest items of histories padded on either side, followed by MASK and aligned right. If the model is
        causal, they are aligned left, and MASK stands before histories that are not truncated.

        Returns:
            Token ids and attention mask, `(batch_size, width)`, and the last column of each row, `(batch_size, 1)`.
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
        return masked, (masked != self.config.pad_token_id).long(), last

    def prepare_ranking(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        user_features: torch.LongTensor | None = None,
    ) -> tuple[torch.Tensor | Projection | Mixture, Callable]:
        if self.config.vocab_size <= STREAM_FROM:
            return super().prepare_ranking(input_ids, attention_mask, user_features)
        states, *history = self.next_item_states(input_ids, attention_mask, user_features)
        scores = Projection(self.head(states), *self.output_layer(), self.special_ids)
        if not history:
            return scores, stream_top_k
        history_ids, ages = history
        return Mixture(scores, *self.repeat_prior(states, ages), history_ids, ages), stream_mixture_top_k


def _check_ids(name: str, ids: torch.Tensor, dimensions: tuple[int, ...], end: int | None = None):
    """Raises `ValueError` unless `ids` is an integer tensor of ids below `end`."""
    if not isinstance(ids, torch.Tensor) or ids.dtype not in (torch.int64, torch.int32) or ids.ndim not in dimensions:
        found = f"{ids.ndim}-d {ids.dtype}" if isinstance(ids, torch.Tensor) else type(ids).__name__
        shapes = " or ".join(f"{number}-d" for number in dimensions)
        raise ValueError(f"{name} must be a {shapes} tensor of integers, not {found}.")
    if end is not None and (outside := (ids < 0) | (ids >= end)).any():
        raise ValueError(f"{name} has the id {int(ids[outside][0])}; the model's are from 0 to {end - 1}.")
