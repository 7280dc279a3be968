# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Processor of BERT4Rec: raw item ids and profiles to tensors and back."""

import hashlib
import json
import os
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from transformers.feature_extraction_utils import BatchFeature
from transformers.processing_utils import ProcessorMixin
from transformers.utils import CONFIG_NAME, cached_file, logging

from .vocabulary_bert4rec import (
    NUM_SPECIAL_TOKENS,
    FeatureIds,
    check_vocabulary,
    feature_table,
    grow_vocabulary,
    hash_of,
    merge_checkpoints,
    moments_of,
    raw_values,
    unit_vectors,
)


if TYPE_CHECKING:  # names every file: transformers saves and copies those that an entry point names itself
    from .configuration_bert4rec import Bert4RecConfig  # noqa: F401
    from .layers_bert4rec import Bert4RecLayer  # noqa: F401
    from .loss_bert4rec import linear_cross_entropy  # noqa: F401
    from .masking_bert4rec import make_mask  # noqa: F401
    from .modeling_bert4rec import Bert4RecForMaskedLM  # noqa: F401
    from .modeling_bert4rec_ensemble import Bert4RecEnsembleForMaskedLM  # noqa: F401
    from .pipeline_bert4rec import ItemRecommendationPipeline  # noqa: F401
    from .ranking_bert4rec import rank_items  # noqa: F401
    from .recommendation_bert4rec import RecommendationMixin  # noqa: F401
    from .weights_bert4rec import WeightsMixin  # noqa: F401

logger = logging.get_logger(__name__)

VOCABULARY_NAME = "vocabulary.json"


class Bert4RecProcessor(ProcessorMixin):
    r"""
    Turns histories of raw item ids and profiles into inputs of a [`Bert4RecForMaskedLM`], and token ids back into raw
    ids. `encoding.fit_processor` fits one on a log.

    Args:
        vocabulary (`dict`):
            `item_ids` (`list`): raw ids, int or str; the item at index i has token id i + 3.
            `titles` (`list`, *optional*): their titles, `None` where there is none.
            `item_features` (`list[dict]`): `{"name", "max_values", "values"}`; the value at index i has id i + 1.
            `item_feature_values` (`list[list[list[int]]]`): value ids of each feature of each item.
            `user_features` (`list[dict]`): `{"name", "values"}`, and `"max_values"` if a user may have several.
            `vector_features` (`list[dict]`): `{"name", "size", "hash"}`; the vectors themselves are in the model.
            The values of a feature are strings or, in increasing order, numbers: then a number has the id of the
            nearest of them.
        unknown_items (`str`, *optional*, defaults to `"skip"`):
            How to treat an item that is not in the vocabulary: `"skip"` leaves it out, `"unk"` maps it to UNK,
            `"error"` raises an error.
        data (`dict`, *optional*):
            The columns and filters that the log was read with.
        split (`dict`, *optional*):
            The split it was trained under.
        is_causal (`bool`, *optional*, defaults to `False`):
            The objective of its model, for the collator. It is read from the config in the same folder and not
            saved; `None` for an ensemble with both objectives.
    """

    model_input_names = ["input_ids", "attention_mask", "user_features", "timestamps"]
    pad_token_id, mask_token_id, unk_token_id = 0, 1, 2
    bos_token_id = eos_token_id = None
    padding_side = "left"
    _auto_class = "AutoProcessor"

    def __init__(
        self,
        vocabulary: dict | None = None,
        unknown_items: str = "skip",
        data: dict | None = None,
        split: dict | None = None,
        is_causal: bool = False,
    ) -> None:
        super().__init__()
        if unknown_items not in ("skip", "unk", "error"):
            raise ValueError(f"unknown_items is {unknown_items!r}; it must be 'skip', 'unk' or 'error'.")
        for name, value in (("data", data), ("split", split)):
            if not isinstance(value, (dict, type(None))):
                raise ValueError(f"{name} is {value!r}; it must hold names and values.")
        self.vectors = None
        self.set_vocabulary({"item_ids": []} if vocabulary is None else vocabulary)
        self.unknown_items = unknown_items
        self.data = data
        self.split = split
        self.is_causal = is_causal

    @classmethod
    def from_checkpoints(cls, names: list[str], **kwargs) -> "Bert4RecProcessor":
        """[`~Bert4RecProcessor.merge`] of the processors of several checkpoints, folders or ids on the Hub."""
        return cls.merge({name: cls.from_pretrained(name, **kwargs) for name in names})

    @classmethod
    def merge(cls, processors: dict[str, "Bert4RecProcessor"]) -> "Bert4RecProcessor":
        """
        The processor of an ensemble: with the features of all members.

        Args:
            processors (`dict[str, Bert4RecProcessor]`): the members' own, by name (for error messages).

        Raises:
            `ValueError`: if items, splits, rules for reading, or the values of a user feature differ.
        """
        return cls(**merge_checkpoints(processors))

    def set_vocabulary(self, vocabulary: dict) -> None:
        """
        Replaces the vocabulary. `vocabulary` must not be changed in place afterwards.

        Raises:
            `ValueError`: if its parts do not fit together; the old vocabulary is kept.
        """
        check_vocabulary(vocabulary)
        self.vocabulary = vocabulary
        for name in ("_token_ids", "_user_value_ids"):
            self.__dict__.pop(name, None)

    @property
    def tokenizer(self) -> None:
        # Trainer aligns the special tokens of `processing_class.tokenizer` with the model's.
        return self

    @property
    def vocab_size(self) -> int:
        return len(self.vocabulary["item_ids"]) + NUM_SPECIAL_TOKENS

    @property
    def user_feature_names(self) -> list[str]:
        return [feature["name"] for feature in self.vocabulary.get("user_features", [])]

    @property
    def reads_times(self) -> bool:
        """Whether the model reads when events were."""
        return self.time_intervals != "none"

    @property
    def time_intervals(self) -> str:
        """The model's `time_intervals`, which `data` holds."""
        return (self.data or {}).get("time_intervals", "none")

    @cached_property
    def _token_ids(self) -> dict:
        return {item: token for token, item in enumerate(self.vocabulary["item_ids"], start=NUM_SPECIAL_TOKENS)}

    @cached_property
    def _user_value_ids(self) -> list[FeatureIds]:
        return [FeatureIds(feature) for feature in self.vocabulary.get("user_features", [])]

    def encode_items(self, item_ids: list, unknown_items: str | None = None) -> list[int]:
        """
        Raw ids of one history to token ids; unknown ones as `unknown_items` says, the processor's own by default.

        Raises:
            `ValueError`: for an unknown item under `"error"`, or for ids of another type than the vocabulary's.
        """
        try:
            tokens = [self._token_ids.get(item) for item in item_ids]
        except TypeError:
            raise ValueError(f"a history is a list of item ids, not {item_ids!r:.200}.") from None
        if None not in tokens:
            return tokens
        known = [token for token in tokens if token is not None]
        unknown = item_ids[tokens.index(None)]
        if not known and self._token_ids and isinstance(unknown, str) != isinstance(next(iter(self._token_ids)), str):
            raise ValueError(
                f"item id {unknown!r:.200} is a {type(unknown).__name__}, the vocabulary holds ids of type "
                f"{type(next(iter(self._token_ids))).__name__}."
            )
        unknown_items = unknown_items or self.unknown_items
        if unknown_items == "error":
            raise ValueError(f"item {unknown!r:.200} is not in the vocabulary.")
        if unknown_items == "unk":
            return [self.unk_token_id if token is None else token for token in tokens]
        logger.warning_once("Items that are not in the vocabulary are skipped.")  # it keeps every other text
        return known

    def encode_profile(self, profile: dict | None) -> list[int]:
        """Value ids of a profile (feature names to values, or lists of them); 0 for missing or unknown values."""
        if not isinstance(profile, (dict, type(None))):
            raise ValueError(f"a profile is a dict of user features, not {profile!r:.200}.")
        if set(profile or {}) - set(self.user_feature_names):
            names = ", ".join(self.user_feature_names) or "none"
            logger.warning_once(f"The user features of the model are {names}; others are ignored.")
        features = zip(self.user_feature_names, self._user_value_ids)
        return [value_id for name, ids in features for value_id in ids((profile or {}).get(name))]

    def __call__(
        self,
        histories: list,
        profiles: list[dict | None] | dict | None = None,
        return_tensors: str | None = "pt",
        times: list | None = None,
        request_times: list | None = None,
    ) -> BatchFeature:
        """
        Encodes whole histories; the model truncates them.

        Args:
            histories (`list[list]` or `list`, or a column of a `datasets.Dataset`, a table or a data frame):
                Raw item ids of each user, oldest first, or of one user.
            profiles (`list[dict]` or `dict`, *optional*):
                The users' profiles, feature names to values; `None` and missing names are fine.
            return_tensors (`str`, *optional*, defaults to `"pt"`):
                `"pt"`, `"np"` or `None` for lists.
            times (`list[list]` or `list`, *optional*):
                For a model that reads times, when the events of each history were: seconds since 1970, datetimes or
                ISO 8601 texts, `None` where unknown.
            request_times (`list`, or a time, *optional*):
                The moment to recommend to each user for, likewise.

        Returns:
            [`BatchFeature`] with `input_ids` and `attention_mask` `(batch_size, longest history)`, padded on the left,
            for a model with user features, `user_features` `(batch_size, sum of their max_values)`, and for one that
            reads times `timestamps` `(batch_size, longest history + 1)`, as for [`Bert4RecForMaskedLM.score`].
        """
        histories = _as_list(histories)
        if not _is_list(histories):
            raise ValueError(f"a history is a list of item ids, not {histories!r:.200}.")
        if not len(histories) or not _is_list(_as_list(histories[0])):
            histories, times = [histories], None if times is None else [times]
        histories = [_as_list(history) for history in histories]
        for history in histories:
            if not _is_list(history):  # a string would be read as its letters
                raise ValueError(f"a history is a list of item ids, not {history!r:.200}.")
        profiles = _as_list(profiles)
        if profiles is None or isinstance(profiles, dict):
            profiles = [profiles] * len(histories)
        if len(profiles) != len(histories):
            raise ValueError(f"there are {len(histories)} histories and {len(profiles)} profiles.")
        tokens = [self.encode_items(list(history)) for history in histories]
        longest = max(map(len, tokens))
        data = {
            "input_ids": [[self.pad_token_id] * (longest - len(row)) + row for row in tokens],
            "attention_mask": [[0] * (longest - len(row)) + [1] * len(row) for row in tokens],
        }
        if self.user_feature_names:
            data["user_features"] = [self.encode_profile(profile) for profile in profiles]
        if self.reads_times:
            data["timestamps"] = self._encode_times(histories, times, request_times, longest)
        elif times is not None or request_times is not None:
            logger.warning_once("The model does not read times; they are ignored.")
        if return_tensors is not None:
            data = {name: np.asarray(rows, dtype=np.int64) for name, rows in data.items()}
        return BatchFeature(data, tensor_type=return_tensors)

    def _encode_times(self, histories: list, times, request_times, longest: int) -> list[list[int]]:
        times, request_times = _as_list(times), _as_list(request_times)
        times = [None] * len(histories) if times is None else times
        if not _is_list(times):
            raise ValueError(f"times is a list of the times of each history, not {times!r:.200}.")
        times = [_as_list(row) for row in times]
        if not _is_list(request_times):
            request_times = [request_times] * len(histories)
        if not len(times) == len(request_times) == len(histories):
            raise ValueError(
                f"there are {len(histories)} histories, the times of {len(times)} and {len(request_times)} moments."
            )
        users = zip(histories, times, request_times)
        rows = [moments_of(history, self._token_ids, self.unknown_items, *moments) for history, *moments in users]
        return [[0] * (longest + 1 - len(row)) + row for row in rows]

    def decode(self, item_ids: ArrayLike) -> list:
        """Token ids, of any shape, to lists of raw ids in their original type; `None` for PAD, MASK and UNK."""
        return self._look_up(self.vocabulary["item_ids"], item_ids)

    def titles(self, item_ids: ArrayLike) -> list:
        """Token ids, of any shape, to lists of titles; `None` where an item has none."""
        titles = self.vocabulary.get("titles") or [None] * (self.vocab_size - NUM_SPECIAL_TOKENS)
        return self._look_up(titles, item_ids)

    def _look_up(self, values: list, item_ids):
        item_ids = item_ids.tolist() if hasattr(item_ids, "tolist") else item_ids
        if isinstance(item_ids, (list, tuple)):
            return [self._look_up(values, row) for row in item_ids]
        return values[item_ids - NUM_SPECIAL_TOKENS] if 0 <= item_ids - NUM_SPECIAL_TOKENS < len(values) else None

    def config_kwargs(self) -> dict:
        """The arguments of a [`Bert4RecConfig`] for this processor."""
        return {
            "vocab_size": self.vocab_size,
            "pad_token_id": self.pad_token_id,
            "mask_token_id": self.mask_token_id,
            "unk_token_id": self.unk_token_id,
            "item_features": [
                {"name": f["name"], "num_values": len(f["values"]) + 1, "max_values": f["max_values"]}
                for f in self.vocabulary.get("item_features", [])
            ],
            "user_features": [
                {"name": f["name"], "num_values": len(f["values"]) + 1}
                | ({"max_values": f["max_values"]} if "max_values" in f else {})
                for f in self.vocabulary.get("user_features", [])
            ],
            "vector_features": [
                {"name": f["name"], "size": f["size"]} for f in self.vocabulary.get("vector_features", [])
            ],
            "time_intervals": self.time_intervals,
            "vocabulary_hash": self.vocabulary_hash,
        }

    @property
    def vocabulary_hash(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of the vocabulary as JSON."""
        return hashlib.sha256(json.dumps(self.vocabulary, sort_keys=True).encode()).hexdigest()[:16]

    def check_config(self, config: "Bert4RecConfig") -> None:
        """
        Checks that a model belongs to this processor.

        Raises:
            `ValueError`: if its config has other sizes, or was made for another vocabulary.
        """
        for name, value in self.config_kwargs().items():
            if getattr(config, name) not in (value, None if name == "vocabulary_hash" else value):
                raise ValueError(
                    f"the processor has {name} {value}, the model {getattr(config, name)}; they are not of the same "
                    "checkpoint."
                )

    def catalogue(self) -> dict:
        """The vocabulary in raw values: the arguments of [`~Bert4RecProcessor.add_items`] of another processor."""
        values = raw_values(self.vocabulary)
        if self._has_all_vectors():
            features = self.vocabulary["vector_features"]
            ends = np.cumsum([feature["size"] for feature in features])
            parts = np.split(self.vectors, ends[:-1], axis=1)
            values["vector_features"] = {feature["name"]: part for feature, part in zip(features, parts)}
        return values

    def add_items(
        self,
        item_ids: list,
        titles: list | None = None,
        item_features: dict[str, list] | None = None,
        user_features: dict[str, list] | None = None,
        vector_features: dict[str, ArrayLike] | None = None,
    ) -> list:
        """
        Appends items and feature values to the vocabulary. The model must be extended too: see
        [`bert4rec_hf.add_items`], which calls this.

        Args:
            item_ids (`list`):
                Raw ids, of the vocabulary's type. Known items are unchanged.
            titles (`list`, *optional*):
                A title or `None` for each of them.
            item_features (`dict[str, list]`, *optional*):
                Feature names of the vocabulary to one value, or several (a list, an array, ...), per item; `None` for
                no value.
            user_features (`dict[str, list]`, *optional*):
                Feature names of the vocabulary to values to add; known values are unchanged.
            vector_features (`dict[str, ArrayLike]`, *optional*):
                Names of the vocabulary's vectors to a vector for each item, or `None` where it has none.

        Returns:
            `list`: the new ids.

        Raises:
            `ValueError`: for ids of another type, for features that the vocabulary does not have, or for columns that
            are not as long as `item_ids`. The vocabulary is then unchanged.
        """
        vocabulary, added, vectors = grow_vocabulary(
            self.vocabulary, item_ids, titles, item_features, user_features, vector_features
        )
        self.set_vocabulary(vocabulary)
        if vectors.shape[1]:
            before = np.zeros((0, vectors.shape[1]), np.float16) if self.vectors is None else self.vectors
            self.vectors = np.concatenate([before, vectors])
        return added

    def set_vectors(self, vectors: dict[str, ArrayLike]) -> None:
        """
        Gives each item vectors, by name: `(num_items, size)`, in the order of the vocabulary, all 0 where an item has
        none. They are kept with mean 0 and length 1 until the model has them.

        Raises:
            `ValueError`: for what is no finite number, or not as long as the vocabulary.
        """
        num_items, features, parts = self.vocab_size - NUM_SPECIAL_TOKENS, [], []
        for name, rows in vectors.items():
            if len(rows) != num_items:
                raise ValueError(f"there are {num_items} items and {len(rows)} {name}.")
            parts.append(unit_vectors(rows, name, np.shape(rows)[1]))
            features.append({"name": name, "size": parts[-1].shape[1], "hash": hash_of(parts[-1])})
        self.set_vocabulary({**self.vocabulary, "vector_features": features})
        self.vectors = np.concatenate(parts, axis=1) if parts else None

    def _has_all_vectors(self) -> bool:
        """Whether the vectors of all items are at hand: of a checkpoint's items, only those added since are."""
        return self.vectors is not None and len(self.vectors) == self.vocab_size - NUM_SPECIAL_TOKENS

    def vector_features(self) -> np.ndarray:
        """
        Vectors for [`Bert4RecModel.set_vector_features`]: float16 `(vocab_size, sum of sizes)`, 0 where there is none.

        Raises:
            `ValueError`: if the processor comes from a checkpoint: its vectors are in the model.
        """
        size = sum(feature["size"] for feature in self.vocabulary.get("vector_features", []))
        vectors = np.zeros((self.vocab_size, size), dtype=np.float16)
        if size and not self._has_all_vectors():
            raise ValueError("the vectors of a checkpoint are in its model, not in its processor.")
        if size:
            vectors[NUM_SPECIAL_TOKENS:] = self.vectors
        return vectors

    def item_features(self) -> np.ndarray:
        """Value ids for [`Bert4RecModel.set_item_features`]: int32 `(vocab_size, sum of max_values)`, 0 is padding."""
        return feature_table(self.vocabulary)

    def to_dict(self) -> dict:
        # The vocabulary has a file of its own; `processor_config.json` stays readable. The objective is the config's.
        return {name: value for name, value in super().to_dict().items() if name not in ("vocabulary", "is_causal")}

    def save_vocabulary(self, save_directory: str | os.PathLike) -> None:
        """Writes `vocabulary.json` to a folder."""
        with open(os.path.join(save_directory, VOCABULARY_NAME), "w", encoding="utf-8") as file:
            json.dump(self.vocabulary, file, ensure_ascii=False, separators=(",", ":"))

    def save_pretrained(self, save_directory: str | os.PathLike, push_to_hub: bool = False, **kwargs):
        os.makedirs(save_directory, exist_ok=True)
        self.save_vocabulary(save_directory)
        saved = super().save_pretrained(save_directory)
        if push_to_hub:  # the parent's push would upload its own file only
            self.push_to_hub(kwargs.pop("repo_id", os.path.basename(os.path.abspath(save_directory))), **kwargs)
        return saved

    @classmethod
    def get_processor_dict(cls, pretrained_model_name_or_path, **kwargs):
        hub_names = ("cache_dir", "force_download", "proxies", "token", "local_files_only", "revision", "subfolder")
        hub_kwargs = {name: kwargs[name] for name in hub_names if kwargs.get(name) is not None}
        processor_dict, kwargs = super().get_processor_dict(pretrained_model_name_or_path, **kwargs)
        with open(cached_file(pretrained_model_name_or_path, VOCABULARY_NAME, **hub_kwargs), encoding="utf-8") as file:
            processor_dict["vocabulary"] = json.load(file)
        no_errors = {
            f"_raise_exceptions_for_{error_kind}": False for error_kind in ("missing_entries", "connection_errors")
        }
        config_file = cached_file(pretrained_model_name_or_path, CONFIG_NAME, **hub_kwargs, **no_errors)
        processor_dict["is_causal"] = config_file is not None and _objective_of(config_file)
        return processor_dict, kwargs


def _is_list(value) -> bool:
    return isinstance(value, (list, tuple, np.ndarray))


def _as_list(column):
    """A column of a data set, a table or a data frame as a list; anything else unchanged."""
    for method in ("to_pylist", "to_list"):  # of Arrow, of pandas and Polars
        if hasattr(column, method):
            return getattr(column, method)()
    return (
        column
        if _is_list(column) or isinstance(column, (str, bytes))
        else [*column]
        if isinstance(column, Sequence)
        else column
    )


def _objective_of(config_file: str) -> bool | None:
    """Whether a model is causal; `None` for an ensemble of both kinds. `False` if the file is not a config."""
    try:
        with open(config_file, encoding="utf-8") as file:
            config = json.load(file)
        objectives = {bool(member.get("is_causal")) for member in config.get("members") or [config]}
    except (ValueError, AttributeError, TypeError):
        return False
    return objectives.pop() if len(objectives) == 1 else None


__all__ = ["Bert4RecProcessor"]
