# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""The attention masks of BERT4Rec: bidirectional or causal, of all queries or of some, with a bias by time."""

import inspect

import torch
from torch import nn
from transformers.masking_utils import create_bidirectional_mask, create_causal_mask

from .configuration_bert4rec import Bert4RecConfig


# No KV cache; the name of the argument depends on the transformers version.
NO_CACHE = {"cache" if "cache" in inspect.signature(create_causal_mask).parameters else "past_key_values": None}
# Buckets of the time between two moments: 0 where it is unknown, then 35% wider each; the last begins at 4 years.
NUM_TIME_BUCKETS = 64


def can_narrow(
    config: Bert4RecConfig,
    output_positions: torch.LongTensor,
    hidden_states: torch.Tensor,
    attention_mask: torch.Tensor | None,
    kwargs: dict,
) -> bool:
    """Whether the last layer can compute the states at `output_positions` only, and whether that is quicker."""
    recorded = ("output_hidden_states", "output_attentions")  # recorded for all positions
    if any(kwargs.get(name, getattr(config, name)) for name in recorded):
        return False
    # Only eager and sdpa accept a subset of queries, and a custom 4-d mask is for all queries.
    if config._attn_implementation not in ("eager", "sdpa") or getattr(attention_mask, "ndim", 2) != 2:
        return False
    # In training a causal model predicts at all positions, for which sdpa needs no mask.
    return not config.is_causal or 2 * output_positions.shape[1] <= hidden_states.shape[1]


def make_mask(config: Bert4RecConfig, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None, **kwargs):
    """The mask of all queries, as the attention implementation takes it; `None` where it needs none."""
    is_causal, is_padding_mask = config.is_causal, getattr(attention_mask, "ndim", None) == 2
    is_eager_sdpa = config._attn_implementation == "sdpa" and not torch.compiler.is_compiling()
    if is_causal and is_padding_mask and is_eager_sdpa:
        if (attention_mask[:, 1:] <= attention_mask[:, :-1]).all():
            attention_mask = None  # causal attention never sees right padding; sdpa is faster without a mask
    if is_causal:
        mask = create_causal_mask(config, hidden_states, attention_mask, **NO_CACHE)
    else:
        mask = create_bidirectional_mask(
            config=config, inputs_embeds=hidden_states, attention_mask=attention_mask, **kwargs
        )
    if is_padding_mask and isinstance(mask, torch.Tensor) and mask.dtype == torch.bool and mask.device.type == "cpu":
        # sdpa would convert it in every layer, and for all queries, which have the same mask if not causal.
        mask = additive_mask(mask if is_causal else mask[:, :, :1], hidden_states.dtype)
    return mask


def make_mask_of(
    config: Bert4RecConfig,
    positions: torch.LongTensor,
    hidden_states: torch.Tensor,
    attention_mask: torch.Tensor | None,
):
    """The mask of the queries at `positions` `(batch_size, num_positions)` only."""
    if not config.is_causal:
        queries = hidden_states[:, : positions.shape[1]]
        return make_mask(config, queries, attention_mask, encoder_hidden_states=hidden_states)
    mask = torch.arange(hidden_states.shape[1], device=positions.device) <= positions[..., None]
    if attention_mask is not None:
        mask &= attention_mask[:, None].bool()
    return additive_mask(mask[:, None], hidden_states.dtype)


def additive_mask(mask: torch.BoolTensor, dtype: torch.dtype) -> torch.Tensor:
    """The additive attention mask: 0 where `mask` is true, the minimum of `dtype` elsewhere."""
    return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, torch.finfo(dtype).min)


def time_buckets(moments: torch.LongTensor, earlier: torch.LongTensor) -> torch.LongTensor:
    """The buckets of the times from `earlier` to `moments`, both in seconds, 0 where unknown; they are broadcast."""
    seconds = (moments - earlier).abs()
    buckets = 1 + (seconds.float().log1p() / 0.301).long().clamp(max=NUM_TIME_BUCKETS - 2)
    return buckets.masked_fill((moments <= 0) | (earlier <= 0), 0)


def previous(timestamps: torch.LongTensor) -> torch.LongTensor:
    """The timestamp before each of `(batch_size, sequence_length)`; unknown before the first."""
    return nn.functional.pad(timestamps[:, :-1], (1, 0))


class Bert4RecTimeBias(nn.Embedding):
    """
    A bias of each attention head by the time between a query's moment and a key's event, by buckets, as in HSTU
    (https://huggingface.co/papers/2402.17152), the same in all layers. It starts at 0.
    """

    def __init__(self, config: Bert4RecConfig):
        super().__init__(NUM_TIME_BUCKETS, config.num_attention_heads)
        self.config = config

    def forward(
        self, mask: torch.Tensor | None, timestamps: torch.LongTensor, positions: torch.LongTensor | None = None
    ) -> torch.Tensor:
        """
        `mask`, of [`make_mask`] or of [`make_mask_of`] `positions`, with the bias added.

        Raises:
            `ValueError`: if the attention implementation takes no additive mask.
        """
        if self.config._attn_implementation not in ("eager", "sdpa"):
            raise ValueError(
                "time_intervals 'attention' needs attn_implementation eager or sdpa, not "
                f"{self.config._attn_implementation}."
            )
        keys = previous(timestamps) if self.config.is_causal else timestamps  # a causal input is the event before
        queries = timestamps if positions is None else timestamps.gather(1, positions)
        bias = super().forward(time_buckets(queries[:, :, None], keys[:, None])).permute(0, 3, 1, 2).contiguous()
        if mask is None and self.config.is_causal:
            mask = torch.ones(bias.shape[2:], dtype=torch.bool, device=bias.device).tril()
        if mask is None:
            return bias
        return bias + (additive_mask(mask, bias.dtype) if mask.dtype == torch.bool else mask)
