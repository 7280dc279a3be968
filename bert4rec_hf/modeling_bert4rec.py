# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""PyTorch BERT4Rec model."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutput, MaskedLMOutput, ModelOutput
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, PreTrainedModel
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs
from transformers.utils.generic import can_return_tuple, merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .configuration_bert4rec import Bert4RecConfig


@dataclass
class Bert4RecRecommendationOutput(ModelOutput):
    """
    What [`Bert4RecForMaskedLM.recommend`] returns.

    Args:
        item_ids (`torch.LongTensor` of shape `(batch_size, k)`):
            Token ids of the recommended items, best first.
        scores (`torch.FloatTensor` of shape `(batch_size, k)`):
            Their log-probabilities among all recommendable items.
    """

    item_ids: torch.LongTensor | None = None
    scores: torch.FloatTensor | None = None


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
    top = scores.topk(min(k, scores.shape[1]))
    if allow_fewer:
        item_ids = top.indices.masked_fill(top.values.isneginf(), 0)
        return Bert4RecRecommendationOutput(item_ids=item_ids, scores=top.values)
    if k > scores.shape[1] or torch.isneginf(top.values[:, -1]).any():
        recommendable = int(scores.isneginf().logical_not().sum(1).min())
        raise ValueError(
            f"k is {k}, but only {recommendable} items can be recommended to one of the users; ask for at most that."
        )
    return Bert4RecRecommendationOutput(item_ids=top.indices, scores=top.values)


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

    def all_embeddings(self) -> torch.Tensor:
        """Embeddings of the whole vocabulary, features included: `(vocab_size, hidden_size)`."""
        return self.weight + self.pool_features(self.item_features) if self.max_values else self.weight

    def forward(self, input_ids: torch.LongTensor) -> torch.Tensor:
        if not self.max_values:
            return super().forward(input_ids)
        # Each item is pooled once where a batch holds more tokens than there are items: a third of the time.
        if input_ids.numel() >= self.num_embeddings:
            return nn.functional.embedding(input_ids, self.all_embeddings(), self.padding_idx)
        features = self.pool_features(self.item_features[input_ids.flatten()])
        return super().forward(input_ids) + features.view(*input_ids.shape, -1)


class Bert4RecEmbeddings(nn.Module):
    """Item, position and user embeddings, summed, normalised and dropped out."""

    def __init__(self, config: Bert4RecConfig):
        super().__init__()
        self.item_embeddings = Bert4RecItemEmbeddings(config)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.user_embeddings = nn.ModuleList(
            nn.Embedding(feature["num_values"], config.hidden_size, padding_idx=0) for feature in config.user_features
        )
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self,
        input_ids: torch.LongTensor | None,
        position_ids: torch.LongTensor,
        user_features: torch.LongTensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
    ) -> torch.Tensor:
        if inputs_embeds is None:
            inputs_embeds = self.item_embeddings(input_ids)
        hidden_states = inputs_embeds + self.position_embeddings(position_ids)
        if user_features is not None:
            if user_features.shape[1] != len(self.user_embeddings):
                raise ValueError(
                    f"user_features has {user_features.shape[1]} columns, the model has "
                    f"{len(self.user_embeddings)} user features."
                )
            for embedding, values in zip(self.user_embeddings, user_features.unbind(1)):
                hidden_states = hidden_states + embedding(values)[:, None]
        return self.dropout(self.norm(hidden_states))


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
    """Bidirectional multi-head self-attention."""

    def __init__(self, config: Bert4RecConfig):
        super().__init__()
        self.config = config
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.scaling = self.head_dim**-0.5
        self.attention_dropout = config.attention_probs_dropout_prob
        self.is_causal = False
        self.qkv_proj = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        input_shape = hidden_states.shape[:-1]
        query, key, value = (
            states.view(*input_shape, -1, self.head_dim).transpose(1, 2)
            for states in self.qkv_proj(hidden_states).chunk(3, dim=-1)
        )
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
        return self.out_proj(attn_output.reshape(*input_shape, -1)), attn_weights


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
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> torch.Tensor:
        if self.norm_first:
            attn_output, _ = self.attention(self.attention_norm(hidden_states), attention_mask, **kwargs)
            hidden_states = hidden_states + self.dropout(attn_output)
            return hidden_states + self.dropout(self.mlp(self.mlp_norm(hidden_states)))
        attn_output, _ = self.attention(hidden_states, attention_mask, **kwargs)
        hidden_states = self.attention_norm(hidden_states + self.dropout(attn_output))
        return self.mlp_norm(hidden_states + self.dropout(self.mlp(hidden_states)))


class Bert4RecPreTrainedModel(PreTrainedModel):
    config: Bert4RecConfig
    config_class = Bert4RecConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["Bert4RecEmbeddings", "Bert4RecLayer"]
    _supports_flash_attn = True
    _supports_sdpa = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_record_outputs = {"hidden_states": Bert4RecLayer, "attentions": Bert4RecAttention}

    @classmethod
    def from_pretrained(cls, *args, output_loading_info: bool = False, **kwargs):
        """
        As [`PreTrainedModel.from_pretrained`], which makes up what a file lacks and drops what a config lacks.

        Raises:
            `ValueError`: if the weights have other layers than the config; between two kinds of models only what is
            not the encoder's may be missing, or left over. Not where you give a `state_dict`, or ask for the
            `output_loading_info`.
        """
        model, info = super().from_pretrained(*args, output_loading_info=True, **kwargs)
        if output_loading_info:
            return model, info
        if kwargs.get("state_dict") is not None:
            return model
        is_whole = cls.__name__ in (model.config.architectures or [])
        encoder = {name for name, _ in model.base_model.named_children()}
        wrong = [
            f"{name} is {how}"
            for how in ("missing", "unexpected")
            for name in sorted(info[f"{how}_keys"])
            if is_whole or name.removeprefix(f"{cls.base_model_prefix}.").partition(".")[0] in encoder
        ]
        if wrong:
            raise ValueError(f"the weights do not fit the config: {wrong[0]} ({len(wrong)} such tensors).")
        return model

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if isinstance(module, nn.EmbeddingBag):
            init.normal_(module.weight, mean=0.0, std=self.config.initializer_range)
            if not getattr(module.weight, "_is_hf_initialized", False):
                init.zeros_(module.weight[module.padding_idx])
        elif isinstance(module, Bert4RecItemEmbeddings) and module.max_values:
            init.zeros_(module.item_features)

    def set_item_features(self, item_features: torch.Tensor):
        """
        Sets what the model knows of the items besides their ids.

        Args:
            item_features (integer `torch.Tensor` or `np.ndarray` of shape `(vocab_size, sum of max_values)`):
                Value ids of each feature in the order of `config.item_features`, 0 where there is none; what
                [`Bert4RecProcessor.item_features`] returns.

        Raises:
            `ValueError`: if the shape or a value does not fit the config.
        """
        embeddings = self.get_input_embeddings()
        item_features = torch.as_tensor(item_features, dtype=torch.int32)
        expected = (embeddings.num_embeddings, sum(embeddings.max_values))
        if tuple(item_features.shape) != expected:
            raise ValueError(f"item_features has shape {tuple(item_features.shape)}, the model needs {expected}.")
        if not embeddings.max_values:
            return
        for feature, values in zip(self.config.item_features, item_features.split(embeddings.max_values, dim=1)):
            if values.min() < 0 or values.max() >= feature["num_values"]:
                raise ValueError(f"item feature {feature['name']!r} has values outside [0, {feature['num_values']}).")
        embeddings.item_features.copy_(item_features)

    def _resize_token_embeddings(self, new_num_tokens, pad_to_multiple_of=None, mean_resizing=True):
        embeddings = super()._resize_token_embeddings(new_num_tokens, pad_to_multiple_of, mean_resizing)
        if embeddings.max_values:
            new_features = embeddings.item_features.new_zeros(embeddings.num_embeddings, sum(embeddings.max_values))
            kept = min(len(new_features), len(embeddings.item_features))
            new_features[:kept] = embeddings.item_features[:kept]
            embeddings.item_features = new_features
        return embeddings


class Bert4RecModel(Bert4RecPreTrainedModel):
    """The BERT4Rec encoder, without a head: histories to hidden states."""

    _auto_class = "AutoModel"
    _keys_to_ignore_on_load_unexpected = [r"^head\.", r"^decoder\."]

    def __init__(self, config: Bert4RecConfig):
        super().__init__(config)
        self.embeddings = Bert4RecEmbeddings(config)
        self.layers = nn.ModuleList(Bert4RecLayer(config) for _ in range(config.num_hidden_layers))
        self.final_norm = (
            nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps) if config.norm_first else nn.Identity()
        )
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self) -> Bert4RecItemEmbeddings:
        return self.embeddings.item_embeddings

    def set_input_embeddings(self, value: Bert4RecItemEmbeddings):
        self.embeddings.item_embeddings = value

    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        user_features: torch.LongTensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutput:
        r"""
        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*):
                Token ids of the items, oldest first.
            attention_mask (`torch.Tensor` of shape `(batch_size, sequence_length)`, *optional*):
                1 for items, 0 for padding, which may stand on either side.
            position_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*):
                Defaults to counting back from the newest item, which has position 0.
            user_features (`torch.LongTensor` of shape `(batch_size, num_user_features)`, *optional*):
                Value ids of the user's features, 0 for "missing".
            inputs_embeds (`torch.FloatTensor` of shape `(batch_size, sequence_length, hidden_size)`, *optional*):
                Item embeddings, features included, instead of `input_ids`.

        Raises:
            `ValueError`: for neither or both of `input_ids` and `inputs_embeds`, or for too long a sequence.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("You must specify exactly one of input_ids or inputs_embeds")
        batch_size, sequence_length = (input_ids if inputs_embeds is None else inputs_embeds).shape[:2]
        if sequence_length > self.config.max_position_embeddings:
            raise ValueError(
                f"a sequence has {sequence_length} positions, the model {self.config.max_position_embeddings}; "
                "keep the newest items (score and recommend do)."
            )
        if position_ids is None:
            # What a user gets must depend neither on padding nor on who else is in the batch.
            if attention_mask is not None and attention_mask.dim() == 2:
                position_ids = positions_from_the_newest(attention_mask)
            else:
                device = input_ids.device if inputs_embeds is None else inputs_embeds.device
                position_ids = torch.arange(sequence_length - 1, -1, -1, device=device)[None]

        hidden_states = self.embeddings(input_ids, position_ids, user_features, inputs_embeds)
        attention_mask = create_bidirectional_mask(
            config=self.config, inputs_embeds=hidden_states, attention_mask=attention_mask
        )
        for layer in self.layers:
            hidden_states = layer(hidden_states, attention_mask, **kwargs)
        return BaseModelOutput(last_hidden_state=self.final_norm(hidden_states))


def positions_from_the_newest(attention_mask: torch.Tensor) -> torch.LongTensor:
    """Number of newer items at each position of `attention_mask`, both `(batch_size, sequence_length)`."""
    return (attention_mask.long().flip(1).cumsum(1).flip(1) - 1).clamp(min=0)


class Bert4RecHeadTransform(nn.Module):
    """BERT's dense layer, activation and norm before the projection."""

    def __init__(self, config: Bert4RecConfig):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.act = ACT2FN[config.hidden_act]
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.norm(self.act(self.dense(hidden_states)))


class Bert4RecForMaskedLM(Bert4RecPreTrainedModel):
    """BERT4Rec with a head over the items, tied to their embeddings: training by masked items, recommending."""

    _auto_class = "AutoModelForMaskedLM"
    _tied_weights_keys = {"decoder.weight": "model.embeddings.item_embeddings.weight"}

    def __init__(self, config: Bert4RecConfig):
        super().__init__(config)
        self.model = Bert4RecModel(config)
        self.head = Bert4RecHeadTransform(config) if config.head_transform else nn.Identity()
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)
        self.post_init()

    def get_output_embeddings(self) -> nn.Linear:
        return self.decoder

    def set_output_embeddings(self, new_embeddings: nn.Linear):
        self.decoder = new_embeddings

    def output_weight(self) -> torch.Tensor:
        """The output layer's weight: `(vocab_size, hidden_size)`."""
        item_embeddings = self.model.embeddings.item_embeddings
        if not (self.config.head_item_features and item_embeddings.max_values):
            return self.decoder.weight
        return self.decoder.weight + item_embeddings.pool_features(item_embeddings.item_features)

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        user_features: torch.LongTensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.LongTensor | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> tuple[torch.Tensor] | MaskedLMOutput:
        r"""
        Args:
            labels (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*):
                The item to predict at each position, -100 where there is none. With labels only the labelled
                positions are projected, in chunks, and no `logits` are returned.
            num_items_in_batch (`int`, *optional*):
                Number of labelled positions the loss is divided by; `Trainer` gives that of all accumulated batches.

        The other arguments are those of [`Bert4RecModel.forward`]; without `labels`, `logits` have shape
        `(batch_size, sequence_length, vocab_size)`.
        """
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            user_features=user_features,
            inputs_embeds=inputs_embeds,
            **kwargs,
        )
        hidden_states = outputs[0]
        loss = logits = None
        if labels is None:
            logits = self.project(hidden_states)
        else:
            labelled = labels != -100
            loss = self.masked_item_loss(hidden_states[labelled], labels[labelled], num_items_in_batch)
        return MaskedLMOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )

    def project(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Hidden states `(..., hidden_size)` to logits `(..., vocab_size)`."""
        return nn.functional.linear(self.head(hidden_states), self.output_weight(), self.decoder.bias)

    def masked_item_loss(
        self,
        hidden_states: torch.Tensor,
        labels: torch.LongTensor,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Cross entropy over the vocabulary of states `(num_labels, hidden_size)` and labels `(num_labels,)`."""
        # About a million logits at once stay in a CPU's cache: 2.5 times the speed of projecting all rows at once.
        chunk = max(16, 2**20 // self.config.vocab_size) if hidden_states.device.type == "cpu" else 4096
        loss = nn.functional.linear_cross_entropy(
            self.head(hidden_states),
            self.output_weight(),
            labels,
            linear_bias=self.decoder.bias,
            reduction="sum",
            options=nn.LinearCrossEntropyOptions(batch_chunk_size=chunk, chunking_method=None),
        )
        return loss.float() / (max(len(labels), 1) if num_items_in_batch is None else num_items_in_batch)

    @torch.no_grad()
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
        input_ids, attention_mask = self.append_mask(input_ids, attention_mask)
        hidden_states = self.model(input_ids, attention_mask, user_features=user_features)[0][:, -1]
        logits = self.project(hidden_states).float()
        logits[:, [self.config.pad_token_id, self.config.mask_token_id, self.config.unk_token_id]] = -torch.inf
        return logits.log_softmax(-1)

    def append_mask(
        self, input_ids: torch.LongTensor, attention_mask: torch.Tensor | None = None
    ) -> tuple[torch.LongTensor, torch.Tensor]:
        """The newest items of histories padded on either side, moved to the right, and a MASK after them."""
        if attention_mask is None:
            attention_mask = input_ids != self.config.pad_token_id
        window = min(input_ids.shape[1], self.config.max_position_embeddings - 1)
        position_ids = positions_from_the_newest(attention_mask)
        # Padding and what is older than the window go to one column more, which is cut off.
        columns = torch.where(attention_mask.bool() & (position_ids < window), window - 1 - position_ids, window + 1)
        masked = input_ids.new_full((len(input_ids), window + 2), self.config.pad_token_id)
        masked = masked.scatter(1, columns, input_ids)[:, :-1]
        masked[:, -1] = self.config.mask_token_id
        return masked, (masked != self.config.pad_token_id).long()

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
                As for [`~Bert4RecForMaskedLM.score`].
            k (`int`, *optional*, defaults to 10):
                Number of items.
            exclude_seen (`bool`, *optional*, defaults to `False`):
                Leave out every item of the whole history.
            candidate_ids (`torch.LongTensor`, *optional*):
                Recommend among these items only; shape `(num_candidates,)` or `(batch_size, num_candidates)`.
            allow_fewer (`bool`, *optional*, defaults to `False`):
                Where fewer than `k` items can be recommended, end a list with PAD, of score `-inf`.

        Raises:
            `ValueError`: if `k` is below 1 or beyond the number of items that can be recommended.
        """
        scores = self.score(input_ids, attention_mask, user_features)
        if attention_mask is not None:
            input_ids = input_ids.masked_fill(attention_mask == 0, self.config.pad_token_id)
        return rank_items(scores, input_ids, k, exclude_seen, candidate_ids, allow_fewer)


__all__ = ["Bert4RecForMaskedLM", "Bert4RecModel", "Bert4RecPreTrainedModel", "Bert4RecRecommendationOutput"]
