# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""BERT4Rec model configuration."""

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


@strict
class Bert4RecConfig(PreTrainedConfig):
    r"""
    The configuration of a [`Bert4RecModel`]: BERT4Rec (https://huggingface.co/papers/1904.06690) with features of the
    items and of the user as side embeddings. The sizes of the vocabularies come from
    [`Bert4RecProcessor.config_kwargs`].

    Args:
        vocab_size (`int`, *optional*, defaults to 1000):
            Number of token ids: PAD, MASK, UNK and one for each item.
        hidden_size (`int`, *optional*, defaults to 128):
            Width of the embeddings and of the encoder.
        num_hidden_layers (`int`, *optional*, defaults to 2):
            Number of encoder layers.
        num_attention_heads (`int`, *optional*, defaults to 4):
            Number of attention heads of a layer; `hidden_size` must be a multiple of it.
        intermediate_size (`int`, *optional*, defaults to 512):
            Width of the feed-forward part of a layer.
        hidden_act (`str`, *optional*, defaults to `"gelu"`):
            Activation of the feed-forward part and of the head's transform.
        hidden_dropout_prob (`float`, *optional*, defaults to 0.1):
            Dropout after the embeddings and after each sub-layer.
        attention_probs_dropout_prob (`float`, *optional*, defaults to 0.0):
            Dropout of the attention weights. Off by default: on a CPU it keeps sdpa off its fast kernel.
        max_position_embeddings (`int`, *optional*, defaults to 128):
            Longest sequence, the appended MASK included; at least 2. Position 0 is the newest item.
        initializer_range (`float`, *optional*, defaults to `0.5 / hidden_size**0.5`):
            Standard deviation of the initial weights: BERT's 0.02 at its 768, and attention as sharp at other widths.
            With 0.02 a narrow model takes several times as long to learn the order of items.
        layer_norm_eps (`float`, *optional*, defaults to 1e-12):
            Epsilon of the layer norms.
        norm_first (`bool`, *optional*, defaults to `False`):
            Pre-LN with a final norm instead of BERT's post-LN.
        head_transform (`bool`, *optional*, defaults to `True`):
            BERT's dense layer, activation and norm before the projection onto the items.
        head_item_features (`bool`, *optional*, defaults to `False`):
            Project onto id embedding + pooled features instead of the id embedding alone.
        tie_word_embeddings (`bool`, *optional*, defaults to `True`):
            Use the item embeddings as the output layer.
        item_features (`list[dict]`, *optional*):
            One `{"name", "num_values", "max_values"}` for each feature of an item, in the order of the columns of
            `Bert4RecModel.set_item_features`. Value 0 is "missing"; `max_values` values of a feature are kept.
        user_features (`list[dict]`, *optional*):
            One `{"name", "num_values"}` for each column of the model's `user_features` input. Value 0 is "missing".

    Raises `StrictDataclassError` where values do not fit together.

    Example:

    ```python
    >>> from bert4rec_hf import Bert4RecConfig, Bert4RecForMaskedLM

    >>> config = Bert4RecConfig(vocab_size=503, item_features=[{"name": "genre", "num_values": 9, "max_values": 1}])
    >>> model = Bert4RecForMaskedLM(config)
    ```"""

    model_type = "bert4rec"

    vocab_size: int = 1000
    hidden_size: int = 128
    num_hidden_layers: int = 2
    num_attention_heads: int = 4
    intermediate_size: int = 512
    hidden_act: str = "gelu"
    hidden_dropout_prob: float | int = 0.1
    attention_probs_dropout_prob: float | int = 0.0
    max_position_embeddings: int = 128
    initializer_range: float | int | None = None
    layer_norm_eps: float | int = 1e-12
    norm_first: bool = False
    head_transform: bool = True
    head_item_features: bool = False
    tie_word_embeddings: bool = True
    pad_token_id: int | None = 0
    mask_token_id: int = 1
    unk_token_id: int = 2
    item_features: list[dict] | None = None
    user_features: list[dict] | None = None

    def __post_init__(self, **kwargs):
        self.item_features = self.item_features or []
        self.user_features = self.user_features or []
        if self.initializer_range is None:
            self.initializer_range = 0.5 / max(self.hidden_size, 1) ** 0.5
        super().__post_init__(**kwargs)

    def validate_sizes(self):
        for name in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1.")
        if self.vocab_size <= max(self.pad_token_id, self.mask_token_id, self.unk_token_id):
            raise ValueError(f"vocab_size is {self.vocab_size}; it must hold PAD, MASK and UNK.")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size ({self.hidden_size}) must be a multiple of num_attention_heads "
                f"({self.num_attention_heads})."
            )
        if self.max_position_embeddings < 2:
            raise ValueError(
                f"max_position_embeddings is {self.max_position_embeddings}; an item and the MASK after it need 2."
            )
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be in [0, 1).")
        if self.layer_norm_eps <= 0:
            raise ValueError(f"layer_norm_eps is {self.layer_norm_eps}; it must be above 0.")

    def validate_features(self):
        for feature in self.item_features or []:
            if set(feature) != {"name", "num_values", "max_values"} or feature["max_values"] < 1:
                raise ValueError(f"an item feature is {{name, num_values, max_values >= 1}}, not {feature}.")
        for feature in self.user_features or []:
            if set(feature) != {"name", "num_values"}:
                raise ValueError(f"a user feature is {{name, num_values}}, not {feature}.")


__all__ = ["Bert4RecConfig"]
