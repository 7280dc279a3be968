# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Processor of BERT4Rec: raw item ids and profiles to tensors and back."""

import hashlib
import json
import os
import unicodedata
from collections.abc import Iterable
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from transformers.feature_extraction_utils import BatchFeature
from transformers.processing_utils import ProcessorMixin
from transformers.utils import cached_file, logging


if TYPE_CHECKING:
    from .configuration_bert4rec import Bert4RecConfig

logger = logging.get_logger(__name__)

VOCABULARY_NAME = "vocabulary.json"
NUM_SPECIAL_TOKENS = 3  # PAD, MASK, UNK


def normalize_value(value) -> str:
    """
    A feature value as its vocabulary holds it: one Unicode form, no white space ("노래 율동" is "노래율동"), whole
    numbers without ".0"; "" for what means "missing".
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = "".join(unicodedata.normalize("NFC", "" if value is None else str(value)).split())
    if text.endswith(".0") and text[:-2].lstrip("-").isdigit():
        text = text[:-2]
    return "" if text.lower() in ("nan", "none", "null", "unknown", "<na>") else text


def _add_values(values: list[str], rows: list) -> tuple[list[str], list[list[int]]]:
    """`values` with those of `rows` that are new after them, and the distinct value ids of each row."""
    ids = {value: i for i, value in enumerate(values, start=1)}
    rows = [row if isinstance(row, Iterable) and not isinstance(row, str) else [row] for row in rows]
    rows = [dict.fromkeys(filter(None, map(normalize_value, row))) for row in rows]
    rows = [[ids.setdefault(value, len(ids) + 1) for value in row] for row in rows]
    return list(ids), rows


def _check_vocabulary(vocabulary: dict):
    """Raises `ValueError` for what is no vocabulary: the file may hold anything, and a wrong id would go unnoticed."""

    def check(holds: bool, what: str):
        if not holds:
            raise ValueError(f"the vocabulary cannot be used: {what}.")

    def types(values: list) -> set[type]:
        return {*map(type, values)} if isinstance(values, list) else {object}

    optional = ("titles", "item_features", "item_feature_values", "user_features")
    check(
        isinstance(vocabulary, dict) and {"item_ids"} <= set(vocabulary) <= {"item_ids", *optional},
        f"it must be item_ids and perhaps {', '.join(optional)}",
    )
    item_ids, titles = vocabulary["item_ids"], vocabulary.get("titles")
    check(types(item_ids) in (set(), {int}, {str}), "item_ids must be all integers or all strings")
    check(len({*item_ids}) == len(item_ids), "item_ids holds an id twice")
    if types(item_ids) == {int}:
        check(
            -(2**63) <= min(item_ids) <= max(item_ids) < 2**63, "item_ids holds a number beyond 64 bits; use strings"
        )
    check(
        titles is None or types(titles) <= {str, type(None)} and len(titles) == len(item_ids),
        f"titles must be {len(item_ids)} strings or nulls, one for each item",
    )
    for kind, settings in (("item_features", {"name", "max_values", "values"}), ("user_features", {"name", "values"})):
        features = vocabulary.get(kind, [])
        check(types(features) <= {dict}, f"{kind} must be a list of objects")
        for feature in features:
            check(set(feature) == settings, f"{kind} must have {', '.join(sorted(settings))} each")
            values = feature["values"]
            check(types([feature["name"]]) | types(values) == {str} or values == [], f"{kind} must hold strings")
            check(len({*values}) == len(values), f"{feature['name']} has a value twice")
        check(len({feature["name"] for feature in features}) == len(features), f"{kind} has a name twice")
    features, tables = vocabulary.get("item_features", []), vocabulary.get("item_feature_values", [])
    check(types(tables) <= {list} and len(tables) == len(features), "item_feature_values do not fit item_features")
    for feature, rows in zip(features, tables):
        name, max_values, num_values = feature["name"], feature["max_values"], len(feature["values"])
        check(types(rows) <= {list} and len(rows) == len(item_ids), f"{name} must have a list of values for each item")
        ids = [*chain.from_iterable(rows)]
        check(
            types(ids) <= {int} and 1 <= min(ids, default=1) <= max(ids, default=1) <= max(num_values, 1),
            f"the values of {name} must be from 1 to {num_values}",
        )
        most = max(map(len, rows), default=0)
        check(
            type(max_values) is int and max(most, 1) <= max_values,
            f"max_values of {name} is {max_values!r}, an item has {most}",
        )
    features = [*features, *vocabulary.get("user_features", [])]
    texts = [item_ids if types(item_ids) == {str} else [], filter(None, titles or [])]
    texts += [[feature["name"], *feature["values"]] for feature in features]
    try:
        "".join(chain.from_iterable(texts)).encode()
    except UnicodeEncodeError:
        check(False, "it holds half a character (a lone surrogate), which no file can")


class Bert4RecProcessor(ProcessorMixin):
    r"""
    Turns histories of raw item ids and profiles into what a [`Bert4RecForMaskedLM`] takes, and token ids back into raw
    ids. `encoding.fit_processor` makes one from a log.

    Args:
        vocabulary (`dict`):
            `item_ids` (`list`): raw ids, int or str; the item at index i has token id i + 3.
            `titles` (`list`, *optional*): their titles, `None` where there is none.
            `item_features` (`list[dict]`): `{"name", "max_values", "values"}`; the value at index i has id i + 1.
            `item_feature_values` (`list[list[list[int]]]`): value ids of each feature of each item.
            `user_features` (`list[dict]`): `{"name", "values"}`.
        unknown_items (`str`, *optional*, defaults to `"skip"`):
            What becomes of an item that is not in the vocabulary: `"skip"` leaves it out, `"unk"` reads it as UNK,
            `"error"` refuses it.
        data (`dict`, *optional*):
            The columns and filters that the log was read with.
        split (`dict`, *optional*):
            The split it was trained under.
    """

    model_input_names = ["input_ids", "attention_mask", "user_features"]
    pad_token_id, mask_token_id, unk_token_id = 0, 1, 2
    bos_token_id = eos_token_id = None
    padding_side = "left"
    _auto_class = "AutoProcessor"

    def __init__(self, vocabulary=None, unknown_items="skip", data=None, split=None):
        super().__init__()
        if unknown_items not in ("skip", "unk", "error"):
            raise ValueError(f"unknown_items is {unknown_items!r}; it must be 'skip', 'unk' or 'error'.")
        for name, value in (("data", data), ("split", split)):
            if not isinstance(value, (dict, type(None))):
                raise ValueError(f"{name} is {value!r}; it must hold names and values.")
        self.set_vocabulary({"item_ids": []} if vocabulary is None else vocabulary)
        self.unknown_items = unknown_items
        self.data = data
        self.split = split

    @classmethod
    def from_checkpoints(cls, names: list[str], **kwargs) -> "Bert4RecProcessor":
        """[`~Bert4RecProcessor.merge`] of the processors of several checkpoints, folders or ids on the Hub."""
        return cls.merge({name: cls.from_pretrained(name, **kwargs) for name in names})

    @classmethod
    def merge(cls, processors: dict[str, "Bert4RecProcessor"]) -> "Bert4RecProcessor":
        """
        The processor of an ensemble: with the features of all members.

        Args:
            processors (`dict[str, Bert4RecProcessor]`): the members' own, by what to call them when they do not fit.

        Raises:
            `ValueError`: if items, splits, rules for reading, or the values of a user feature differ.
        """
        (first_name, first), *others = processors.items()
        vocabulary, data = {**first.vocabulary}, {**(first.data or {})}
        features = {kind: first._features(kind) for kind in ("item_features", "user_features")}
        for name, other in others:
            if other.vocabulary["item_ids"] != vocabulary["item_ids"]:
                raise ValueError(f"{name} has other items than {first_name}; the members of an ensemble share them.")
            for what in ("split", "unknown_items"):
                if getattr(other, what) != getattr(first, what):
                    raise ValueError(
                        f"{name} has {what} {getattr(other, what)}, {first_name} {getattr(first, what)}; the members "
                        "of an ensemble share it."
                    )
            if vocabulary.get("titles") is None and other.vocabulary.get("titles") is not None:
                vocabulary["titles"] = other.vocabulary["titles"]
            for kind, known in features.items():
                for feature, (values, table) in other._features(kind).items():
                    if known.setdefault(feature, (values, table))[0] != values and kind == "user_features":
                        raise ValueError(f"{name} has other values of {feature} than the members before it.")
            for rule, value in (other.data or {}).items():
                known = data.setdefault(rule, value)
                if isinstance(value, list):
                    data[rule] = list(dict.fromkeys(known + value))
                elif known == "none":
                    data[rule] = value
                elif value not in (known, "none") and not rule.startswith("keyword_"):  # its own item features
                    raise ValueError(f"{name} read its data with {rule} {value}, the members before it with {known}.")
        for kind, known in features.items():
            if known:
                vocabulary[kind] = [values for values, _ in known.values()]
        if features["item_features"]:
            vocabulary["item_feature_values"] = [table for _, table in features["item_features"].values()]
        return cls(vocabulary, first.unknown_items, data or None, first.split)

    def _features(self, kind: str) -> dict[str, tuple[dict, list | None]]:
        """By name the features of a kind, and the items' value ids."""
        features = self.vocabulary.get(kind, [])
        tables = self.vocabulary.get("item_feature_values", []) if kind == "item_features" else [None] * len(features)
        return {feature["name"]: (feature, table) for feature, table in zip(features, tables)}

    def set_vocabulary(self, vocabulary: dict):
        """
        Replaces the vocabulary. Nothing may change in place what `vocabulary` holds.

        Raises:
            `ValueError`: if its parts do not fit together; the one that was there stays.
        """
        _check_vocabulary(vocabulary)
        self.vocabulary = vocabulary
        for name in ("_token_ids", "_user_value_ids"):
            self.__dict__.pop(name, None)

    @property
    def tokenizer(self):
        # Trainer aligns the special tokens of `processing_class.tokenizer` with the model's.
        return self

    @property
    def vocab_size(self) -> int:
        return len(self.vocabulary["item_ids"]) + NUM_SPECIAL_TOKENS

    @property
    def user_feature_names(self) -> list[str]:
        return [feature["name"] for feature in self.vocabulary.get("user_features", [])]

    @cached_property
    def _token_ids(self) -> dict:
        return {item: token for token, item in enumerate(self.vocabulary["item_ids"], start=NUM_SPECIAL_TOKENS)}

    @cached_property
    def _user_value_ids(self) -> list[dict]:
        return [
            {value: i for i, value in enumerate(feature["values"], start=1)}
            for feature in self.vocabulary.get("user_features", [])
        ]

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
        strange = item_ids[tokens.index(None)]
        if not known and self._token_ids and isinstance(strange, str) != isinstance(next(iter(self._token_ids)), str):
            raise ValueError(
                f"item id {strange!r:.200} is a {type(strange).__name__}, the vocabulary holds ids of type "
                f"{type(next(iter(self._token_ids))).__name__}."
            )
        unknown_items = unknown_items or self.unknown_items
        if unknown_items == "error":
            raise ValueError(f"item {strange!r:.200} is not in the vocabulary.")
        if unknown_items == "unk":
            return [self.unk_token_id if token is None else token for token in tokens]
        logger.warning_once(f"Items that are not in the vocabulary are skipped; {strange!r:.200} is the first.")
        return known

    def encode_profile(self, profile: dict | None) -> list[int]:
        """A profile, feature names to values, to value ids; 0 for what is missing or unknown."""
        if not isinstance(profile, (dict, type(None))):
            raise ValueError(f"a profile is a dict of user features, not {profile!r:.200}.")
        if strange := set(profile or {}) - set(self.user_feature_names):
            logger.warning_once(
                f"{', '.join(sorted(map(str, strange)))}: no user feature of this model "
                f"({', '.join(self.user_feature_names)})."
            )
        return [
            ids.get(normalize_value((profile or {}).get(name)), 0)
            for name, ids in zip(self.user_feature_names, self._user_value_ids)
        ]

    def __call__(
        self, histories: list, profiles: list[dict | None] | dict | None = None, return_tensors: str | None = "pt"
    ) -> BatchFeature:
        """
        Encodes histories, whole: the model takes what it needs of them.

        Args:
            histories (`list[list]` or `list`):
                Raw item ids of each user, oldest first, or of one user.
            profiles (`list[dict]` or `dict`, *optional*):
                The users' profiles, feature names to values; `None` and missing names are fine.
            return_tensors (`str`, *optional*, defaults to `"pt"`):
                `"pt"`, `"np"` or `None` for lists.

        Returns:
            [`BatchFeature`] with `input_ids` and `attention_mask` `(batch_size, longest history)`, padded on the left,
            and, for a model with user features, `user_features` `(batch_size, num_user_features)`.
        """
        lists = (list, tuple, np.ndarray)
        if not isinstance(histories, lists) or not len(histories) or not isinstance(histories[0], lists):
            histories = [histories]
        for history in histories:
            if not isinstance(history, lists):  # a string would be read as its letters
                raise ValueError(f"a history is a list of item ids, not {history!r:.200}.")
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
        if return_tensors is not None:
            data = {name: np.asarray(rows, dtype=np.int64) for name, rows in data.items()}
        return BatchFeature(data, tensor_type=return_tensors)

    def decode(self, item_ids) -> list:
        """Token ids, of any shape, to lists of raw ids in their original type; `None` for PAD, MASK and UNK."""
        return self._look_up(self.vocabulary["item_ids"], item_ids)

    def titles(self, item_ids) -> list:
        """Token ids, of any shape, to lists of titles; `None` where an item has none."""
        titles = self.vocabulary.get("titles") or [None] * (self.vocab_size - NUM_SPECIAL_TOKENS)
        return self._look_up(titles, item_ids)

    def _look_up(self, values: list, item_ids):
        item_ids = item_ids.tolist() if hasattr(item_ids, "tolist") else item_ids
        if isinstance(item_ids, (list, tuple)):
            return [self._look_up(values, row) for row in item_ids]
        return values[item_ids - NUM_SPECIAL_TOKENS] if 0 <= item_ids - NUM_SPECIAL_TOKENS < len(values) else None

    def config_kwargs(self) -> dict:
        """The sizes that a [`Bert4RecConfig`] needs of this processor."""
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
                for f in self.vocabulary.get("user_features", [])
            ],
            "vocabulary_hash": self.vocabulary_hash,
        }

    @property
    def vocabulary_hash(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of the vocabulary as JSON."""
        return hashlib.sha256(json.dumps(self.vocabulary, sort_keys=True).encode()).hexdigest()[:16]

    def check_config(self, config: "Bert4RecConfig"):
        """
        Checks that a model is the one that this processor goes with.

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
        vocabulary = self.vocabulary
        item_features = zip(vocabulary.get("item_features", []), vocabulary.get("item_feature_values", []))
        return {
            "item_ids": vocabulary["item_ids"],
            "titles": vocabulary.get("titles"),
            "item_features": {
                feature["name"]: [[feature["values"][i - 1] for i in ids] for ids in rows]
                for feature, rows in item_features
            },
            "user_features": {feature["name"]: feature["values"] for feature in vocabulary.get("user_features", [])},
        }

    def add_items(
        self,
        item_ids: list,
        titles: list | None = None,
        item_features: dict[str, list] | None = None,
        user_features: dict[str, list] | None = None,
    ) -> list:
        """
        Appends items and feature values to the vocabulary. A model has to grow with it: see
        [`bert4rec_hf.add_items`], which calls this.

        Args:
            item_ids (`list`):
                Raw ids, of the vocabulary's type. What it knows already stays as it is.
            titles (`list`, *optional*):
                A title or `None` for each of them.
            item_features (`dict[str, list]`, *optional*):
                For features of the vocabulary the value, or several (a list, an array, ...), of each of them; `None`
                for none.
            user_features (`dict[str, list]`, *optional*):
                For features of the vocabulary values that it may not know yet.

        Returns:
            `list`: the ids that are new.

        Raises:
            `ValueError`: for ids of another type, for features that the vocabulary does not have, or for columns that
            are not as long as `item_ids`. The vocabulary is as before then.
        """
        vocabulary = self.vocabulary
        item_ids = [item.item() if isinstance(item, np.generic) else item for item in item_ids]
        columns = {"titles": titles, **(item_features or {})}
        for name, column in columns.items():
            if column is not None and len(column) != len(item_ids):
                raise ValueError(f"there are {len(item_ids)} items and {len(column)} {name}.")
        known_type = type(next(iter(self._token_ids), item_ids[0] if item_ids else None))
        first = {}  # place of each id that is new
        for row, item in enumerate(item_ids):
            if type(item) is not known_type:
                raise ValueError(
                    f"item id {item!r} is a {type(item).__name__}, the vocabulary holds ids of type "
                    f"{known_type.__name__}."
                )
            if item not in self._token_ids:
                first.setdefault(item, row)
        rows = list(first.values())
        new = {"item_ids": vocabulary["item_ids"] + list(first)}
        if titles is not None or vocabulary.get("titles") is not None:
            new["titles"] = list(vocabulary.get("titles") or [None] * len(vocabulary["item_ids"]))
            titles = [None] * len(item_ids) if titles is None else list(titles)
            new["titles"] += [str(titles[row]) if isinstance(titles[row], (str, int)) else None for row in rows]
        for kind, given in (("item_features", item_features or {}), ("user_features", user_features or {})):
            names = [feature["name"] for feature in vocabulary.get(kind, [])]
            if strange := sorted(set(given) - set(names)):
                raise ValueError(f"{', '.join(strange)}: none of the vocabulary's {kind} ({', '.join(names)}).")
        new["item_features"], new["item_feature_values"] = [], []
        for feature, values in zip(vocabulary.get("item_features", []), vocabulary.get("item_feature_values", [])):
            column = list((item_features or {}).get(feature["name"], [None] * len(item_ids)))
            names, ids = _add_values(feature["values"], [column[row] for row in rows])
            max_values = max([feature["max_values"], *map(len, ids)])
            new["item_features"].append({**feature, "values": names, "max_values": max_values})
            new["item_feature_values"].append(values + ids)
        new["user_features"] = [
            {**feature, "values": _add_values(feature["values"], [(user_features or {}).get(feature["name"], [])])[0]}
            for feature in vocabulary.get("user_features", [])
        ]
        self.set_vocabulary({**vocabulary, **new})
        return list(first)

    def item_features(self) -> np.ndarray:
        """Value ids for [`Bert4RecModel.set_item_features`]: int32 `(vocab_size, sum of max_values)`, 0 is padding."""
        features = self.vocabulary.get("item_features", [])
        tables = [np.zeros((self.vocab_size, feature["max_values"]), dtype=np.int32) for feature in features]
        for table, rows in zip(tables, self.vocabulary.get("item_feature_values", [])):
            lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
            row = np.repeat(np.arange(len(rows)) + NUM_SPECIAL_TOKENS, lengths)
            column = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
            table[row, column] = np.fromiter((value for values in rows for value in values), np.int32, len(row))
        return np.concatenate(tables, axis=1) if tables else np.zeros((self.vocab_size, 0), dtype=np.int32)

    def to_dict(self) -> dict:
        # The vocabulary has a file of its own; `processor_config.json` stays readable.
        return {name: value for name, value in super().to_dict().items() if name != "vocabulary"}

    def save_pretrained(self, save_directory, push_to_hub: bool = False, **kwargs):
        os.makedirs(save_directory, exist_ok=True)
        with open(os.path.join(save_directory, VOCABULARY_NAME), "w", encoding="utf-8") as file:
            json.dump(self.vocabulary, file, ensure_ascii=False, separators=(",", ":"))
        saved = super().save_pretrained(save_directory)
        if push_to_hub:  # of what it finds there, the parent's push would take its own file only
            self.push_to_hub(kwargs.pop("repo_id", os.path.basename(os.path.abspath(save_directory))), **kwargs)
        return saved

    @classmethod
    def get_processor_dict(cls, pretrained_model_name_or_path, **kwargs):
        hub_names = ("cache_dir", "force_download", "proxies", "token", "local_files_only", "revision", "subfolder")
        hub_kwargs = {name: kwargs[name] for name in hub_names if kwargs.get(name) is not None}
        processor_dict, kwargs = super().get_processor_dict(pretrained_model_name_or_path, **kwargs)
        with open(cached_file(pretrained_model_name_or_path, VOCABULARY_NAME, **hub_kwargs), encoding="utf-8") as file:
            processor_dict["vocabulary"] = json.load(file)
        return processor_dict, kwargs


__all__ = ["Bert4RecProcessor"]
