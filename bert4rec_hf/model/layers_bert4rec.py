# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""The embeddings and the encoder layer of BERT4Rec."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs

from .configuration_bert4rec import Bert4RecConfig, feature_sizes
from .masking_bert4rec import NUM_TIME_BUCKETS, previous, time_buckets


class Bert4RecDropout(nn.Dropout):
    """
    Dropout, then the residual addition. On a CPU each value uses 16 random bits, four values per draw of torch's
    generator: less than half the time of torch's dropout, with the same support of seeds and checkpointing.
    `p` is rounded to a multiple of 2**-16; the scale is that of the rounded `p`.
    """

    def forward(self, hidden_states: torch.Tensor, residual: torch.Tensor | None = None) -> torch.Tensor:
        dropped = round(self.p * 2**16)
        in_torch = hidden_states.device.type != "cpu" or torch.compiler.is_compiling()
        if not (self.training and dropped) or in_torch:
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
    the item has, and the projection of each of its vectors. PAD, MASK and UNK have neither, so a masked item hides its
    features too.

    In evaluation mode the complete embeddings of all items are computed once and cached. The cache is cleared by:

    - [`~nn.Module.train`] and [`~nn.Module.eval`];
    - weights or features that change or are replaced: by an optimizer, by loading, by
      [`~Bert4RecPreTrainedModel.set_item_features`] and `set_vector_features`, by resizing. In-place changes are
      detected by the tensor's version; changes through `.data` are not, so call `eval()` after them.

    Adapters that PEFT merges into the encoder do not touch the items; adapters on the items themselves are refused by
    [`Bert4RecForMaskedLM`].
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
        self.vector_sizes = [feature["size"] for feature in config.vector_features]
        self.vector_projections = nn.ModuleList(  # part of an embedding, as the output layer
            NonDynamicallyQuantizableLinear(size, config.hidden_size, bias=False) for size in self.vector_sizes
        )
        if self.vector_sizes:
            self.register_buffer(
                "vectors", torch.zeros(config.vocab_size, sum(self.vector_sizes), dtype=torch.float16)
            )
        self._kept = None  # cache: source tensors, their versions, and the table

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_kept": None}

    def train(self, mode: bool = True) -> "Bert4RecItemEmbeddings":
        self._kept = None
        return super().train(mode)

    @property
    def has_features(self) -> bool:
        """Whether an item has more than its id embedding."""
        return bool(self.max_values or self.vector_sizes)

    def pool_features(self, item_features: torch.Tensor) -> torch.Tensor:
        """Value ids `(num_items, sum of max_values)` to the sum over features of their means `(num_items, hidden)`."""
        columns = item_features.split(self.max_values, dim=1)
        return sum(_mean_of_values(bag, ids) for bag, ids in zip(self.feature_embeddings, columns))

    def project_vectors(self, vectors: torch.Tensor) -> torch.Tensor:
        """Vectors `(num_items, sum of sizes)` to the sum of their projections `(num_items, hidden)`."""
        parts = vectors.to(self.weight.dtype).split(self.vector_sizes, dim=1)
        return sum(projection(part) for projection, part in zip(self.vector_projections, parts))

    def add_features(self, embeddings: torch.Tensor, item_ids: torch.LongTensor | None = None) -> torch.Tensor:
        """`embeddings` `(num_items, hidden_size)` of items, all if not named, plus what their features add."""
        if self.max_values:
            table = self.item_features if item_ids is None else self.item_features[item_ids]
            embeddings = embeddings + self.pool_features(table)
        if not self.vector_sizes:
            return embeddings
        if item_ids is not None or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return embeddings + self.project_vectors(self.vectors if item_ids is None else self.vectors[item_ids])
        # In pieces: the whole table in single precision may not fit
        table = torch.empty_like(embeddings)
        for rows, vectors, out in zip(*(part.split(2**16) for part in (embeddings, self.vectors, table))):
            torch.add(rows, self.project_vectors(vectors), out=out)
        return table

    def kept(self, weight: torch.Tensor) -> torch.Tensor | None:
        """The complete table of `weight`, if it is cached and its source tensors are unchanged."""
        kept = self._kept  # read once: threads may share a model
        if kept is None or torch.compiler.is_compiling() or torch.is_grad_enabled():
            return None
        sources, versions, table = kept
        # The cache holds references to the sources, so that no other tensor can reuse their memory.
        is_unchanged = all(
            one.data_ptr() == other.data_ptr() and version == _version(other) and one.dtype == other.dtype
            for one, version, other in zip(sources, versions, self._sources(weight))
        )
        return table if is_unchanged else None

    def _sources(self, weight: torch.Tensor) -> list[torch.Tensor]:
        return [
            weight,
            *self.buffers(),
            *(part.weight for part in (*self.feature_embeddings, *self.vector_projections)),
        ]

    def all_items(self, weight: torch.Tensor) -> torch.Tensor:
        """`weight` `(vocab_size, hidden_size)` plus the pooled features of each item."""
        if (table := self.kept(weight)) is not None:
            return table
        table = self.add_features(weight)
        if not (self.training or torch.is_grad_enabled() or torch.compiler.is_compiling()):
            sources = self._sources(weight)
            self._kept = [source.detach() for source in sources], [*map(_version, sources)], table
        return table

    def forward(self, input_ids: torch.LongTensor | None = None, weight: torch.Tensor | None = None) -> torch.Tensor:
        """
        Args:
            input_ids (`torch.LongTensor` of any shape, *optional*): token ids; all items in order if not given.
            weight (`torch.Tensor` of shape `(vocab_size, hidden_size)`, *optional*): id embeddings to use instead
                of its own: those of an untied output layer.

        Returns:
            `torch.Tensor` of shape `(*input_ids.shape, hidden_size)` or `(vocab_size, hidden_size)`.
        """
        weight = self.weight if weight is None else weight
        if input_ids is None:
            return self.all_items(weight) if self.has_features else weight
        if self.has_features:
            # With more tokens than items, pooling each item once takes a third of the time.
            pool_once = not torch.compiler.is_compiling() and input_ids.numel() >= self.num_embeddings
            if pool_once or self.kept(weight) is not None:
                return nn.functional.embedding(input_ids, self.all_items(weight), self.padding_idx)
        embeddings = nn.functional.embedding(input_ids, weight, self.padding_idx)
        if not self.has_features:
            return embeddings
        return self.add_features(embeddings.flatten(0, -2), input_ids.flatten()).view(embeddings.shape)


def _mean_of_values(bag: nn.EmbeddingBag, ids: torch.Tensor) -> torch.Tensor:
    """The means `(num_items, hidden)` of the embeddings of value ids `(num_items, max_values)`, 0 without any."""
    if ids.shape[1] <= 32 or torch.compiler.is_compiling():
        return bag(ids)
    is_value = ids > 0  # a wide table is mostly padding
    counts = is_value.sum(1, dtype=torch.int32)
    return bag(ids[is_value], counts.cumsum(0, dtype=ids.dtype) - counts)


def _version(tensor: torch.Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version  # torch has no public change counter


class Bert4RecOutputLayer(NonDynamicallyQuantizableLinear):
    """
    The output layer. Calling it returns its weight and bias: sharding and offloading load the parameters of a module
    when it is called. Quantizers skip its base class, because the weight is that of the item embeddings.
    """

    def forward(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.weight, self.bias


class Bert4RecEmbeddings(nn.Module):
    """
    Item, user and, as the config says, position and time embeddings: summed, then LayerNorm and dropout.
    """

    def __init__(self, config: Bert4RecConfig):
        super().__init__()
        self.item_embeddings = Bert4RecItemEmbeddings(config)
        if config.position_embedding_type == "absolute":
            self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.user_sizes = feature_sizes(config.user_features)
        self.user_embeddings = nn.ModuleList(
            nn.Embedding(feature["num_values"], config.hidden_size, padding_idx=0) for feature in config.user_features
        )
        if config.time_intervals != "none":
            self.time_embeddings = nn.Embedding(NUM_TIME_BUCKETS, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = Bert4RecDropout(config.hidden_dropout_prob)

    def forward(
        self,
        input_ids: torch.LongTensor | None,
        position_ids: torch.LongTensor,
        user_features: torch.LongTensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        timestamps: torch.LongTensor | None = None,
    ) -> torch.Tensor:
        if inputs_embeds is None:
            inputs_embeds = self.item_embeddings(input_ids)
        hidden_states = inputs_embeds
        if hasattr(self, "position_embeddings"):
            hidden_states = hidden_states + self.position_embeddings(position_ids)
        if user_features is not None:
            if user_features.shape[1] != sum(self.user_sizes):
                raise ValueError(
                    f"user_features has {user_features.shape[1]} columns, the model has {sum(self.user_sizes)} of "
                    f"{len(self.user_embeddings)} user features."
                )
            for embedding, values in zip(self.user_embeddings, user_features.split(self.user_sizes, dim=1)):
                # Not an EmbeddingBag, of which OpenVINO makes something else
                count = (values > 0).sum(1).clamp(min=1)[:, None, None]
                hidden_states = hidden_states + embedding(values).sum(1, keepdim=True) / count
        if timestamps is not None:
            hidden_states = hidden_states + self.time_embeddings(time_buckets(timestamps, previous(timestamps)))
        return self.dropout(self.norm(hidden_states))


def _supports_complex(tensor: torch.Tensor) -> bool:
    return tensor.device.type == "cpu" and not torch.compiler.is_compiling()  # exporters do not support them


def rotary_position_embeddings(config: Bert4RecConfig, position_ids: torch.LongTensor) -> torch.Tensor:
    """
    The rotary position embedding (https://huggingface.co/papers/2104.09864) at `position_ids` `(batch_size or 1,
    sequence_length)`: cosines and sines `(batch_size or 1, sequence_length, head_dim / 2, 2)`.
    """
    width = config.hidden_size // config.num_attention_heads
    even_dims = torch.arange(0, width, 2, device=position_ids.device, dtype=torch.float32)
    angles = position_ids[..., None] * config.rope_theta ** (-even_dims / width)
    if _supports_complex(angles):
        return torch.view_as_real(torch.polar(torch.ones_like(angles), angles))
    return torch.stack([angles.cos(), angles.sin()], dim=-1)


def apply_rotary_position_embeddings(states: torch.Tensor, position_embeddings: torch.Tensor) -> torch.Tensor:
    """Rotates each pair of `(batch_size, sequence_length, num_heads, head_dim)` by the angle of its position."""
    pairs = states.to(torch.promote_types(states.dtype, torch.float32)).unflatten(-1, (-1, 2))
    position_embeddings = position_embeddings.unsqueeze(-3)
    if _supports_complex(states):  # one complex product takes half the time
        rotated = torch.view_as_complex(pairs) * torch.view_as_complex(position_embeddings)
        rotated = torch.view_as_real(rotated)
    else:
        (first, second), (cos, sin) = pairs.unbind(-1), position_embeddings.unbind(-1)
        rotated = torch.stack([first * cos - second * sin, first * sin + second * cos], dim=-1)
    return rotated.flatten(-2).type_as(states)


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
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.kv_proj = nn.Linear(config.hidden_size, 2 * config.hidden_size)
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
        query_states = hidden_states if query_states is None else query_states
        projected = self.q_proj(query_states), *self.kv_proj(hidden_states).chunk(2, dim=-1)
        query, key, value = (states.unflatten(-1, (-1, self.head_dim)) for states in projected)
        if position_embeddings is not None:
            if query_position_embeddings is None:
                query_position_embeddings = position_embeddings
            query = apply_rotary_position_embeddings(query, query_position_embeddings)
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
        self.rows_at_once = max(256, 2**18 // config.intermediate_size)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        is_on_cpu = hidden_states.device.type == "cpu" and not torch.compiler.is_compiling()
        if torch.is_grad_enabled() or not is_on_cpu or hidden_states[..., 0].numel() <= self.rows_at_once:
            return self.down_proj(self.act(self.up_proj(hidden_states)))
        # In pieces whose activations stay in the cache: ranking takes 0.9 of the time.
        pieces = hidden_states.flatten(0, -2).split(self.rows_at_once)
        pieces = [self.down_proj(self.act(self.up_proj(piece))) for piece in pieces]
        return torch.cat(pieces).view(hidden_states.shape)


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
                row_position_embeddings = position_embeddings.flatten(2).expand(output_positions.shape[0], -1, -1)
                query_positions = take_positions(row_position_embeddings, output_positions).unflatten(-1, (-1, 2))
        attn_output, _ = self.attention(
            normed, attention_mask, queries, position_embeddings, query_positions, **kwargs
        )
        hidden_states = self.dropout(attn_output, hidden_states)
        if self.norm_first:
            return self.dropout(self.mlp(self.mlp_norm(hidden_states)), hidden_states)
        hidden_states = self.attention_norm(hidden_states)
        return self.mlp_norm(self.dropout(self.mlp(hidden_states), hidden_states))


class Bert4RecZeroLinear(nn.Linear):
    """A linear layer whose weight starts at 0."""


class Bert4RecRepeatPrior(nn.Module):
    """
    Probability that the next item repeats the history: a mixture of the user's own history and the softmax over all
    items, as in the repeat mode of RepeatNet (https://doi.org/10.1609/aaai.v33i01.33014830), but weighted as in
    Dirichlet smoothing (https://doi.org/10.1145/984321.984322): a history event has the weight `age**-decay`, the
    softmax the weight of a number of events. Both decay and number are predicted from the hidden state, which is
    detached: without repeats the rest of the model learns the same as without the prior. Initially the decay is 0, so
    that each event counts 1, and the number is 1.
    """

    def __init__(self, config: Bert4RecConfig):
        super().__init__()
        self.proj = Bert4RecZeroLinear(config.hidden_size, 2)

    def forward(self, hidden_states: torch.Tensor, ages: torch.LongTensor) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Args:
            hidden_states (`torch.Tensor` of shape `(num_states, hidden_size)`): states at the predictions.
            ages (`torch.LongTensor` of shape `(num_states, num_events)`): age of each history event in events before
                the prediction, from 1; 0 where there is no event.

        Returns:
            Log of the softmax's mixture weight, `(num_states,)`, and the events' weights, `(num_states, num_events)`.
            Without history the softmax has weight 1.
        """
        log_events, decay = self.proj(hidden_states.detach()).float().unbind(-1)
        log_weights = (-decay[:, None] * ages.clamp(min=1).log()).masked_fill(ages == 0, torch.finfo(decay.dtype).min)
        log_weights = torch.cat([log_events[:, None], log_weights], 1).log_softmax(-1)
        return log_weights[:, 0], log_weights[:, 1:].exp()

    def mix(
        self,
        log_probs: torch.Tensor,
        hidden_states: torch.Tensor,
        history_ids: torch.LongTensor,
        ages: torch.LongTensor,
    ) -> torch.Tensor:
        """Log-probabilities of the mixture of `log_probs` `(num_states, vocab_size)` and the history."""
        share, shares = self(hidden_states, ages)
        log_probs = log_probs + share[:, None]
        return log_probs.scatter(1, history_ids, add_history(log_probs.gather(1, history_ids), history_ids, shares))


def add_history(log_probs: torch.Tensor, item_ids: torch.LongTensor, shares: torch.Tensor) -> torch.Tensor:
    """
    Adds to the softmax probability of each history item the mixture weights of all events of that item.

    Args:
        log_probs (`torch.Tensor` of shape `(num_states, num_events)`): of each event's item.
        item_ids, shares (`torch.Tensor` of shape `(num_states, num_events)`): the events and their weights.
    """
    if torch.compiler.is_compiling():  # exported graphs have no data-dependent shapes
        same_item = item_ids[:, :, None] == item_ids[:, None]
        return torch.logaddexp(log_probs, safe_log((same_item.to(shares.dtype) @ shares[..., None])[..., 0]))
    # One key per row and item, so that events of an item in different rows are not summed.
    stride = item_ids.max() + 1 if item_ids.numel() else 1
    keys = item_ids + stride * torch.arange(len(item_ids), device=item_ids.device)[:, None]
    keys, places = keys.flatten().unique(return_inverse=True)
    shares = shares.new_zeros(len(keys)).index_add_(0, places, shares.flatten())[places].view_as(shares)
    return torch.logaddexp(log_probs, safe_log(shares))


def safe_log(shares: torch.Tensor) -> torch.Tensor:
    """The logarithm, with gradient 0 instead of NaN where a share is 0."""
    return torch.where(shares > 0, shares, 1.0).log().masked_fill(shares <= 0, -torch.inf)


class Bert4RecHeadTransform(nn.Module):
    """BERT's dense layer, activation and LayerNorm before the projection onto the items."""

    def __init__(self, config: Bert4RecConfig):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.act = ACT2FN[config.hidden_act]
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.norm(self.act(self.dense(hidden_states)))


def is_item(config: Bert4RecConfig, input_ids: torch.LongTensor) -> torch.BoolTensor:
    """Where token ids are items: neither PAD nor MASK nor UNK."""
    special_ids = (config.pad_token_id, config.mask_token_id, config.unk_token_id)
    return torch.stack([input_ids != special_id for special_id in special_ids]).all(0)


def positions_from_the_newest(attention_mask: torch.Tensor) -> torch.LongTensor:
    """Number of newer items at each position of `attention_mask`, both `(batch_size, sequence_length)`."""
    return (attention_mask.long().flip(1).cumsum(1).flip(1) - 1).clamp(min=0)


def take_positions(states: torch.Tensor, positions: torch.LongTensor) -> torch.Tensor:
    """The states `(batch_size, sequence_length, width)` at each row's positions `(batch_size, num_positions)`."""
    return states.gather(1, positions[..., None].expand(-1, -1, states.shape[2]))
