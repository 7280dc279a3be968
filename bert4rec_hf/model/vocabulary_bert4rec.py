# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""The vocabulary of BERT4Rec, items and feature values: checking, normalising, extending and merging."""

import hashlib
import math
import re
import unicodedata
from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import chain, pairwise

import numpy as np
from numpy.typing import ArrayLike


NUM_SPECIAL_TOKENS = 3  # PAD, MASK, UNK
MISSING = ("", "nan", "none", "null", "unknown", "<na>")  # what stands for a missing value, in any case
WHOLE_NUMBER = re.compile(r"^(-?(?:0|[1-9][0-9]*))\.0+$")


def normalize_value(value) -> str:
    """
    A feature value as stored in the vocabulary: no white space ("노래 율동" is "노래율동"), Unicode NFC, whole numbers
    without ".0", "True" and "False"; "" for a missing value. A normalised value is unchanged.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = "" if value is None else str(value)
    if isinstance(value, Decimal) and "." in text:
        text = text.rstrip("0").rstrip(".")
    text = unicodedata.normalize("NFC", "".join(text.split()))  # in this order: white space keeps letters apart
    text = WHOLE_NUMBER.sub(r"\1", text)
    text = "0" if text == "-0" else text
    if text.lower() in ("true", "false"):
        return text.capitalize()
    return "" if text.lower() in MISSING else text


def to_seconds(time) -> int:
    """
    A time as seconds since 1970: a number of these, a `datetime`, NumPy's too, or a text such as
    "2022-04-27T15:56:08+09:00". Without a time zone it is UTC. 0 for a missing one, and for what is before 1970.

    Raises:
        `ValueError`: for what is no time.
    """
    try:
        if time is None or str(time) in ("nan", "NaT", "<NA>"):
            return 0
        if isinstance(time, np.datetime64):
            time = time.astype("datetime64[us]").item()
        if isinstance(time, str):
            time = float(time) if re.fullmatch(r"[0-9]{9,10}(\.[0-9]*)?", time) else datetime.fromisoformat(time)
        if isinstance(time, date) and not isinstance(time, datetime):
            time = datetime(time.year, time.month, time.day)
        if isinstance(time, datetime):
            time = (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
        # Beyond are milliseconds and dates written as numbers, which are also between
        elif isinstance(time, bool) or not time < 10**11 or 19_000_101 <= time < 21_010_000:
            raise ValueError
        return max(int(time), 0)
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError(
        f"{time!r:.100} is no time: give seconds since 1970, a datetime, or a text such as '2022-04-27T15:56:08'."
    )


def moments_of(
    history: list, token_ids: dict, unknown_items: str, times: Iterable | None = None, request_time=None
) -> list[int]:
    """
    When the events of a history were, without those that its encoding by `token_ids` skips, and last the moment to
    recommend for, in seconds, 0 where unknown.

    Raises:
        `ValueError`: for what is no time, or if there is not one for each event.
    """
    times = [None] * len(history) if times is None else list(times)
    if len(times) != len(history):
        raise ValueError(f"a history has {len(history)} events and {len(times)} times.")
    kept = (time for item, time in zip(history, times) if unknown_items == "unk" or item in token_ids)
    return [*map(to_seconds, kept), to_seconds(request_time)]


def ids_by_value(values: list[str]) -> dict[str, int]:
    """The value ids of a feature, by normalised value; a vocabulary may be older than the rules of today."""
    ids = {}
    for number, value in enumerate(values, start=1):
        ids.setdefault(normalize_value(value), number)
    return ids


def are_numbers(values: list) -> bool:
    """Whether the values of a feature are numbers, in increasing order: each stands for those nearest to it."""
    return len(values) > 0 and not isinstance(values[0], str)


def nearest(values: list[float], numbers: np.ndarray) -> np.ndarray:
    """For each number the id, from 1, of the nearest of increasing values; 0 where it is NaN or infinite."""
    values = np.asarray(values, dtype=np.float64)
    ids = np.searchsorted(values[1:] / 2 + values[:-1] / 2, numbers, side="right") + 1
    return np.where(np.isfinite(numbers), ids, 0).astype(np.int32)


class FeatureIds:
    """
    The value ids of a feature of a vocabulary: a raw value, or several, to `max_values` ids, 0 for what is missing or
    not known. If the feature's values are numbers, a number has the id of the nearest.
    """

    def __init__(self, feature: dict):
        self.values, self.max_values = feature["values"], feature.get("max_values", 1)
        self.ids = None if are_numbers(self.values) else ids_by_value(self.values)

    def __call__(self, value) -> list[int]:
        ids = [self.id_of(part) for part in (_several(value) if self.max_values > 1 else [value])]
        ids = [*dict.fromkeys(filter(None, ids))][: self.max_values]
        return ids + [0] * (self.max_values - len(ids))

    def id_of(self, value) -> int:
        """The id of one value."""
        text = normalize_value(value)
        if self.ids is not None:
            return self.ids.get(text, 0)
        try:
            return int(nearest(self.values, np.float64(text)))
        except ValueError:
            return 0


def _several(value) -> Iterable:
    return value if isinstance(value, Iterable) and not isinstance(value, str) else [value]


def _add_values(values: list, rows: list) -> tuple[list, list[list[int]]]:
    """`values` with the new values of `rows` appended, none to numbers, and the distinct value ids of each row."""
    rows = [_several(row) for row in rows]
    if are_numbers(values):
        id_of = FeatureIds({"values": values}).id_of
        return values, [[*dict.fromkeys(filter(None, map(id_of, row)))] for row in rows]
    ids = ids_by_value(values)
    rows = [dict.fromkeys(filter(None, map(normalize_value, row))) for row in rows]
    new = {}
    for value in chain.from_iterable(rows):
        if value not in ids:
            new[value] = ids[value] = len(values) + len(new) + 1
    return [*values, *new], [[ids[value] for value in row] for row in rows]


def check_vocabulary(vocabulary: dict):
    """Raises `ValueError` for an invalid vocabulary: otherwise a wrong id in the file would go unnoticed."""

    def check(holds: bool, what: str):
        if not holds:
            raise ValueError(f"the vocabulary cannot be used: {what}.")

    def types(values: list) -> set[type]:
        return {*map(type, values)} if isinstance(values, list) else {object}

    optional = ("titles", "item_features", "item_feature_values", "user_features", "vector_features")
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
            has = set(feature) - ({"max_values"} if kind == "user_features" else set())
            check(has == settings, f"{kind} must have {', '.join(sorted(settings))} each")
            name, values, size = feature["name"], feature["values"], feature.get("max_values", 1)
            check(types([name]) == {str}, f"{kind} must hold strings")
            check(type(size) is int and size > 0, f"max_values of {name} is {size!r}")
            if types(values) <= {int, float}:
                numbers = [*map(float, values)]
                is_increasing = all(map(math.isfinite, numbers)) and all(one < two for one, two in pairwise(numbers))
                check(is_increasing, f"the numbers of {name} must increase")
            else:
                check(types(values) == {str}, f"{kind} must hold strings, or numbers")
            check(len({*values}) == len(values), f"{name} has a value twice")
        check(len({feature["name"] for feature in features}) == len(features), f"{kind} has a name twice")
    vectors = vocabulary.get("vector_features", [])
    check(
        types(vectors) <= {dict} and all({*vector} == {"name", "size", "hash"} for vector in vectors),
        "vector_features must have name, size and hash each",
    )
    check(
        len({vector["name"] for vector in vectors}) == len(vectors) and types([v["size"] for v in vectors]) <= {int},
        "vector_features has a name twice, or a size that is no integer",
    )
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
        longest = max(map(len, rows), default=0)
        check(
            type(max_values) is int and max(longest, 1) <= max_values,
            f"max_values of {name} is {max_values!r}, an item has {longest}",
        )
    features = [f for f in [*features, *vocabulary.get("user_features", [])] if not are_numbers(f["values"])]
    all_strings = [item_ids if types(item_ids) == {str} else [], filter(None, titles or [])]
    all_strings += [[feature["name"], *feature["values"]] for feature in features]
    try:
        "".join(chain.from_iterable(all_strings)).encode()
    except UnicodeEncodeError:
        check(False, "it holds a lone surrogate (half a character), which UTF-8 cannot encode")


def raw_values(vocabulary: dict) -> dict:
    """A vocabulary in raw values: what [`grow_vocabulary`] takes."""
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


def grow_vocabulary(
    vocabulary: dict,
    item_ids: list,
    titles: list | None = None,
    item_features: dict[str, list] | None = None,
    user_features: dict[str, list] | None = None,
    vector_features: dict[str, ArrayLike] | None = None,
) -> tuple[dict, list, np.ndarray]:
    """
    A vocabulary with more items and feature values; the arguments and errors are those of
    [`Bert4RecProcessor.add_items`].

    Returns:
        `tuple[dict, list, np.ndarray]`: the new vocabulary, the new ids, and their vectors `(num_new, sum of sizes)`;
        the old vocabulary is unchanged.
    """
    known = set(vocabulary["item_ids"])
    item_ids = [item.item() if isinstance(item, np.generic) else item for item in item_ids]
    columns = {"titles": titles, **(item_features or {}), **(vector_features or {})}
    for name, column in columns.items():
        if column is not None and len(column) != len(item_ids):
            raise ValueError(f"there are {len(item_ids)} items and {len(column)} {name}.")
    known_type = type(next(iter(vocabulary["item_ids"]), item_ids[0] if item_ids else None))
    first_row = {}  # place of each id that is new
    for row, item in enumerate(item_ids):
        if type(item) is not known_type:
            raise ValueError(
                f"item id {item!r} is a {type(item).__name__}, the vocabulary holds ids of type {known_type.__name__}."
            )
        if item not in known:
            first_row.setdefault(item, row)
    rows = list(first_row.values())
    new = {"item_ids": vocabulary["item_ids"] + list(first_row)}
    if titles is not None or vocabulary.get("titles") is not None:
        new["titles"] = list(vocabulary.get("titles") or [None] * len(vocabulary["item_ids"]))
        titles = [None] * len(item_ids) if titles is None else list(titles)
        new["titles"] += [str(titles[row]) if isinstance(titles[row], (str, int)) else None for row in rows]
    kinds = ("item_features", "user_features", "vector_features")
    for kind, given in zip(kinds, (item_features or {}, user_features or {}, vector_features or {})):
        names = [feature["name"] for feature in vocabulary.get(kind, [])]
        if unknown := sorted(set(given) - set(names)):
            raise ValueError(f"{', '.join(unknown)}: none of the vocabulary's {kind} ({', '.join(names)}).")
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
    vectors = [np.zeros((len(rows), 0), dtype=np.float16)]
    for feature in vocabulary.get("vector_features", []):
        name, size = feature["name"], feature["size"]
        part = np.zeros((len(rows), size), dtype=np.float16)
        if name in (vector_features or {}):
            part = unit_vectors([vector_features[name][row] for row in rows], name, size)
        new.setdefault("vector_features", []).append({**feature, "hash": hash_of(part, feature["hash"])})
        vectors.append(part)
    return {**vocabulary, **new}, list(first_row), np.concatenate(vectors, axis=1)


def unit_vectors(rows: ArrayLike | list, name: str, size: int) -> np.ndarray:
    """
    Vectors of mean 0 and length 1, in half precision `(num_items, size)`: a layer norm, up to a factor; 0 for `None`.

    Raises:
        `ValueError`: for vectors of another size, and for what is no finite number.
    """
    rows = [np.zeros(size) if row is None else row for row in rows] if isinstance(rows, list) else rows
    if len(rows) > 2**16:  # in pieces: single precision of all may not fit
        pieces = [unit_vectors(rows[start : start + 2**16], name, size) for start in range(0, len(rows), 2**16)]
        return np.concatenate(pieces)
    try:
        vectors = np.asarray(rows, dtype=np.float32).reshape(len(rows), -1)
    except (ValueError, TypeError):
        raise ValueError(f"{name} must have a list of {size} numbers for each item.") from None
    if len(vectors) and vectors.shape[1] != size:
        raise ValueError(f"{name} has {vectors.shape[1]} numbers for an item; the model takes {size}.")
    if not np.isfinite(vectors).all():
        raise ValueError(f"{name} holds NaN or infinity.")
    vectors = vectors / np.maximum(np.abs(vectors).max(1, keepdims=True, initial=0), 1e-30)  # squares may overflow
    vectors = vectors - vectors.mean(1, keepdims=True)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(norms, 1e-6)).astype(np.float16).reshape(len(rows), size)


def hash_of(vectors: np.ndarray, before: str = "") -> str:
    """The first 16 hexadecimal digits of the SHA-256 of vectors, after those with the hash `before`."""
    return hashlib.sha256(before.encode() + np.ascontiguousarray(vectors).tobytes()).hexdigest()[:16]


def feature_table(vocabulary: dict) -> np.ndarray:
    """Value ids of the features of all token ids: int32 `(vocab_size, sum of max_values)`, 0 is padding."""
    vocab_size = len(vocabulary["item_ids"]) + NUM_SPECIAL_TOKENS
    features = vocabulary.get("item_features", [])
    tables = [np.zeros((vocab_size, feature["max_values"]), dtype=np.int32) for feature in features]
    for table, rows in zip(tables, vocabulary.get("item_feature_values", [])):
        lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
        row, column = places_in_lists(lengths)
        table[row + NUM_SPECIAL_TOKENS, column] = np.fromiter(chain.from_iterable(rows), np.int32, len(row))
    return np.concatenate(tables, axis=1) if tables else np.zeros((vocab_size, 0), dtype=np.int32)


def places_in_lists(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The list, and the place in it, of each value of some lists."""
    starts = np.cumsum(lengths) - lengths
    return np.repeat(np.arange(len(lengths)), lengths), np.arange(lengths.sum()) - np.repeat(starts, lengths)


def merge_checkpoints(processors: dict) -> dict:
    """The arguments of the merged processor, see [`Bert4RecProcessor.merge`]."""
    (first_name, first), *others = processors.items()
    vocabulary, data = {**first.vocabulary}, {**(first.data or {})}
    kinds = ("item_features", "user_features", "vector_features")
    features = {kind: _features_of(first.vocabulary, kind) for kind in kinds}
    for name, other in others:
        if other.vocabulary["item_ids"] != vocabulary["item_ids"]:
            raise ValueError(f"{name} has other items than {first_name}; the members of an ensemble share them.")
        for setting in ("split", "unknown_items"):
            if getattr(other, setting) != getattr(first, setting):
                raise ValueError(
                    f"{name} has {setting} {getattr(other, setting)}, {first_name} {getattr(first, setting)}; the "
                    "members of an ensemble share it."
                )
        if vocabulary.get("titles") is None and other.vocabulary.get("titles") is not None:
            vocabulary["titles"] = other.vocabulary["titles"]
        for kind, known in features.items():
            for feature, (values, table) in _features_of(other.vocabulary, kind).items():
                if known.setdefault(feature, (values, table))[0] != values and kind == "user_features":
                    raise ValueError(f"{name} has other values of {feature} than the members before it.")
        for rule, value in (other.data or {}).items():
            known = data.setdefault(rule, value)
            if isinstance(value, list):
                data[rule] = list(dict.fromkeys(known + value))
            elif known == "none":
                data[rule] = value
            elif rule == "time_intervals":  # not how the log is read: each member has its own
                continue
            elif value not in (known, "none") and not rule.startswith("keyword_"):  # its own item features
                raise ValueError(f"{name} read its data with {rule} {value}, the members before it with {known}.")
    for kind, known in features.items():
        if known:
            vocabulary[kind] = [values for values, _ in known.values()]
    if features["item_features"]:
        vocabulary["item_feature_values"] = [table for _, table in features["item_features"].values()]
    return {
        "vocabulary": vocabulary,
        "unknown_items": first.unknown_items,
        "data": data or None,
        "split": first.split,
    }


def _features_of(vocabulary: dict, kind: str) -> dict[str, tuple[dict, list | None]]:
    """The features of a kind and the items' value ids, by name."""
    features = vocabulary.get(kind, [])
    tables = vocabulary.get("item_feature_values", []) if kind == "item_features" else [None] * len(features)
    return {feature["name"]: (feature, table) for feature, table in zip(features, tables)}
