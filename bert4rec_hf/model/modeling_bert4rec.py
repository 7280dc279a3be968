# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""PyTorch BERT4Rec model."""

import math

import torch
from torch import nn
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.masking_utils import create_bidirectional_mask, create_causal_mask
from transformers.modeling_outputs import BaseModelOutput, MaskedLMOutput
from transformers.modeling_utils import PreTrainedModel
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs
from transformers.utils.generic import can_return_tuple, merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .configuration_bert4rec import Bert4RecConfig
from .layers_bert4rec import (
    Bert4RecAttention,
    Bert4RecEmbeddings,
    Bert4RecItemEmbeddings,
    Bert4RecLayer,
    Bert4RecRepeatPrior,
    rotary_position_embeddings,
    take_positions,
)
from .loss_bert4rec import draw_negatives, gbce_beta, gbce_loss, sampled_softmax_loss
from .ranking_bert4rec import (
    Bert4RecRecommendationOutput,
    RecommendationMixin,
    add_history,
    as_lists,
    first_of_each,
    log_of_shares,
    stream_top_k,
)


# Beyond so many items `recommend` never holds the scores of all of them.
STREAM_FROM = 2**16


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
            not the encoder's may be missing, or left over. If they hold what nobody can be recommended from: NaN,
            infinity, or features that the config does not have. Not where you give a `state_dict`, or ask for the
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
        model._check_values()
        return model

    @torch.no_grad()
    def _check_values(self):
        for name, tensor in self.named_parameters():
            # Their sum: once over the weights, a fraction of reading them.
            if tensor.is_floating_point() and not tensor.is_meta and not tensor.sum(dtype=torch.float32).isfinite():
                raise ValueError(f"the weights cannot be used: {name} holds NaN, infinity or numbers near it.")
        for name, module in self.named_modules():
            if isinstance(module, Bert4RecItemEmbeddings) and module.max_values and not module.item_features.is_meta:
                for bag, ids in zip(module.feature_embeddings, module.item_features.split(module.max_values, dim=1)):
                    if ids.min() < 0 or ids.max() >= bag.num_embeddings:
                        raise ValueError(f"the weights cannot be used: {name} holds features that are none.")

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if isinstance(module, nn.Linear) and module is not getattr(self, "decoder", None):  # that is an embedding
            (init.zeros_ if isinstance(module, Bert4RecRepeatPrior) else init.lecun_normal_)(module.weight)
        if isinstance(module, nn.EmbeddingBag):
            init.normal_(module.weight, mean=0.0, std=self.config.initializer_range)
            if not getattr(module.weight, "_is_hf_initialized", False):
                init.zeros_(module.weight[module.padding_idx])
        elif isinstance(module, Bert4RecItemEmbeddings) and module.max_values:
            init.zeros_(module.item_features)
        if hasattr(module, "item_counts"):
            init.ones_(module.item_counts)

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
            embeddings.item_features = _resized(embeddings.item_features, embeddings.num_embeddings, 0)
        if hasattr(self, "item_counts"):
            self.item_counts = _resized(self.item_counts, embeddings.num_embeddings, 1)
        return embeddings


def _resized(table: torch.Tensor, num_rows: int, fill: int) -> torch.Tensor:
    """The first `num_rows` rows of a table, which go on with `fill`."""
    table = table[:num_rows]
    return torch.cat([table, table.new_full((num_rows - len(table), *table.shape[1:]), fill)])


class Bert4RecModel(Bert4RecPreTrainedModel):
    """The BERT4Rec encoder, without a head: histories to hidden states."""

    _auto_class = "AutoModel"
    _keys_to_ignore_on_load_unexpected = [r"^head\.", r"^decoder\.", r"^repeat_prior\."]

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
        output_positions: torch.LongTensor | None = None,
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
            output_positions (`torch.LongTensor` of shape `(batch_size, num_outputs)`, *optional*):
                The positions whose last states are wanted. The last layer computes no others.

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
        mask = self.make_mask(hidden_states, attention_mask)
        if self.config.position_embedding_type == "rope":
            kwargs["position_embeddings"] = rotary_position_embeddings(self.config, position_ids)
        for layer in self.layers[:-1]:
            hidden_states = layer(hidden_states, mask, **kwargs)
        # The other implementations know no queries but all or the last ones, and a ready mask is one of all queries.
        narrow = self.config._attn_implementation in ("eager", "sdpa") and getattr(attention_mask, "ndim", 2) == 2
        if self.config.is_causal and output_positions is not None:
            # In training all positions are wanted, for which sdpa needs no mask.
            narrow = narrow and 2 * output_positions.shape[1] <= sequence_length
        if output_positions is None or not narrow:
            hidden_states = self.layers[-1](hidden_states, mask, **kwargs)
            if output_positions is not None:
                hidden_states = take_positions(hidden_states, output_positions)
        else:
            mask = self.make_mask_of(output_positions, hidden_states, attention_mask)
            hidden_states = self.layers[-1](hidden_states, mask, output_positions, **kwargs)
        return BaseModelOutput(last_hidden_state=self.final_norm(hidden_states))

    def make_mask(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None, **kwargs):
        is_causal, of_rows = self.config.is_causal, getattr(attention_mask, "ndim", None) == 2
        if is_causal and of_rows and self.config._attn_implementation == "sdpa":
            if (attention_mask[:, 1:] <= attention_mask[:, :-1]).all():
                attention_mask = None  # no item looks at padding behind it, and sdpa is faster with no mask
        if is_causal:
            mask = create_causal_mask(self.config, hidden_states, attention_mask, None)
        else:
            mask = create_bidirectional_mask(self.config, hidden_states, attention_mask, **kwargs)
        if of_rows and isinstance(mask, torch.Tensor) and mask.dtype == torch.bool and mask.device.type == "cpu":
            # sdpa would make numbers of it in every layer, and of all queries, which are alike if all see the same.
            mask = _as_numbers(mask if is_causal else mask[:, :, :1], hidden_states.dtype)
        return mask

    def make_mask_of(
        self, positions: torch.LongTensor, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None
    ):
        """The mask of the queries at `positions` `(batch_size, num_positions)` only."""
        if not self.config.is_causal:
            queries = hidden_states[:, : positions.shape[1]]
            return self.make_mask(queries, attention_mask, encoder_hidden_states=hidden_states)
        mask = torch.arange(hidden_states.shape[1], device=positions.device) <= positions[..., None]
        if attention_mask is not None:
            mask &= attention_mask[:, None].bool()
        return _as_numbers(mask[:, None], hidden_states.dtype)


def _as_numbers(mask: torch.BoolTensor, dtype: torch.dtype) -> torch.Tensor:
    return torch.where(mask, 0.0, torch.finfo(dtype).min).to(dtype)


def find_labels(
    labels: torch.LongTensor, label_positions: torch.LongTensor | None = None
) -> tuple[torch.LongTensor, torch.LongTensor, torch.LongTensor]:
    """
    Where the labels are in `(batch_size, sequence_length)`, -100 where there is none; or, of labels of any width, at
    their `label_positions`.

    Returns:
        The columns that have one, and others after them, `(batch_size, most of a row)`; the places of the labelled in
        that, flattened, and the labels, row by row, both `(num_labels,)`.
    """
    labelled = labels != -100
    counts = labelled.sum(1)
    num_labels, most = torch.stack([counts.sum(), counts.max()]).tolist()  # waits for the device once a step
    positions = labelled.logical_not().byte().argsort(dim=1, stable=True)[:, : max(most, 1)]
    labels = labels.gather(1, positions).flatten()
    positions = positions if label_positions is None else label_positions.gather(1, positions)
    places = torch.nonzero_static(labels != -100, size=num_labels)[:, 0]
    return positions, places, labels[places]


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


class Bert4RecForMaskedLM(RecommendationMixin, Bert4RecPreTrainedModel):
    """BERT4Rec with a head over the items, tied to their embeddings: training by masked items, recommending."""

    _auto_class = "AutoModelForMaskedLM"
    _tied_weights_keys = {"decoder.weight": "model.embeddings.item_embeddings.weight"}

    def __init__(self, config: Bert4RecConfig):
        super().__init__(config)
        self.model = Bert4RecModel(config)
        self.head = Bert4RecHeadTransform(config) if config.head_transform else nn.Identity()
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)
        self.repeat_prior = Bert4RecRepeatPrior(config) if config.repeat_prior else None
        if config.samples_by_counts:
            self.register_buffer("item_counts", torch.ones(config.vocab_size, dtype=torch.int64))
        self.post_init()

    def set_item_counts(self, item_counts: torch.Tensor):
        """
        Sets how often the training rows have each item, by which `config.negative_sampling` draws.

        Args:
            item_counts (integer `torch.Tensor` or `np.ndarray` of shape `(vocab_size,)`):
                Events of each token id; what is below 1 counts as 1.

        Raises:
            `ValueError`: if the shape does not fit the config.
        """
        item_counts = torch.as_tensor(item_counts)
        if item_counts.shape != (self.config.vocab_size,):
            raise ValueError(
                f"item_counts has shape {tuple(item_counts.shape)}, the model needs ({self.config.vocab_size},)."
            )
        if self.config.samples_by_counts:
            self.item_counts.copy_(item_counts.clamp(min=1))

    def get_output_embeddings(self) -> nn.Linear:
        return self.decoder

    def set_output_embeddings(self, new_embeddings: nn.Linear):
        self.decoder = new_embeddings

    def output_weight(self) -> torch.Tensor:
        """The output layer's weight: `(vocab_size, hidden_size)`."""
        item_embeddings = self.get_input_embeddings()
        if not (self.config.head_item_features and item_embeddings.max_values):
            return self.decoder.weight
        return self.decoder.weight + item_embeddings.pool_features(item_embeddings.item_features)

    def look_up(self, input_ids: torch.LongTensor, item_ids: torch.LongTensor) -> tuple[torch.Tensor, torch.Tensor]:
        """
        The input embeddings of `input_ids` `(batch_size, sequence_length)` and the output layer's rows for `item_ids`
        `(num_items,)`. Where it is tied, by one look-up: its gradient is as large as the catalogue.
        """
        embeddings = self.get_input_embeddings()
        if self.decoder.weight is embeddings.weight:
            wanted = torch.cat([input_ids.flatten(), item_ids])
            rows = nn.functional.embedding(wanted, embeddings.weight, embeddings.padding_idx)
            inputs, outputs = rows.split([input_ids.numel(), len(item_ids)])
            inputs = embeddings.add_features(inputs.view(*input_ids.shape, -1), input_ids)
        else:
            inputs, outputs = embeddings(input_ids), nn.functional.embedding(item_ids, self.decoder.weight)
        return inputs, embeddings.add_features(outputs, item_ids) if self.config.head_item_features else outputs

    @property
    def special_ids(self) -> tuple[int, ...]:
        """The ids that are no items."""
        return self.config.pad_token_id, self.config.mask_token_id, self.config.unk_token_id

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        user_features: torch.LongTensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.LongTensor | None = None,
        label_positions: torch.LongTensor | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        teacher_ids: torch.LongTensor | None = None,
        teacher_probs: torch.FloatTensor | None = None,
        teacher_weight: float = 0.5,
        temperature: float = 1.0,
        **kwargs: Unpack[TransformersKwargs],
    ) -> tuple[torch.Tensor] | MaskedLMOutput:
        r"""
        Args:
            labels (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*):
                The item to predict at each position, -100 where there is none. With labels only the labelled
                positions are projected, in chunks, and no `logits` are returned.
            label_positions (`torch.LongTensor` of the shape of `labels`, *optional*):
                The column of each label, where `labels` have another shape, `(batch_size, most labels)`: several
                items can be predicted at one position.
            num_items_in_batch (`int`, *optional*):
                Number of labelled positions the loss is divided by; `Trainer` gives that of all accumulated batches.
            teacher_ids, teacher_probs (`torch.Tensor` of shape `(num_labels, any)`, *optional*):
                To learn from a teacher too: items and what it thinks of them at each label, row by row, as
                [`Bert4RecEnsembleForMaskedLM.label_distribution`] gives them at the same temperature.
            teacher_weight (`float`, *optional*, defaults to 0.5):
                Share of the teacher in the loss, from 0 (the labels alone) to 1 (the teacher alone).
            temperature (`float`, *optional*, defaults to 1.0):
                Of the student's distribution that is compared with the teacher's
                (https://huggingface.co/papers/1503.02531).

        The other arguments are those of [`Bert4RecModel.forward`]; without `labels`, `logits` have shape
        `(batch_size, sequence_length, vocab_size)`. With `config.repeat_prior` they are log-probabilities; the history
        of a position is what `input_ids` show beside it, or before it if the model is causal.

        Raises:
            `ValueError`: if a model with a repeat prior gets `inputs_embeds` or a teacher.
        """
        if self.repeat_prior is not None and (input_ids is None or teacher_ids is not None):
            raise ValueError("a model with a repeat prior needs input_ids, and learns from no teacher.")
        positions = sample = None
        if labels is not None:
            positions, places, labels = find_labels(labels, label_positions)
            if self.config.loss != "cross_entropy" and len(labels):
                sample = self.draw_items(labels)
                if inputs_embeds is None:
                    inputs_embeds, sample["weight"] = self.look_up(input_ids, sample["item_ids"])
                    input_ids = None
                else:
                    sample["weight"] = self.output_weight()[sample["item_ids"]]
        recorded = ("output_hidden_states", "output_attentions")
        record = any(kwargs.get(name, getattr(self.config, name)) for name in recorded)  # of all positions
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            user_features=user_features,
            inputs_embeds=inputs_embeds,
            output_positions=None if record else positions,
            **kwargs,
        )
        hidden_states = outputs[0]
        loss = logits = None
        if labels is None:
            logits = self.project(hidden_states)
            if self.repeat_prior is not None:
                places = torch.arange(input_ids.numel(), device=input_ids.device)
                history = self.histories_at(places, input_ids, attention_mask)
                log_probs = logits.float().log_softmax(-1).flatten(0, 1)
                logits = self.mix(log_probs, hidden_states.flatten(0, 1), *history).view(logits.shape)
        else:
            hidden_states = take_positions(hidden_states, positions) if record else hidden_states
            hidden_states = hidden_states.flatten(0, 1)[places]
            history = self.histories_at(places, input_ids, attention_mask, positions)
            if self.repeat_prior is not None:
                loss = self.mixture_loss(hidden_states, labels, *history)
            else:
                hidden_states = self.head(hidden_states)
                loss = self.sampled_loss(hidden_states, **sample) if sample else self.exact_loss(hidden_states, labels)
            if teacher_ids is not None:
                # The cross entropy with a distribution is that with the label and its logit's lead over the mean.
                same = sample is None and temperature == 1
                soft_loss = loss if same else self.exact_loss(hidden_states, labels, temperature)
                lead = self.teacher_lead(hidden_states, labels, teacher_ids, teacher_probs)
                soft_loss = temperature**2 * (soft_loss + lead / temperature)
                loss = (1 - teacher_weight) * loss + teacher_weight * soft_loss
            loss = loss.float() / (max(len(labels), 1) if num_items_in_batch is None else num_items_in_batch)
        return MaskedLMOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )

    def project(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Hidden states `(..., hidden_size)` to logits `(..., vocab_size)`."""
        return nn.functional.linear(self.head(hidden_states), self.output_weight(), self.decoder.bias)

    def exact_loss(
        self, hidden_states: torch.Tensor, labels: torch.LongTensor, temperature: float = 1.0, reduction: str = "sum"
    ) -> torch.Tensor:
        """The cross entropy over all items: of states `(num_labels, hidden_size)` after the head."""
        # Few rows at once reread the items too often, many do not stay in a CPU's cache.
        on_cpu = hidden_states.device.type == "cpu"
        chunk = 256 if on_cpu else min(4096, max(256, 2**28 // self.config.vocab_size))
        return nn.functional.linear_cross_entropy(
            hidden_states / temperature,
            self.output_weight(),
            labels,
            linear_bias=self.decoder.bias / temperature,
            reduction=reduction,
            options=nn.LinearCrossEntropyOptions(batch_chunk_size=chunk, chunking_method=None),
        )

    def histories_at(
        self,
        places: torch.LongTensor,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        positions: torch.LongTensor | None = None,
    ) -> tuple[torch.LongTensor, ...]:
        """
        What a repeat prior sees where items are predicted; nothing if there is none.

        Args:
            places (`torch.LongTensor` of shape `(num_states,)`): into the flattened `positions`.
            positions (`torch.LongTensor` of shape `(batch_size, num_positions)`, *optional*): columns, all by default.

        Returns:
            The items of the rows, and how many events away each is, 0 if it does not count: the predicted item itself,
            what is masked and, of a causal model, what comes later; both `(num_states, sequence_length)`.
        """
        if self.repeat_prior is None:
            return ()
        columns = torch.arange(input_ids.shape[1], device=input_ids.device)
        if positions is None:
            positions = columns.expand(len(input_ids), -1)
        rows, wanted = places.div(positions.shape[1], rounding_mode="floor"), positions.flatten()[places]
        ages = wanted[:, None] - columns
        ages = (ages + 1).clamp(min=0) if self.config.is_causal else ages.abs()  # a causal input is the item before
        item_ids = self.seen_items(input_ids, attention_mask if getattr(attention_mask, "ndim", 0) == 2 else None)
        return item_ids[rows], ages.masked_fill(~self.are_items(item_ids)[rows], 0)

    def are_items(self, input_ids: torch.LongTensor) -> torch.BoolTensor:
        return torch.stack([input_ids != special_id for special_id in self.special_ids]).all(0)

    def mix(
        self,
        log_probs: torch.Tensor,
        hidden_states: torch.Tensor,
        history_ids: torch.LongTensor,
        ages: torch.LongTensor,
    ) -> torch.Tensor:
        """The softmax's `log_probs` `(num_states, vocab_size)` and the repeat prior's, by their shares."""
        share, shares = self.repeat_prior(hidden_states, ages)
        log_probs = log_probs + share[:, None]
        return log_probs.scatter(1, history_ids, add_history(log_probs.gather(1, history_ids), history_ids, shares))

    def mixture_loss(
        self,
        hidden_states: torch.Tensor,
        labels: torch.LongTensor,
        history_ids: torch.LongTensor,
        ages: torch.LongTensor,
    ) -> torch.Tensor:
        """The sum of the cross entropy of what [`~Bert4RecForMaskedLM.mix`] gives, for the labels alone."""
        losses = self.exact_loss(self.head(hidden_states), labels, reduction="none").float()
        share, shares = self.repeat_prior(hidden_states, ages)
        repeated = (shares * (history_ids == labels[:, None])).sum(1)
        return -torch.logaddexp(share - losses, log_of_shares(repeated)).sum()

    def teacher_lead(
        self,
        hidden_states: torch.Tensor,
        labels: torch.LongTensor,
        teacher_ids: torch.LongTensor,
        teacher_probs: torch.FloatTensor,
    ) -> torch.Tensor:
        """The sum of what the labels' logits exceed those of the teacher's items by, in its mean."""
        weight, bias = self.output_weight(), self.decoder.bias
        teacher_probs = teacher_probs.to(weight.dtype)
        # Its mean logit is that of its mean embedding: no embedding of each item at each label.
        mean = nn.functional.embedding_bag(teacher_ids, weight, mode="sum", per_sample_weights=teacher_probs)
        lead = (hidden_states * (weight[labels] - mean)).sum(1)
        return (lead + bias[labels] - (bias[teacher_ids] * teacher_probs).sum(1)).sum()

    def draw_items(self, labels: torch.LongTensor) -> dict[str, torch.Tensor]:
        """`item_ids`, the labels and the negatives that they share, and `log_q`; see `draw_negatives`."""
        config = self.config
        counts = self.item_counts.clone() if config.samples_by_counts else torch.ones_like(self.decoder.bias)
        counts[list(self.special_ids)] = 0
        item_ids, log_q = draw_negatives(labels, config.num_negatives, config.negative_sampling, counts)
        return {"item_ids": item_ids, "log_q": log_q}

    def sampled_loss(
        self, hidden_states: torch.Tensor, item_ids: torch.LongTensor, log_q: torch.Tensor, weight: torch.Tensor
    ) -> torch.Tensor:
        """The sum of the loss over states `(num_labels, hidden_size)`; the items are their labels and negatives."""
        config, num_labels, num_items = self.config, len(hidden_states), self.config.vocab_size - len(self.special_ids)
        bias = self.decoder.bias[item_ids]
        if config.loss == "gbce":
            rate = min(config.num_negatives / (num_items - 1), 1.0)
            # The best logit of an item that is as likely as any: without it hundreds of steps go into finding it.
            start = math.log(gbce_beta(rate, config.gbce_t) / config.num_negatives)
            bias = bias + start - (log_q + math.log(num_items))
        positive = ((hidden_states * weight[:num_labels]).sum(1) + bias[:num_labels]).float()
        negative = torch.addmm(bias[num_labels:], hidden_states, weight[num_labels:].T).float()
        negative = negative.masked_fill(item_ids[:num_labels, None] == item_ids[num_labels:], -torch.inf)
        if config.loss == "gbce":
            return gbce_loss(positive, negative, rate, config.gbce_t)
        return sampled_softmax_loss(positive, negative, log_q[num_labels:])

    @torch.no_grad()
    def score(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        user_features: torch.LongTensor | None = None,
    ) -> torch.Tensor:
        return self.log_probabilities(*self.next_item_states(input_ids, attention_mask, user_features))

    def log_probabilities(self, hidden_states: torch.Tensor, *history: torch.LongTensor) -> torch.Tensor:
        """
        States `(num_states, hidden_size)`, with a repeat prior also the `history_ids` and `ages` of
        [`~Bert4RecForMaskedLM.mix`], to log-probabilities `(num_states, vocab_size)`; see `score`.
        """
        logits = self.project(hidden_states).float()
        for special_id in self.special_ids:  # a list of them would have to be sent to the device
            logits[:, special_id] = -torch.inf
        log_probs = logits.log_softmax(-1)
        return self.mix(log_probs, hidden_states, *history) if history else log_probs

    def next_item_states(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        user_features: torch.LongTensor | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """
        What [`~Bert4RecForMaskedLM.log_probabilities`] takes: the encoder's states `(batch_size, hidden_size)` where
        what comes next is predicted, and what a repeat prior sees there: the whole history.
        """
        history = ()
        if self.repeat_prior is not None:
            item_ids = self.seen_items(input_ids, attention_mask)
            ages = positions_from_the_newest(item_ids != self.config.pad_token_id) + 1
            history = item_ids, ages.masked_fill(~self.are_items(item_ids), 0)
        input_ids, attention_mask, last = self.add_mask(input_ids, attention_mask)
        outputs = self.model(input_ids, attention_mask, user_features=user_features, output_positions=last)
        return outputs[0][:, 0], *history

    def add_mask(
        self, input_ids: torch.LongTensor, attention_mask: torch.Tensor | None = None
    ) -> tuple[torch.LongTensor, torch.Tensor, torch.LongTensor]:
        """
        The newest items of histories padded on either side, with the MASK after them and moved to the right. If the
        model is causal, the MASK is before those that are known from their start, and all are moved to the left.

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
        # Padding and what is too old go to one column more, which is cut off.
        columns = torch.where(attention_mask.bool() & (columns >= 0), columns, width)
        masked = input_ids.new_full((len(input_ids), width + 1), self.config.pad_token_id)
        masked[:, 0 if self.config.is_causal else width - 1] = self.config.mask_token_id
        masked = masked.scatter(1, columns, input_ids)[:, :width]
        return masked, (masked != self.config.pad_token_id).long(), last

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
        if self.config.vocab_size <= STREAM_FROM:
            filters = (k, exclude_seen, candidate_ids, allow_fewer)
            return super().recommend(input_ids, attention_mask, user_features, *filters)
        self.check_inputs(input_ids, attention_mask, user_features, candidate_ids)
        seen_ids = self.seen_items(input_ids, attention_mask) if exclude_seen else None
        states, *history = self.next_item_states(input_ids, attention_mask, user_features)
        hidden_states, weight, bias = self.head(states), self.output_weight(), self.decoder.bias
        # With a repeat prior the order of what is new is the softmax's; the history is added to it.
        left_out = history[0] if history else seen_ids
        values, item_ids, normalizer = stream_top_k(
            hidden_states, weight, bias, k, self.special_ids, left_out, candidate_ids
        )
        if history:
            history_ids, ages = history
            share, shares = self.repeat_prior(states, ages)
            values = values + share[:, None]
            if not exclude_seen:
                log_probs = (weight[history_ids] @ hidden_states[..., None])[..., 0] + bias[history_ids] - normalizer
                repeated = add_history(log_probs + share[:, None], history_ids, shares)
                listed = first_of_each(history_ids, candidate_ids) & (ages > 0)
                repeated = repeated.masked_fill(~listed, -torch.inf)
                values = torch.cat([values, repeated], 1)
                values, places = values.topk(min(k, values.shape[1]))
                item_ids = torch.cat([item_ids, history_ids], 1).gather(1, places)
        return as_lists(values, item_ids, k, allow_fewer)


__all__ = ["Bert4RecForMaskedLM", "Bert4RecModel", "Bert4RecPreTrainedModel", "Bert4RecRecommendationOutput"]
