# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""The embeddings and the encoder layer of BERT4Rec."""

from collections.abc import Callable

import torch
from torch import nn
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs

from .configuration_bert4rec import Bert4RecConfig


class Bert4RecDropout(nn.Dropout):
    """
    Dropout, and the sum with what it is a residual of. On a CPU a value is kept or dropped by 16 random bits, four
    values by one draw of torch's generator: less than half of the time of torch's own, and seeds and checkpointing
    work as with it. `p` is rounded to a multiple of 2**-16; the scale is that of the rounded `p`.
    """

    def forward(self, hidden_states: torch.Tensor, residual: torch.Tensor | None = None) -> torch.Tensor:
        dropped = round(self.p * 2**16)
        if not (self.training and dropped) or hidden_states.device.type != "cpu":
            hidden_states = super().forward(hidden_states)
            return hidden_states if residual is None else residual + hidden_states
        draws = torch.empty(-(-hidden_states.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        bits = draws.view(torch.int16)[: hidden_states.numel()].view(hidden_states.shape)
        kept = (bits >= dropped - 2**15).to(hidden_states.dtype)
        residual = hidden_states.new_zeros(()) if residual is None else residual
        return torch.addcmul(residual, hidden_states, kept, value=2**16 / (2**16 - dropped))


class Bert4RecItemEmbeddings(nn.Embedding):
    """
    Embeddings of the items: an id embedding plus, for each item feature, the mean of the embeddings of the values that
    the item has. PAD, MASK and UNK have no values, so a masked item hides its features too.
    """

    def __init__(self, config: Bert4RecConfig):
        super().__init__(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.max_values = [feature["max_values"] for feature in config.item_features]
        self.feature_embeddings = nn.ModuleList(
            nn.EmbeddingBag(feature["num_values"], config.hidden_size, mode="mean", padding_idx=0)
            for feature in config.item_features
        )
        if self.max_values:
            self.register_buffer(
                "item_features", torch.zeros(config.vocab_size, sum(self.max_values), dtype=torch.int32)
            )

    def pool_features(self, item_features: torch.Tensor) -> torch.Tensor:
        """Value ids `(num_items, sum of max_values)` to the sum over features of their means `(num_items, hidden)`."""
        columns = item_features.split(self.max_values, dim=1)
        return sum(bag(ids) for bag, ids in zip(self.feature_embeddings, columns))

    def add_features(self, embeddings: torch.Tensor, item_ids: torch.LongTensor) -> torch.Tensor:
        """To embeddings `(..., hidden_size)` of `item_ids` `(...)` those of their features."""
        if not self.max_values:
            return embeddings
        # Each item is pooled once where there are more tokens than items: a third of the time.
        if item_ids.numel() >= self.num_embeddings:
            return embeddings + nn.functional.embedding(item_ids, self.pool_features(self.item_features))
        return embeddings + self.pool_features(self.item_features[item_ids.flatten()]).view(embeddings.shape)

    def forward(self, input_ids: torch.LongTensor) -> torch.Tensor:
        return self.add_features(super().forward(input_ids), input_ids)


class Bert4RecEmbeddings(nn.Module):
    """Item, user and (`config.position_embedding_type`) position embeddings, summed, normalised and dropped out."""

    def __init__(self, config: Bert4RecConfig):
        super().__init__()
        self.item_embeddings = Bert4RecItemEmbeddings(config)
        if config.position_embedding_type == "absolute":
            self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.user_embeddings = nn.ModuleList(
            nn.Embedding(feature["num_values"], config.hidden_size, padding_idx=0) for feature in config.user_features
        )
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = Bert4RecDropout(config.hidden_dropout_prob)

    def forward(
        self,
        input_ids: torch.LongTensor | None,
        position_ids: torch.LongTensor,
        user_features: torch.LongTensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
    ) -> torch.Tensor:
        if inputs_embeds is None:
            inputs_embeds = self.item_embeddings(input_ids)
        hidden_states = inputs_embeds
        if hasattr(self, "position_embeddings"):
            hidden_states = hidden_states + self.position_embeddings(position_ids)
        if user_features is not None:
            if user_features.shape[1] != len(self.user_embeddings):
                raise ValueError(
                    f"user_features has {user_features.shape[1]} columns, the model has "
                    f"{len(self.user_embeddings)} user features."
                )
            for embedding, values in zip(self.user_embeddings, user_features.unbind(1)):
                hidden_states = hidden_states + embedding(values)[:, None]
        return self.dropout(self.norm(hidden_states))


def rotary_position_embeddings(config: Bert4RecConfig, position_ids: torch.LongTensor) -> torch.Tensor:
    """
    The rotary position embedding (https://huggingface.co/papers/2104.09864) at `position_ids` `(batch_size or 1,
    sequence_length)`: complex numbers `(batch_size or 1, sequence_length, head_dim / 2)`.
    """
    width = config.hidden_size // config.num_attention_heads
    even = torch.arange(0, width, 2, device=position_ids.device, dtype=torch.float32)
    angles = position_ids[..., None] * config.rope_theta ** (-even / width)
    return torch.polar(torch.ones_like(angles), angles)


def apply_rotary_position_embeddings(states: torch.Tensor, position_embeddings: torch.Tensor) -> torch.Tensor:
    """Turns each pair of the heads of `(batch_size, sequence_length, num_heads, head_dim)` by its position's angle."""
    # One product of complex numbers takes half of the time that halves, products and sums take on a CPU.
    turned = torch.view_as_complex(states.float().unflatten(-1, (-1, 2))) * position_embeddings.unsqueeze(-2)
    return torch.view_as_real(turned).flatten(-2).type_as(states)


def eager_attention_forward(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs,
) -> tuple[torch.Tensor, torch.Tensor]:
    attn_weights = torch.matmul(query, key.transpose(2, 3)) * scaling
    if attention_mask is not None:
        attn_weights = attn_weights + attention_mask
    attn_weights = nn.functional.softmax(attn_weights, dim=-1, dtype=torch.float32).to(query.dtype)
    attn_weights = nn.functional.dropout(attn_weights, p=dropout, training=module.training)
    attn_output = torch.matmul(attn_weights, value).transpose(1, 2).contiguous()
    return attn_output, attn_weights


class Bert4RecAttention(nn.Module):
    """Multi-head self-attention, bidirectional or causal (`config.is_causal`)."""

    def __init__(self, config: Bert4RecConfig):
        super().__init__()
        self.config = config
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.scaling = self.head_dim**-0.5
        self.attention_dropout = config.attention_probs_dropout_prob
        self.is_causal = config.is_causal
        self.qkv_proj = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        query_states: torch.Tensor | None = None,
        position_embeddings: torch.Tensor | None = None,
        query_position_embeddings: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        if query_states is None:
            projected = self.qkv_proj(hidden_states).chunk(3, dim=-1)
        else:
            weight, bias, width = self.qkv_proj.weight, self.qkv_proj.bias, self.qkv_proj.in_features
            query = nn.functional.linear(query_states, weight[:width], bias[:width])
            projected = query, *nn.functional.linear(hidden_states, weight[width:], bias[width:]).chunk(2, dim=-1)
        query, key, value = (states.unflatten(-1, (-1, self.head_dim)) for states in projected)
        if position_embeddings is not None:
            of_queries = position_embeddings if query_position_embeddings is None else query_position_embeddings
            query = apply_rotary_position_embeddings(query, of_queries)
            key = apply_rotary_position_embeddings(key, position_embeddings)
        query, key, value = (states.transpose(1, 2) for states in (query, key, value))
        attention_interface: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        attn_output, attn_weights = attention_interface(
            self,
            query,
            key,
            value,
            attention_mask,
            dropout=self.attention_dropout if self.training else 0.0,
            scaling=self.scaling,
            **kwargs,
        )
        return self.out_proj(attn_output.flatten(2)), attn_weights


class Bert4RecMLP(nn.Module):
    """The feed-forward part of a layer."""

    def __init__(self, config: Bert4RecConfig):
        super().__init__()
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size)
        self.act = ACT2FN[config.hidden_act]
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.down_proj(self.act(self.up_proj(hidden_states)))


class Bert4RecLayer(GradientCheckpointingLayer):
    """An encoder layer, post-LN (BERT) or pre-LN (`config.norm_first`)."""

    def __init__(self, config: Bert4RecConfig):
        super().__init__()
        self.norm_first = config.norm_first
        self.attention = Bert4RecAttention(config)
        self.attention_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = Bert4RecMLP(config)
        self.mlp_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = Bert4RecDropout(config.hidden_dropout_prob)

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        output_positions: torch.LongTensor | None = None,
        position_embeddings: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> torch.Tensor:
        """The states at all positions, or at `output_positions` `(batch_size, num_outputs)` only."""
        normed = self.attention_norm(hidden_states) if self.norm_first else hidden_states
        queries = query_positions = None
        if output_positions is not None:
            queries = take_positions(normed, output_positions)
            hidden_states = take_positions(hidden_states, output_positions) if self.norm_first else queries
            if position_embeddings is not None:
                of_rows = position_embeddings.expand(len(output_positions), -1, -1)
                query_positions = take_positions(of_rows, output_positions)
        attn_output, _ = self.attention(
            normed, attention_mask, queries, position_embeddings, query_positions, **kwargs
        )
        hidden_states = self.dropout(attn_output, hidden_states)
        if self.norm_first:
            return self.dropout(self.mlp(self.mlp_norm(hidden_states)), hidden_states)
        hidden_states = self.attention_norm(hidden_states)
        return self.mlp_norm(self.dropout(self.mlp(hidden_states), hidden_states))


class Bert4RecRepeatPrior(nn.Linear):
    """
    What of a user's next item is a repetition: the share of the user's own history beside that of the softmax over all
    items, as in the repeat mode of RepeatNet (https://doi.org/10.1609/aaai.v33i01.33014830), but in the manner of
    Dirichlet smoothing (https://doi.org/10.1145/984321.984322): an event of the history counts `age**-decay`, and the
    softmax as many events as it takes. Both are learnt and depend on the state, which does not learn from them: where
    nothing repeats the rest of the model learns what it would without. They start at a decay of 0, with which an item
    counts as often as it was watched, and at 1 event.
    """

    def __init__(self, config: Bert4RecConfig):
        super().__init__(config.hidden_size, 2)

    def forward(self, hidden_states: torch.Tensor, ages: torch.LongTensor) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Args:
            hidden_states (`torch.Tensor` of shape `(num_states, hidden_size)`): where an item is predicted.
            ages (`torch.LongTensor` of shape `(num_states, num_events)`): how many events before that each of the
                history is, 1 or more; 0 for what is none.

        Returns:
            The log of the softmax's share, `(num_states,)`, and the shares of the events, `(num_states, num_events)`.
            Without history all is the softmax's.
        """
        log_events, decay = super().forward(hidden_states.detach()).float().unbind(-1)
        log_weights = (-decay[:, None] * ages.clamp(min=1).log()).masked_fill(ages == 0, torch.finfo(decay.dtype).min)
        log_weights = torch.cat([log_events[:, None], log_weights], 1).log_softmax(-1)
        return log_weights[:, 0], log_weights[:, 1:].exp()


def take_positions(states: torch.Tensor, positions: torch.LongTensor) -> torch.Tensor:
    """Of states `(batch_size, sequence_length, width)` those at positions `(batch_size, num_positions)` of a row."""
    return states.gather(1, positions[..., None].expand(-1, -1, states.shape[2]))
