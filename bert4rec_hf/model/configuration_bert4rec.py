# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""BERT4Rec model configuration."""

import copy
import math
from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig
from transformers.activations import ACT2FN


if TYPE_CHECKING:  # names every file: transformers saves and copies those that an entry point names itself
    from .layers_bert4rec import Bert4RecLayer  # noqa: F401
    from .loss_bert4rec import linear_cross_entropy  # noqa: F401
    from .masking_bert4rec import make_mask  # noqa: F401
    from .modeling_bert4rec import Bert4RecForMaskedLM  # noqa: F401
    from .modeling_bert4rec_ensemble import Bert4RecEnsembleForMaskedLM  # noqa: F401
    from .pipeline_bert4rec import ItemRecommendationPipeline  # noqa: F401
    from .processing_bert4rec import Bert4RecProcessor  # noqa: F401
    from .ranking_bert4rec import rank_items  # noqa: F401
    from .recommendation_bert4rec import RecommendationMixin  # noqa: F401
    from .vocabulary_bert4rec import normalize_value  # noqa: F401
    from .weights_bert4rec import WeightsMixin  # noqa: F401

# Entries of config.json for loading without the package (trust_remote_code); see `to_dict`.
CUSTOM_CODE = {
    "auto_map": {
        "AutoConfig": "configuration_bert4rec.Bert4RecConfig",
        "AutoModel": "modeling_bert4rec.Bert4RecModel",
        "AutoModelForMaskedLM": "modeling_bert4rec.Bert4RecForMaskedLM",
        "AutoProcessor": "processing_bert4rec.Bert4RecProcessor",
    },
    "custom_pipelines": {
        "item-recommendation": {
            "impl": "pipeline_bert4rec.ItemRecommendationPipeline",
            "pt": ["AutoModelForMaskedLM"],
            "type": "text",
        }
    },
}
ENSEMBLE_CODE = {
    **CUSTOM_CODE,
    "auto_map": {
        "AutoConfig": "configuration_bert4rec.Bert4RecEnsembleConfig",
        "AutoModelForMaskedLM": "modeling_bert4rec_ensemble.Bert4RecEnsembleForMaskedLM",
        "AutoProcessor": "processing_bert4rec.Bert4RecProcessor",
    },
}
# Maximum values, far beyond any use: a larger config is refused before memory is allocated.
MAX_VALUES = {
    "vocab_size": 2**31 - 1,
    "hidden_size": 2**16,
    "num_hidden_layers": 2**10,
    "num_attention_heads": 2**16,
    "intermediate_size": 2**18,
    "max_position_embeddings": 2**20,
    "num_negatives": 2**24,
}
CHOICES = {
    "loss": ("cross_entropy", "sampled_softmax", "gbce"),
    "negative_sampling": ("uniform", "popularity", "in_batch"),
    "position_embedding_type": ("rope", "absolute"),
    "time_intervals": ("none", "input", "attention"),
    "voting": ("probability", "log_probability", "reciprocal_rank"),
}
# Settings of any transformers version that are not fields of `PreTrainedConfig`.
OTHER_SETTINGS = {
    *("model_type", "num_labels", "attn_implementation", "experts_implementation", "output_attentions", "torch_dtype"),
    *("name_or_path", "use_return_dict", "use_cache", "processor_class", "quantization_config", "torchscript"),
    *("is_decoder", "add_cross_attention", "tie_encoder_decoder", "pruned_heads", "per_layer_config"),
    *("bos_token_id", "eos_token_id", "sep_token_id", "decoder_start_token_id", "trust_remote_code", "code_revision"),
}
MAX_FEATURE_VALUES = {"num_values": 2**31 - 1, "max_values": 2**12, "size": 2**16}
MAX_PARTS = 2**10  # features of a kind, members of an ensemble, classes of another head


def feature_sizes(features: list[dict]) -> list[int]:
    """The number of columns of each feature, in the order of the config."""
    return [feature.get("max_values", 1) for feature in features]


def feature_columns(features: list[dict], names: Iterable[str]) -> list[int]:
    """The columns of some of the features, by name."""
    columns = {}
    for feature, size in zip(features, feature_sizes(features)):
        start = sum(map(len, columns.values()))
        columns[feature["name"]] = [*range(start, start + size)]
    return [column for name in names for column in columns[name]]


def _check_range(config: PreTrainedConfig, largest: dict[str, int]):
    for name, maximum in largest.items():
        if not 1 <= getattr(config, name) <= maximum:
            raise ValueError(f"{name} is {getattr(config, name)}; it must be from 1 to {maximum}.")


def _check_count(name: str, count: int):
    if count > MAX_PARTS:
        raise ValueError(f"there are {count} {name}; at most {MAX_PARTS} are possible.")


def _check_choice(config: PreTrainedConfig, name: str):
    if getattr(config, name) not in CHOICES[name]:
        raise ValueError(f"{name} is {getattr(config, name)!r}; it must be one of {', '.join(CHOICES[name])}.")


class _CheckpointConfig(PreTrainedConfig):
    """Base of the configs of this package: checks the names of settings, adds the custom code of a checkpoint."""

    _auto_class = "AutoConfig"
    custom_code = CUSTOM_CODE

    def __post_init__(self, **kwargs):
        self.item_features = self.item_features or []
        self.user_features = self.user_features or []
        self.vector_features = self.vector_features or []
        if unknown := sorted(name for name in set(kwargs) - self._known_settings() if name[:1] != "_"):
            raise ValueError(self._no_such_setting(unknown[0]))
        if not __name__.startswith("transformers_modules."):  # the package's classes are used, whatever the file names
            for name in CUSTOM_CODE:
                kwargs.pop(name, None)
        _check_count("num_labels", kwargs.get("num_labels") or 0)  # each gets a name
        super().__post_init__(**kwargs)

    @classmethod
    def _known_settings(cls) -> set[str]:
        return {*cls.__dataclass_fields__, *CUSTOM_CODE, *OTHER_SETTINGS}

    @classmethod
    def _close_settings(cls, name: str, cutoff: float = 0.8) -> list[str]:
        return get_close_matches(name, sorted(cls.__dataclass_fields__), n=1, cutoff=cutoff)

    @classmethod
    def _no_such_setting(cls, name: str) -> str:
        advice = "".join(f"is it {close}?" for close in cls._close_settings(name)) or "remove it."
        return f"{name}: no such setting of {cls.__name__}; {advice}"

    def validate_vocabulary(self) -> None:
        _check_range(self, {"vocab_size": MAX_VALUES["vocab_size"]})
        special = {self.pad_token_id, self.mask_token_id, self.unk_token_id}
        if len(special) < 3 or min(special) < 0 or max(special) >= self.vocab_size:
            raise ValueError(
                f"pad_token_id, mask_token_id and unk_token_id are {self.pad_token_id}, {self.mask_token_id} and "
                f"{self.unk_token_id}; they must be different ids below vocab_size ({self.vocab_size})."
            )

    def validate_features(self) -> None:
        for kind, features, sizes in (
            ("item", self.item_features or [], ("num_values", "max_values")),
            ("user", self.user_features or [], ("num_values",)),
            ("vector", self.vector_features or [], ("size",)),
        ):
            _check_count(f"{kind}_features", len(features))
            for feature in features:
                if {*feature} - ({"max_values"} if kind == "user" else set()) != {"name", *sizes}:
                    raise ValueError(f"{kind} feature {feature} must have name, {', '.join(sizes)}.")
                for size in {*feature} - {"name"}:
                    if not isinstance(feature[size], int) or not 1 <= feature[size] <= MAX_FEATURE_VALUES[size]:
                        raise ValueError(
                            f"{size} of {kind} feature {feature['name']!r} is {feature[size]}; it must be from 1 to "
                            f"{MAX_FEATURE_VALUES[size]}."
                        )

    def to_dict(self) -> dict:
        # A copy of all custom code entries: transformers would write only that of the saved class.
        return super().to_dict() | copy.deepcopy(self.custom_code)

    @classmethod
    def from_dict(cls, config_dict: dict, **kwargs):
        """
        As [`PreTrainedConfig.from_dict`]. Unknown names in a file become attributes: they may be settings of
        another transformers version, or notes.

        Raises:
            `ValueError`: for keyword arguments that are not settings, and for names in the file that look like a
            mistyped setting, would hide a method, or choose the attention implementation.
        """
        known = cls._known_settings()
        invalid = {name for name in kwargs if name not in known and name[:1] != "_"} - {"return_unused_kwargs"}
        if invalid and not kwargs.get("return_unused_kwargs"):
            raise ValueError(cls._no_such_setting(min(invalid)))
        other_entries = {name: value for name, value in config_dict.items() if name not in known and name[:1] != "_"}
        # A file must not choose the attention implementation: transformers would download a kernel for it.
        invalid = {name for name in config_dict if name.startswith(("_attn", "_experts"))}
        invalid |= {name for name in other_entries if hasattr(cls, name) or cls._close_settings(name, cutoff=0.9)}
        if invalid:
            raise ValueError(f"config.json: {cls._no_such_setting(min(invalid))}")
        settings = {name: value for name, value in config_dict.items() if name not in other_entries}
        config = super().from_dict(settings, **kwargs)
        for name, value in other_entries.items():
            setattr(config[0] if isinstance(config, tuple) else config, name, value)
        return config


@strict
class Bert4RecConfig(_CheckpointConfig):
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
        intermediate_size (`int`, *optional*, defaults to `4 * hidden_size`):
            Width of the feed-forward part of a layer.
        hidden_act (`str`, *optional*, defaults to `"gelu"`):
            Activation of the feed-forward part and of the head's transform.
        hidden_dropout_prob (`float`, *optional*, defaults to 0.1):
            Dropout after the embeddings and after each sub-layer.
        attention_probs_dropout_prob (`float`, *optional*, defaults to 0.0):
            Dropout of the attention weights. Off by default: on a CPU it disables the fast kernel of sdpa.
        max_position_embeddings (`int`, *optional*, defaults to 200):
            Longest sequence, the appended MASK included; at least 2.
        position_embedding_type (`str`, *optional*, defaults to `"rope"`):
            `"rope"`: rotary, by the distance between two items (https://huggingface.co/papers/2104.09864), which
            learns the order of items in a fraction of the time. `"absolute"`: BERT's position embeddings; position 0
            is the newest item.
        rope_theta (`float`, *optional*, defaults to 500.0):
            Base of the rotary frequencies: the longest period is about 2 pi times this number of items.
        initializer_range (`float`, *optional*, defaults to `0.5 / hidden_size**0.5`):
            Standard deviation of the initial embeddings. Linear layers use LeCun initialisation, about
            `in_features**-0.5`, with which a narrow model learns the order of items sooner than with BERT's 0.02.
        layer_norm_eps (`float`, *optional*, defaults to 1e-12):
            Epsilon of the layer norms.
        is_causal (`bool`, *optional*, defaults to `False`):
            Causal attention: predict the next item at each position, as SASRec
            (https://huggingface.co/papers/1808.09781), instead of masked items from both sides. MASK then stands
            before the first item of a history, not after the last, and for inputs masked in training. Its batches are
            those of [`DataCollatorForItemMasking`] with `mlm=False`, the default for a causal checkpoint's processor.
        norm_first (`bool`, *optional*, defaults to `True`):
            Pre-LN with a final norm; `False` for BERT's post-LN.
        head_transform (`bool`, *optional*, defaults to `False`):
            BERT's dense layer, activation and norm before the projection onto the items.
        head_item_features (`bool`, *optional*, defaults to `True`):
            Project onto id embedding + pooled features, as at the input, instead of the id embedding alone.
        repeat_prior (`bool`, *optional*, defaults to `False`):
            Predict a learnt mixture of the softmax over all items and the user's own history, by count and recency
            (as in RepeatNet, https://doi.org/10.1609/aaai.v33i01.33014830), for items watched repeatedly. Needs the
            loss `"cross_entropy"`.
        loss (`str`, *optional*, defaults to `"cross_entropy"`):
            `"cross_entropy"` over all items; for hundreds of thousands of items `"sampled_softmax"` with logQ
            correction, or `"gbce"`, the generalised binary cross entropy of gSASRec
            (https://huggingface.co/papers/2308.07192).
        exclude_seen_in_loss (`bool`, *optional*, defaults to `False`):
            Leave the items of a sequence out of the softmax in which its labels are predicted, as negatives drawn
            outside the user's items do in sampled losses: for items that nobody takes twice. The model then recommends
            nothing that is in the history. Needs the loss `"cross_entropy"`, without a repeat prior.
        num_negatives (`int`, *optional*, defaults to 256):
            Number of negatives per batch in a sampled loss.
        negative_sampling (`str`, *optional*, defaults to `"uniform"`):
            Draw them `"uniform"`, by `"popularity"`, or `"in_batch"` from the targets. The latter two need
            [`Bert4RecForMaskedLM.set_item_counts`].
        gbce_t (`float`, *optional*, defaults to 0.75):
            Calibration of `"gbce"`, from 0 (none) to 1.
        tie_word_embeddings (`bool`, *optional*, defaults to `True`):
            Use the item embeddings as the output layer.
        item_features (`list[dict]`, *optional*):
            One `{"name", "num_values", "max_values"}` for each feature of an item, in the order of the columns of
            `Bert4RecModel.set_item_features`. Value 0 is "missing"; `max_values` values of a feature are kept.
        user_features (`list[dict]`, *optional*):
            One `{"name", "num_values"}` for each column of the model's `user_features` input. Value 0 is "missing". A
            feature with `"max_values"` has so many columns: a user may have several of its values.
        vector_features (`list[dict]`, *optional*):
            One `{"name", "size"}` for each vector of an item, such as one of its text, in the order of the columns of
            `Bert4RecModel.set_vector_features`. A projection adds each to the item's embedding, where an item feature
            is added; an item may lack it.
        time_intervals (`str`, *optional*, defaults to `"none"`):
            What the model learns from the times of events and from the moment that is asked for, its `timestamps`:
            `"none"`; `"input"`: an embedding of the time since the event before; `"attention"`: also a bias of each
            head by the time between two positions, as in HSTU (https://huggingface.co/papers/2402.17152), which needs
            the attention implementation eager or sdpa.
        vocabulary_hash (`str`, *optional*):
            [`Bert4RecProcessor.vocabulary_hash`] of the model's processor.

    Raises `StrictDataclassError` for values that do not fit together, and `ValueError` for unknown settings.

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
    intermediate_size: int | None = None
    hidden_act: str = "gelu"
    hidden_dropout_prob: float | int = 0.1
    attention_probs_dropout_prob: float | int = 0.0
    max_position_embeddings: int = 200
    position_embedding_type: str = "rope"
    rope_theta: float | int = 500.0
    initializer_range: float | int | None = None
    layer_norm_eps: float | int = 1e-12
    is_causal: bool = False
    norm_first: bool = True
    head_transform: bool = False
    head_item_features: bool = True
    repeat_prior: bool = False
    loss: str = "cross_entropy"
    exclude_seen_in_loss: bool = False
    num_negatives: int = 256
    negative_sampling: str = "uniform"
    gbce_t: float | int = 0.75
    tie_word_embeddings: bool = True
    pad_token_id: int = 0
    mask_token_id: int = 1
    unk_token_id: int = 2
    item_features: list[dict] | None = None
    user_features: list[dict] | None = None
    vector_features: list[dict] | None = None
    time_intervals: str = "none"
    vocabulary_hash: str | None = None

    def __post_init__(self, **kwargs):
        if self.intermediate_size is None:
            self.intermediate_size = 4 * self.hidden_size
        if self.initializer_range is None:
            self.initializer_range = 0.5 / max(self.hidden_size, 1) ** 0.5
        super().__post_init__(**kwargs)

    def validate_sizes(self) -> None:
        _check_range(self, MAX_VALUES)
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size ({self.hidden_size}) must be a multiple of num_attention_heads "
                f"({self.num_attention_heads})."
            )
        if self.position_embedding_type == "rope" and self.hidden_size // self.num_attention_heads % 2:
            raise ValueError(
                f"hidden_size / num_attention_heads is {self.hidden_size // self.num_attention_heads}; rotary "
                "position embeddings need an even number."
            )
        if self.max_position_embeddings < 2:
            raise ValueError(
                f"max_position_embeddings is {self.max_position_embeddings}; an item and the MASK after it need 2."
            )
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be in [0, 1).")
        if not 1 < self.rope_theta < math.inf:
            raise ValueError(f"rope_theta is {self.rope_theta}; it must be above 1.")
        if not 0 < self.layer_norm_eps < math.inf:
            raise ValueError(f"layer_norm_eps is {self.layer_norm_eps}; it must be above 0.")
        if not 0 <= self.initializer_range < math.inf:
            raise ValueError(f"initializer_range is {self.initializer_range}; it must be at least 0.")

    def validate_choices(self) -> None:
        if self.hidden_act not in ACT2FN:
            raise ValueError(f"hidden_act is {self.hidden_act!r}; it must be one of {', '.join(ACT2FN)}.")
        for name in ("position_embedding_type", "loss", "negative_sampling", "time_intervals"):
            _check_choice(self, name)
        if self.repeat_prior and self.loss != "cross_entropy":
            raise ValueError(f"repeat_prior needs the loss cross_entropy, not {self.loss}.")
        if self.exclude_seen_in_loss and (self.repeat_prior or self.loss != "cross_entropy"):
            raise ValueError("exclude_seen_in_loss needs the loss cross_entropy without repeat_prior.")
        if not 0 <= self.gbce_t <= 1:
            raise ValueError(f"gbce_t is {self.gbce_t}; it must be in [0, 1].")

    @property
    def samples_by_counts(self) -> bool:
        """Whether the loss draws negatives by item counts."""
        return self.loss != "cross_entropy" and self.negative_sampling != "uniform"


@strict
class Bert4RecEnsembleConfig(_CheckpointConfig):
    r"""
    The configuration of a [`Bert4RecEnsembleForMaskedLM`]: those of its members, which may differ in everything but
    the items, and how they vote.

    Args:
        members (`list[Bert4RecConfig]` or `list[dict]`, *optional*):
            The members' configs; one of the default sizes if not given.
        voting (`str`, *optional*, defaults to `"probability"`):
            `"probability"`: the mean of the members' probabilities (soft voting). `"log_probability"`: the mean of
            their logarithms, normalised, in which a member can veto an item. `"reciprocal_rank"`: the mean of `1 / (60
            + rank)`, normalised, for members whose probabilities cannot be compared (reciprocal rank fusion,
            https://doi.org/10.1145/1571941.1572114).
        weights (`list[float]`, *optional*):
            A weight above 0 for each member; equal if not given. Only their ratios count.
        vocab_size, pad_token_id, mask_token_id, unk_token_id, item_features, user_features, vector_features,
        time_intervals, vocabulary_hash:
            As for [`Bert4RecConfig`]. `user_features` are those of all members; each uses its own, matched by name.
            `time_intervals` are those of a member that reads times, if there is one.

    Raises `StrictDataclassError` for values that do not fit together, and `ValueError` for unknown settings.
    """

    model_type = "bert4rec_ensemble"
    custom_code = ENSEMBLE_CODE

    members: list | None = None
    voting: str = "probability"
    weights: list[float | int] | None = None
    vocab_size: int = 1000
    pad_token_id: int = 0
    mask_token_id: int = 1
    unk_token_id: int = 2
    item_features: list[dict] | None = None
    user_features: list[dict] | None = None
    vector_features: list[dict] | None = None
    time_intervals: str = "none"
    vocabulary_hash: str | None = None

    def __post_init__(self, **kwargs):
        if self.members is None:
            self.members = [Bert4RecConfig(vocab_size=self.vocab_size)]
        _check_count("members", len(self.members))
        self.members = [
            Bert4RecConfig.from_dict(member) if isinstance(member, dict) else member for member in self.members
        ]
        super().__post_init__(**kwargs)

    @property
    def max_position_embeddings(self) -> int:
        """The longest sequence that every member takes."""
        return min(member.max_position_embeddings for member in self.members)

    @property
    def exclude_seen_in_loss(self) -> bool:
        """Whether the members recommend nothing of the history: all of them or none."""
        return self.members[0].exclude_seen_in_loss

    def validate_members(self) -> None:
        if not self.members or not all(isinstance(member, Bert4RecConfig) for member in self.members):
            raise ValueError("members must be one Bert4RecConfig or several.")
        known = {feature["name"]: feature for feature in self.user_features}
        for number, member in enumerate(self.members):
            for name in ("vocab_size", "pad_token_id", "mask_token_id", "unk_token_id", "exclude_seen_in_loss"):
                if getattr(member, name) != getattr(self, name):
                    raise ValueError(
                        f"member {number} has {name} {getattr(member, name)}, the ensemble {getattr(self, name)}."
                    )
            for feature in member.user_features:
                if known.get(feature["name"]) != feature:
                    raise ValueError(f"member {number} has user feature {feature}, the ensemble has not.")

    def validate_voting(self) -> None:
        _check_choice(self, "voting")
        if self.weights is not None:
            if len(self.weights) != len(self.members):
                raise ValueError(f"there are {len(self.members)} members and {len(self.weights)} weights.")
            for weight in self.weights:
                if not 0 < weight < float("inf"):
                    raise ValueError(f"a weight is {weight}; it must be above 0. Leave out members without a vote.")

    def to_dict(self) -> dict:
        # Only the ensemble has custom code entries.
        members = [
            {name: value for name, value in member.to_diff_dict().items() if name not in CUSTOM_CODE}
            for member in self.members
        ]
        return {**super().to_dict(), "members": members}


__all__ = ["Bert4RecConfig", "Bert4RecEnsembleConfig"]
