# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""PyTorch BERT4Rec model."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from transformers import initialization as init
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
    Bert4RecHeadTransform,
    Bert4RecItemEmbeddings,
    Bert4RecLayer,
    Bert4RecOutputLayer,
    Bert4RecRepeatPrior,
    Bert4RecZeroLinear,
    is_item,
    positions_from_the_newest,
    rotary_position_embeddings,
    take_positions,
)
from .loss_bert4rec import (
    candidate_loss,
    check_objective,
    draw_negatives,
    linear_cross_entropy,
    mixture_loss,
    select_targets,
)
from .masking_bert4rec import Bert4RecTimeBias, can_narrow, make_mask, make_mask_of
from .recommendation_bert4rec import Bert4RecRecommendationOutput, NextItemMixin
from .weights_bert4rec import WeightsMixin


if TYPE_CHECKING:  # names every file: transformers saves and copies those that an entry point names itself
    from .modeling_bert4rec_ensemble import Bert4RecEnsembleForMaskedLM  # noqa: F401
    from .pipeline_bert4rec import ItemRecommendationPipeline  # noqa: F401
    from .processing_bert4rec import Bert4RecProcessor  # noqa: F401
    from .ranking_bert4rec import rank_items  # noqa: F401
    from .vocabulary_bert4rec import normalize_value  # noqa: F401


class Bert4RecPreTrainedModel(WeightsMixin, PreTrainedModel):
    config: Bert4RecConfig
    config_class = Bert4RecConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    # Not the embeddings: FSDP2 cannot wrap them separately from the output layer, which shares their weight.
    _no_split_modules = ["Bert4RecLayer"]
    _supports_flash_attn = True
    _supports_sdpa = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_record_outputs = {"hidden_states": Bert4RecLayer, "attentions": Bert4RecAttention}

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if isinstance(module, (Bert4RecZeroLinear, Bert4RecTimeBias)):
            init.zeros_(module.weight)
        elif isinstance(module, nn.Linear) and not isinstance(module, Bert4RecOutputLayer):  # that is an embedding
            init.lecun_normal_(module.weight)
        elif isinstance(module, nn.EmbeddingBag):
            init.normal_(module.weight, mean=0.0, std=self.config.initializer_range)
            if not getattr(module.weight, "_is_hf_initialized", False):
                init.zeros_(module.weight[module.padding_idx])
        elif isinstance(module, Bert4RecItemEmbeddings):
            for buffer in module.buffers():
                init.zeros_(buffer)
            for projection in module.vector_projections:  # of vectors of length 1: as large as an id embedding
                init.normal_(projection.weight, mean=0.0, std=self.config.initializer_range)
        if hasattr(module, "item_counts"):
            init.ones_(module.item_counts)

    def set_item_features(self, item_features: torch.Tensor | np.ndarray) -> None:
        """
        Sets the feature values of all items.

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

    def set_vector_features(self, vector_features: torch.Tensor | np.ndarray) -> None:
        """
        Sets the vectors of all items.

        Args:
            vector_features (floating-point `torch.Tensor` or `np.ndarray` of shape `(vocab_size, sum of sizes)`):
                The vectors in the order of `config.vector_features`, each of mean 0 and length 1, or all 0 where an
                item has none; what [`Bert4RecProcessor.vector_features`] returns. They are kept in half precision.

        Raises:
            `ValueError`: if the shape does not fit the config, or a number is not finite.
        """
        embeddings = self.get_input_embeddings()
        vector_features = torch.as_tensor(vector_features)
        expected = (embeddings.num_embeddings, sum(embeddings.vector_sizes))
        if tuple(vector_features.shape) != expected:
            raise ValueError(f"vector_features has shape {tuple(vector_features.shape)}, the model needs {expected}.")
        if not vector_features.sum(dtype=torch.float32).isfinite():
            raise ValueError("vector_features holds NaN or infinity.")
        if embeddings.vector_sizes:
            embeddings.vectors.copy_(vector_features)

    def _resize_token_embeddings(self, new_num_tokens, pad_to_multiple_of=None, mean_resizing=True):
        embeddings = super()._resize_token_embeddings(new_num_tokens, pad_to_multiple_of, mean_resizing)
        for name, table in [*embeddings.named_buffers()]:
            setattr(embeddings, name, _resize_rows(table, embeddings.num_embeddings, 0))
        if hasattr(self, "item_counts"):
            self.item_counts = _resize_rows(self.item_counts, embeddings.num_embeddings, 1)
        return embeddings


def _resize_rows(table: torch.Tensor, num_rows: int, fill: int) -> torch.Tensor:
    """The table cut to `num_rows` rows, or extended with `fill`."""
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
        self.time_bias = Bert4RecTimeBias(config) if config.time_intervals == "attention" else None
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self) -> Bert4RecItemEmbeddings:
        return self.embeddings.item_embeddings

    def set_input_embeddings(self, value: Bert4RecItemEmbeddings) -> None:
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
        timestamps: torch.LongTensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutput:
        r"""
        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*):
                Token ids of the items, oldest first.
            attention_mask (`torch.Tensor` of shape `(batch_size, sequence_length)`, *optional*):
                1 for items, 0 for padding, which may stand on either side. By default PAD is padding.
            position_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*):
                Defaults to counting back from the newest item, which has position 0.
            user_features (`torch.LongTensor` of shape `(batch_size, num_user_features)`, *optional*):
                Value ids of the user's features, 0 for "missing".
            inputs_embeds (`torch.FloatTensor` of shape `(batch_size, sequence_length, hidden_size)`, *optional*):
                Item embeddings, features included, instead of `input_ids`.
            output_positions (`torch.LongTensor` of shape `(batch_size, num_outputs)`, *optional*):
                Positions of the returned states; where possible the last layer computes no others.
            timestamps (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*):
                For `config.time_intervals`: the moment that each position is about, in seconds since 1970, 0 where it
                is unknown, as all are by default. It is that of the item, masked or not, or, if the model is causal,
                that of the next item, which the position predicts. With a column more, as the processor's: when each
                event was, and last the moment after the last column.

        Raises:
            `ValueError`: for neither or both of `input_ids` and `inputs_embeds`, for too long a sequence, or for
            `timestamps` of a model that does not read them.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("You must specify exactly one of input_ids or inputs_embeds")
        batch_size, sequence_length = (input_ids if inputs_embeds is None else inputs_embeds).shape[:2]
        if sequence_length > self.config.max_position_embeddings:
            raise ValueError(
                f"a sequence has {sequence_length} positions, the model {self.config.max_position_embeddings}; "
                "keep the newest items (score and recommend do)."
            )
        if attention_mask is None and input_ids is not None:
            attention_mask = (input_ids != self.config.pad_token_id).long()
        if position_ids is None:
            # A user's result must not depend on padding or on the other users of the batch.
            if attention_mask is not None and attention_mask.dim() == 2:
                position_ids = positions_from_the_newest(attention_mask)
            else:
                device = input_ids.device if inputs_embeds is None else inputs_embeds.device
                position_ids = torch.arange(sequence_length - 1, -1, -1, device=device)[None]

        if self.config.time_intervals == "none":
            if timestamps is not None:
                raise ValueError("the model does not read timestamps: its time_intervals is 'none'.")
        elif timestamps is None:
            inputs = input_ids if inputs_embeds is None else inputs_embeds
            timestamps = torch.zeros(inputs.shape[:2], dtype=torch.long, device=inputs.device)
        else:
            shapes = [(batch_size, sequence_length), (batch_size, sequence_length + 1)]
            if tuple(timestamps.shape) not in shapes or timestamps.is_floating_point():
                raise ValueError(
                    f"timestamps has shape {tuple(timestamps.shape)} and type {timestamps.dtype}; it must be integers "
                    f"of shape {shapes[0]} or {shapes[1]}."
                )
            if timestamps.shape[1] > sequence_length:
                timestamps = timestamps[:, 1:] if self.config.is_causal else timestamps[:, :-1]
            if attention_mask is not None and attention_mask.dim() == 2:
                timestamps = timestamps * (attention_mask != 0)  # OpenVINO selects in single precision

        hidden_states = self.embeddings(input_ids, position_ids, user_features, inputs_embeds, timestamps)
        mask = make_mask(self.config, hidden_states, attention_mask)
        if self.time_bias is not None:
            mask = self.time_bias(mask, timestamps)
        if self.config.position_embedding_type == "rope":
            kwargs["position_embeddings"] = rotary_position_embeddings(self.config, position_ids)
        for layer in self.layers[:-1]:
            hidden_states = layer(hidden_states, mask, **kwargs)
        if output_positions is not None and can_narrow(
            self.config, output_positions, hidden_states, attention_mask, kwargs
        ):
            mask = make_mask_of(self.config, output_positions, hidden_states, attention_mask)
            if self.time_bias is not None:
                mask = self.time_bias(mask, timestamps, output_positions)
            hidden_states = self.layers[-1](hidden_states, mask, output_positions, **kwargs)
        else:
            hidden_states = self.layers[-1](hidden_states, mask, **kwargs)
            if output_positions is not None:
                hidden_states = take_positions(hidden_states, output_positions)
        hidden_states = self.final_norm(hidden_states)
        if attention_mask is not None and attention_mask.ndim == 2 and not self.training:
            # The states at padding depend on the other rows, whose padding decides which mask is used.
            is_not_padding = attention_mask if output_positions is None else attention_mask.gather(1, output_positions)
            hidden_states = hidden_states.masked_fill(is_not_padding[..., None] == 0, 0.0)
        return BaseModelOutput(last_hidden_state=hidden_states)


class Bert4RecForMaskedLM(NextItemMixin, Bert4RecPreTrainedModel):
    """BERT4Rec with an output layer over the items, tied to their embeddings: for training and recommending."""

    _auto_class = "AutoModelForMaskedLM"
    _tied_weights_keys = {"decoder.weight": "model.embeddings.item_embeddings.weight"}

    def __init__(self, config: Bert4RecConfig):
        super().__init__(config)
        self.model = Bert4RecModel(config)
        self.head = Bert4RecHeadTransform(config) if config.head_transform else nn.Identity()
        self.decoder = Bert4RecOutputLayer(config.hidden_size, config.vocab_size)
        self.repeat_prior = Bert4RecRepeatPrior(config) if config.repeat_prior else None
        if config.samples_by_counts:
            self.register_buffer("item_counts", torch.ones(config.vocab_size, dtype=torch.int64))
        if config.tie_word_embeddings:  # or Trainer warns that the tied weight is missing in a checkpoint
            self._keys_to_ignore_on_save = [*self._tied_weights_keys]
        self.post_init()

    def set_item_counts(self, item_counts: torch.Tensor | np.ndarray) -> None:
        """
        Sets the number of training events of each item, the weights of `config.negative_sampling`.

        Args:
            item_counts (integer `torch.Tensor` or `np.ndarray` of shape `(vocab_size,)`):
                Events of each token id; counts below 1 become 1.

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

    def get_output_embeddings(self) -> Bert4RecOutputLayer:
        return self.decoder

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        if type(new_embeddings) is nn.Linear:  # what resizing makes
            new_embeddings.__class__ = Bert4RecOutputLayer
        self.decoder = new_embeddings

    def output_layer(self) -> tuple[torch.Tensor, torch.Tensor]:
        """
        The output layer's weight `(vocab_size, hidden_size)`, with the item features added, and its bias.

        Raises:
            `ValueError`: if an adapter wraps the item embeddings or the output layer.
        """
        embeddings = self.model.embeddings.item_embeddings
        if not isinstance(embeddings, Bert4RecItemEmbeddings) or not isinstance(self.decoder, Bert4RecOutputLayer):
            raise ValueError(
                "an adapter wraps the item embeddings or the output layer (decoder), which must be trained as a "
                "whole; name layers of attention and MLP in target_modules: q_proj, kv_proj, out_proj, up_proj, "
                "down_proj."
            )
        weight, bias = self.decoder()
        return embeddings(weight=weight) if self.config.head_item_features else weight, bias

    def sample_candidates(
        self, input_ids: torch.LongTensor | None, inputs_embeds: torch.Tensor | None, labels: torch.LongTensor
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """
        The input embeddings, and the arguments of [`candidate_loss`]: the labels and the negatives they share. With a
        tied output layer one embedding look-up serves both, as the gradient of each is as large as the catalogue.
        """
        config, embeddings, (weight, bias) = self.config, self.get_input_embeddings(), self.decoder()
        counts = self.item_counts.clone() if config.samples_by_counts else torch.ones_like(bias)
        counts[list(self.special_ids)] = 0
        item_ids, log_q = draw_negatives(labels, config.num_negatives, config.negative_sampling, counts)
        if inputs_embeds is None and weight is embeddings.weight and config.head_item_features:
            rows = embeddings(torch.cat([input_ids.flatten(), item_ids]))
            inputs_embeds, rows = rows.split([input_ids.numel(), len(item_ids)])
            inputs_embeds = inputs_embeds.view(*input_ids.shape, -1)
        else:
            inputs_embeds = embeddings(input_ids) if inputs_embeds is None else inputs_embeds
            embed = embeddings if config.head_item_features else nn.functional.embedding
            rows = embed(item_ids, weight)
        return inputs_embeds, {"item_ids": item_ids, "log_q": log_q, "weight": rows, "bias": bias[item_ids]}

    @property
    def special_ids(self) -> tuple[int, ...]:
        """The ids that are not items."""
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
        target_positions: torch.LongTensor | None = None,
        timestamps: torch.LongTensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> tuple[torch.Tensor] | MaskedLMOutput:
        r"""
        Args:
            labels (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*):
                The item to predict at each position, -100 where there is none. In training only the labelled positions
                are projected onto the items, in chunks, and no `logits` are returned.
            target_positions (`torch.LongTensor` of shape `(batch_size, num_targets)`, *optional*):
                Positions that predict, all by default. `labels`, if given, and `logits` then have a column for each
                of them. A position may be repeated.
            num_items_in_batch (`int`, *optional*):
                Number of labels the loss is divided by; `Trainer` gives that of all accumulated batches.

        The other arguments are those of [`Bert4RecModel.forward`]. `logits` have shape `(batch_size, sequence_length
        or num_targets, vocab_size)`. With `config.repeat_prior` they are log-probabilities; the history of a position
        is all other visible `input_ids`, or those up to it if the model is causal.

        Raises:
            `ValueError`: if `labels` are for the other objective, and if a model with a repeat prior, or one with
            `exclude_seen_in_loss` and labels, gets `inputs_embeds`.
        """
        exclude_seen = self.config.exclude_seen_in_loss and labels is not None
        has_prior = self.repeat_prior is not None
        if input_ids is None and (exclude_seen or has_prior):
            raise ValueError(
                f"a model with {'exclude_seen_in_loss' if exclude_seen else 'a repeat prior'} needs input_ids."
            )
        history_ids, loss, logits, candidates, excluded = input_ids, None, None, None, {}
        if labels is not None:
            if input_ids is not None:
                check_objective(self.config, input_ids, attention_mask, labels, target_positions)
            if exclude_seen:
                excluded["exclude_ids"] = self.items_of_rows(input_ids, attention_mask, labels)
            target_positions, places, labels = select_targets(labels, target_positions, keep_all=not self.training)
            if self.config.loss != "cross_entropy" and len(labels):
                inputs_embeds, candidates = self.sample_candidates(input_ids, inputs_embeds, labels)
                input_ids = None
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            user_features=user_features,
            inputs_embeds=inputs_embeds,
            output_positions=target_positions,
            timestamps=timestamps,
            **kwargs,
        )
        states = outputs[0].flatten(0, 1)
        if labels is not None:
            history = self.histories_at(history_ids, attention_mask, target_positions, places) if has_prior else ()
            if exclude_seen:
                excluded["rows"] = places // target_positions.shape[1]
            loss = self.loss_function(states[places], labels, history, candidates, excluded, **kwargs)
        if labels is None or not self.training:
            history = self.histories_at(history_ids, attention_mask, target_positions) if has_prior else ()
            logits = self.logits_of(states, *history).view(*outputs[0].shape[:2], -1)
        return MaskedLMOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )

    def loss_function(
        self,
        hidden_states: torch.Tensor,
        labels: torch.LongTensor,
        history: tuple[torch.LongTensor, ...] = (),
        candidates: dict[str, torch.Tensor] | None = None,
        excluded: dict[str, torch.Tensor] | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> torch.Tensor:
        """
        The loss set by `loss`, `repeat_prior` and `exclude_seen_in_loss` of the config.

        Args:
            hidden_states (`torch.Tensor` of shape `(num_labels, hidden_size)`): states that predict the labels.
            labels (`torch.LongTensor` of shape `(num_labels,)`): token ids.
            history, candidates (*optional*): from [`~Bert4RecForMaskedLM.histories_at`] and
                [`~Bert4RecForMaskedLM.sample_candidates`].
            excluded (*optional*): `exclude_ids` and `rows` of [`linear_cross_entropy`].
            num_items_in_batch (`int`, *optional*): divisor of the sum; the number of labels by default.
        """
        states = self.head(hidden_states)
        if candidates is not None:
            loss = candidate_loss(self.config, states, **candidates)
        elif history:
            history_ids, ages = history
            losses = linear_cross_entropy(states, labels, *self.output_layer(), reduction="none")
            share, shares = self.repeat_prior(hidden_states, ages)
            loss = mixture_loss(losses, share, (shares * (history_ids == labels[:, None])).sum(1))
        else:
            loss = linear_cross_entropy(states, labels, *self.output_layer(), **(excluded or {}))
        loss = loss.to(torch.promote_types(loss.dtype, torch.float32))
        return loss / (max(len(labels), 1) if num_items_in_batch is None else num_items_in_batch)

    def items_of_rows(
        self, input_ids: torch.LongTensor, attention_mask: torch.Tensor | None, labels: torch.LongTensor
    ) -> torch.LongTensor:
        """The items of each row, masked ones among the labels, and the ids that are no items, `(batch_size, any)`."""
        seen_ids = self.seen_items(input_ids, attention_mask if getattr(attention_mask, "ndim", 0) == 2 else None)
        label_ids = labels.masked_fill(labels == -100, self.config.pad_token_id)
        special_ids = labels.new_tensor(self.special_ids).expand(len(labels), -1)
        return torch.cat([seen_ids, label_ids, special_ids], dim=1)

    def project(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Hidden states `(..., hidden_size)` to logits `(..., vocab_size)`."""
        return nn.functional.linear(self.head(hidden_states), *self.output_layer())

    def logits_of(self, hidden_states: torch.Tensor, *history: torch.LongTensor) -> torch.Tensor:
        """States `(num_states, hidden_size)` to logits `(num_states, vocab_size)`, mixed with a history if given."""
        logits = self.project(hidden_states)
        if not history:
            return logits
        return self.repeat_prior.mix(logits.float().log_softmax(-1), hidden_states, *history)

    def histories_at(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        positions: torch.LongTensor | None = None,
        places: torch.LongTensor | None = None,
    ) -> tuple[torch.LongTensor, ...]:
        """
        The history at each prediction for [`~Bert4RecForMaskedLM.log_probabilities`]; `()` if that needs none.

        Args:
            positions (`torch.LongTensor` of shape `(batch_size, num_positions)`, *optional*): columns, all by default.
            places (`torch.LongTensor` of shape `(num_states,)`, *optional*): into the flattened `positions`, all by
                default.

        Returns:
            The items of the rows, and the distance of each in events, 0 if it does not count: the predicted item,
            masked items and, for a causal model, later items; both `(num_states, sequence_length)`. Without a repeat
            prior, only the items that count, and PAD for the others.
        """
        if self.repeat_prior is None and not self.config.exclude_seen_in_loss:
            return ()
        columns = torch.arange(input_ids.shape[1], device=input_ids.device)
        positions = columns.expand(len(input_ids), -1) if positions is None else positions
        rows = torch.arange(len(input_ids), device=input_ids.device).repeat_interleave(positions.shape[1])
        columns_of_states = positions.flatten()
        if places is not None:
            rows, columns_of_states = rows[places], columns_of_states[places]
        ages = columns_of_states[:, None] - columns
        ages = (ages + 1).clamp(min=0) if self.config.is_causal else ages.abs()  # a causal input is the item before
        item_ids = self.seen_items(input_ids, attention_mask if getattr(attention_mask, "ndim", 0) == 2 else None)
        item_ids, ages = item_ids[rows], ages.masked_fill(~is_item(self.config, item_ids)[rows], 0)
        if self.repeat_prior is None:
            return (item_ids.masked_fill(ages == 0, self.config.pad_token_id),)
        return item_ids, ages


__all__ = ["Bert4RecForMaskedLM", "Bert4RecModel", "Bert4RecPreTrainedModel", "Bert4RecRecommendationOutput"]
