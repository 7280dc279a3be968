# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Fitting a processor on a log, and encoding logs as data sets."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

from ..errors import DataError
from ..model.configuration_bert4rec import MAX_FEATURE_VALUES
from ..model.processing_bert4rec import Bert4RecProcessor
from ..model.vocabulary_bert4rec import (
    MISSING,
    NUM_SPECIAL_TOKENS,
    are_numbers,
    ids_by_value,
    nearest,
    normalize_value,
    places_in_lists,
)
from .columns import first_failure, ids_as
from .interactions import Interactions
from .splits import Split, Window


# How many numbers stand for the values of a feature of numbers.
NUM_QUANTILES = 32
# Places for the value ids of a feature, of all items or users together: at most 512 MB, and where that is more than
# 16 MB at most 16 for each value, so that a few long lists do not widen the whole table.
MAX_PLACES, MIN_PLACES, PLACES_OF_A_VALUE = 2**27, 2**22, 16


def fit_processor(interactions: Interactions, split: Split, unknown_items: str = "skip") -> Bert4RecProcessor:
    """
    A processor whose vocabularies come from the training rows only.

    Args:
        interactions ([`Interactions`]): the log and its side tables.
        split ([`Split`]): which rows train; stored in the processor, like the data settings.
        unknown_items (`str`, *optional*, defaults to `"skip"`): as for [`Bert4RecProcessor`].

    Raises:
        `DataError`: if no row, user or item is left to train on, or a feature of numbers holds a text.
    """
    features = {*interactions.item_features, *interactions.user_features}
    if unknown := sorted({*interactions.arguments.number_features} - features):
        raise DataError(f"number_features {', '.join(unknown)} are none of the item_features and user_features.")
    log = split.apply(interactions)
    train, (keep_user, keep_item) = log.fitted_rows, log.core
    if interactions.arguments.min_events > 1:
        reason = f"fewer than {interactions.arguments.min_events} training events, left out"
        interactions.counts[f"users with {reason}"] = int((~keep_user).sum())
        interactions.counts[f"items with {reason}"] = int((~keep_item).sum())
    items = np.unique(interactions.item[train])
    users = np.unique(interactions.user[train])
    vocabulary = {"item_ids": interactions.item_ids.take(pa.array(items)).to_pylist()}
    if interactions.titles is not None:
        vocabulary["titles"] = interactions.titles.take(pa.array(items)).to_pylist()
    vocabulary["item_features"], vocabulary["item_feature_values"] = [], []
    for name, (codes, values) in interactions.item_features.items():
        feature, rows = _fit_feature(interactions, name, codes, values, items)
        vocabulary["item_features"].append(feature)
        vocabulary["item_feature_values"].append(rows.to_pylist())
    vocabulary["user_features"] = []
    for name, values in interactions.user_features.items():
        feature, _ = _fit_feature(interactions, name, *pairs_of_users(values), users)
        if feature["max_values"] == 1:
            del feature["max_values"]
        vocabulary["user_features"].append(feature)
    processor = Bert4RecProcessor(
        vocabulary, unknown_items=unknown_items, data=interactions.arguments.rules(), split=log.split.settings()
    )
    if interactions.vector_features:
        processor.set_vectors({name: vectors[items] for name, vectors in interactions.vector_features.items()})
    return processor


def _fit_feature(
    interactions: Interactions, name: str, codes: np.ndarray, values: pa.DictionaryArray, owners: np.ndarray
) -> tuple[dict, pa.ListArray]:
    """
    The values of a feature that the training's items or users have, and for each of these its value ids.

    Args:
        codes, values: the feature of all items or users, in pairs.
        owners (`np.ndarray`): codes of those that train, sorted.
    """
    is_training, counts = np.isin(codes, owners), interactions.counts
    if name in interactions.arguments.number_features:
        numbers = _numbers(values, name)
        known = _quantiles(numbers[is_training])
        value_ids = nearest(known, numbers) if known else np.zeros(len(numbers), dtype=np.int32)
    else:
        value_ids, known = _fit_values(values, is_training, name, counts)
    places = min(MAX_PLACES, max(MIN_PLACES, PLACES_OF_A_VALUE * int(is_training.sum())))
    size = interactions.arguments.keyword_max_length or max(1, places // len(owners))
    size = min(size, MAX_FEATURE_VALUES["max_values"])
    rows, num_cut = _rows_of_values(codes, value_ids, owners, size)
    if num_cut:
        owner = "an item" if name in interactions.item_features else "a user"
        counts[f"values of {name} beyond the {size} heaviest of {owner}, cut"] = num_cut
    longest = pc.max(pc.list_value_length(rows)).as_py() or 0
    return {"name": name, "max_values": max(longest, 1), "values": known}, rows


def pairs_of_users(values: pa.DictionaryArray | pa.ListArray) -> tuple[np.ndarray, pa.DictionaryArray]:
    """A user feature as codes of users and values: of several values of a user, a pair each."""
    if not pa.types.is_list(values.type):
        return np.arange(len(values)), values
    lengths = pc.list_value_length(values).fill_null(0).to_numpy()
    return np.repeat(np.arange(len(values)), lengths), pc.list_flatten(values)


def _quantiles(numbers: np.ndarray) -> list[float]:
    """Numbers that stand for those nearest to them, as many for each: at most `NUM_QUANTILES`, increasing."""
    numbers = numbers[np.isfinite(numbers)]
    if not len(numbers):
        return []
    places = (np.arange(NUM_QUANTILES) + 0.5) / NUM_QUANTILES
    quantiles = np.unique(np.quantile(numbers, places, method="inverted_cdf")).tolist()
    return [int(number) if number.is_integer() else number for number in quantiles]


def _numbers(values: pa.DictionaryArray, name: str) -> np.ndarray:
    """
    A column of texts as float64, NaN where a value is missing.

    Raises:
        `DataError`: for a text that is no number.
    """
    texts = pc.utf8_trim_whitespace(values.dictionary.cast(pa.string()))
    is_missing = pc.is_in(pc.utf8_lower(texts), pa.array(MISSING))
    texts = pc.if_else(is_missing, None, texts)
    try:
        numbers = texts.cast(pa.float64())
    except pa.ArrowInvalid:
        text = texts[first_failure(pa.chunked_array([texts]), lambda part: part.cast(pa.float64()))].as_py()
        raise DataError(f"{name} is {text!r:.100}, not a number; leave it out of --number_features.") from None
    numbers = np.append(numbers.fill_null(np.nan).to_numpy(zero_copy_only=False), np.nan)
    return numbers[values.indices.fill_null(len(numbers) - 1).to_numpy()]


def _fit_values(
    values: pa.DictionaryArray, is_training: np.ndarray, name: str, counts: dict[str, int]
) -> tuple[np.ndarray, list[str]]:
    """Value ids `(num_values,)`, 0 for missing, and the normalised values of the training rows behind ids 1, 2, ..."""
    codes, texts = _normalized(values)
    spellings = [text for text in texts if text]
    counts[f"spellings of {name} merged with another"] = len(spellings) - len(set(spellings))
    counts[f"values of {name} that are empty or unknown, taken as missing"] = int((np.array(texts) == "")[codes].sum())
    seen = np.bincount(codes[is_training], minlength=len(texts)) > 0
    names = sorted({text for text, is_seen in zip(texts, seen) if text and is_seen})
    ids = {text: i for i, text in enumerate(names, start=1)}
    return np.array([ids.get(text, 0) for text in texts], dtype=np.int32)[codes], names


def _normalized(values: pa.DictionaryArray) -> tuple[np.ndarray, list[str]]:
    """A column as codes `(num_values,)` into its distinct normalised values; only these are handled one by one."""
    texts = [normalize_value(value) for value in values.dictionary.to_pylist()] + [""]
    return values.indices.fill_null(len(texts) - 1).to_numpy().astype(np.int64), texts


def as_dataset(rows: Dataset | Iterable) -> Dataset:
    """
    Encoded rows as a data set: a torch data set, a list of dicts or a stream is read once and held in memory.

    Raises:
        `DataError`: if there are no rows, or they have no `input_ids`.
    """
    if not isinstance(rows, Dataset):
        by_number = hasattr(rows, "__getitem__") and hasattr(rows, "__len__")
        rows = Dataset.from_list([dict(rows[n]) for n in range(len(rows))] if by_number else [*map(dict, rows)])
    if not len(rows) or "input_ids" not in rows.column_names:
        columns = f"the columns {', '.join(rows.column_names)}" if len(rows) else "no rows"
        raise DataError(f"the data set has {columns}; it needs input_ids, a history's token ids (see encode_items).")
    return rows


def history_lengths(dataset: Dataset) -> np.ndarray:
    """Number of items of each row of an encoded data set, `(num_rows,)`."""
    return pc.list_value_length(dataset.with_format("arrow")[:]["input_ids"]).fill_null(0).to_numpy()


def item_counts(dataset: Dataset, processor: Bert4RecProcessor) -> np.ndarray:
    """Events of each token id in an encoded data set, int64 `(vocab_size,)`."""
    tokens = pc.list_flatten(dataset.with_format("arrow")[:]["input_ids"]).to_numpy()
    return np.bincount(tokens, minlength=processor.vocab_size)


def _rows_of_values(
    codes: np.ndarray, value_ids: np.ndarray, owners: np.ndarray, max_values: int
) -> tuple[pa.ListArray, int]:
    """For each of `owners` its distinct value ids, at most `max_values`, and how many were cut."""
    pairs = np.flatnonzero((value_ids > 0) & np.isin(codes, owners))
    codes, value_ids = np.searchsorted(owners, codes[pairs]), value_ids[pairs]
    _, first = np.unique(codes.astype(np.int64) * (value_ids.max(initial=0) + 1) + value_ids, return_index=True)
    first.sort()
    codes, value_ids = codes[first], value_ids[first]
    place = np.arange(len(codes)) - np.searchsorted(codes, codes)
    keep = place < max_values
    return _lists(codes[keep], value_ids[keep], len(owners)), int((~keep).sum())


def _lists(codes: np.ndarray, values: np.ndarray, size: int) -> pa.ListArray:
    """Values sorted by code as one list for each of `size` codes."""
    offsets = np.searchsorted(codes, np.arange(size + 1)).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))


def token_ids(interactions: Interactions, processor: Bert4RecProcessor) -> np.ndarray:
    """Token id of each item code, `(num_items,)`; -1 where the vocabulary does not know it."""
    known = pa.array(processor.vocabulary["item_ids"])
    tokens = pc.index_in(ids_as(interactions.item_ids, known), known)
    return pc.add(tokens, NUM_SPECIAL_TOKENS).fill_null(-1).to_numpy().astype(np.int32)


def _user_features(interactions: Interactions, processor: Bert4RecProcessor) -> np.ndarray:
    """Value ids of every user's features and, last, of an unknown user: `(num_users + 1, sum of max_values)`."""
    num_users = len(interactions.user_ids)
    tables = [np.zeros((num_users + 1, 0), dtype=np.int32)]
    for feature in processor.vocabulary.get("user_features", []):
        name, size = feature["name"], feature.get("max_values", 1)
        tables.append(np.zeros((num_users + 1, size), dtype=np.int32))
        if name not in interactions.user_features:
            interactions.counts[f"users whose {name} is not read, taken as missing"] = num_users
            continue
        users, values = pairs_of_users(interactions.user_features[name])
        if are_numbers(feature["values"]):
            value_ids = nearest(feature["values"], _numbers(values, name))
        else:
            codes, texts = _normalized(values)
            ids = ids_by_value(feature["values"])
            value_ids = np.array([ids.get(text, 0) for text in texts], dtype=np.int32)[codes]
        if not pa.types.is_list(interactions.user_features[name].type):
            tables[-1][users, 0] = value_ids
            continue
        rows, _ = _rows_of_values(users, value_ids, np.arange(num_users), size)
        user, place = places_in_lists(pc.list_value_length(rows).to_numpy())
        tables[-1][user, place] = pc.list_flatten(rows).to_numpy()
    return np.concatenate(tables, axis=1)


def _encode(
    interactions: Interactions, processor: Bert4RecProcessor, history: np.ndarray, users: np.ndarray, **columns
) -> Dataset:
    """A data set with one row for each of `users` (codes, sorted) of the `history` rows of the log."""
    tokens = token_ids(interactions, processor)[interactions.item]
    unknown = history & (tokens < 0)
    if unknown.any():
        interactions.counts["events of histories outside the vocabulary"] = int(unknown.sum())
    if processor.unknown_items == "skip":
        history = history & ~unknown
    elif processor.unknown_items == "unk":
        tokens = np.where(unknown, processor.unk_token_id, tokens)
    elif unknown.any():
        item = interactions.item_ids[int(interactions.item[np.argmax(unknown)])].as_py()
        raise DataError(
            f"{interactions.arguments.history_data_file}: {interactions.arguments.item_column} {item!r} is not in the"
            f" vocabulary ({int(unknown.sum())} such rows); skip such items or read them as UNK."
        )
    rows = np.searchsorted(users, interactions.user[history])
    input_ids = _lists(rows, tokens[history], len(users))
    columns = {"input_ids": input_ids, "row": pa.array(users, pa.int64()), **columns}
    user_features = _user_features(interactions, processor)[users]
    if user_features.shape[1]:
        columns["user_features"] = pa.FixedSizeListArray.from_arrays(user_features.ravel(), user_features.shape[1])
    if processor.reads_times:
        seconds = interactions.seconds
        seconds = np.zeros(len(interactions), dtype=np.int64) if seconds is None else np.maximum(seconds, 0)
        columns["timestamps"] = _lists(rows, seconds[history], len(users))
    return Dataset(pa.table(columns))


def encode_training(interactions: Interactions, processor: Bert4RecProcessor, split: Split) -> Dataset:
    """
    The training rows of a log as a data set, one row per user: `input_ids` (the whole history), `user_features`, `row`
    (the key of its random draws), `length`, and for a model that reads times `timestamps`, in seconds.
    """
    log = split.apply(interactions)
    train = log.fitted_rows & (token_ids(interactions, processor) >= 0)[interactions.item]
    users = np.unique(interactions.user[train])
    if processor.unknown_items == "unk":  # UNK is learnt from the items below min_events
        train = log.rows["train"] & np.isin(interactions.user, users)
    length = np.bincount(interactions.user[train], minlength=len(interactions.user_ids))[users]
    # A row keeps its draws when later rows bring new users into the log.
    return _encode(interactions, processor, train, users, row=np.arange(len(users)), length=length)


def encode_evaluation(
    interactions: Interactions,
    processor: Bert4RecProcessor,
    split: Split,
    subset: str = "test",
    window: Window | None = None,
    update_history: bool = False,
    request_time: bool = False,
) -> Dataset:
    """
    The users with targets in `subset` (`"validation"` or `"test"`) as a data set, one row per user: `input_ids` (the
    whole history before it), `user_features`, `row` (the user's code) and `relevant` (the distinct target items). A
    target outside the vocabulary has an id beyond it, which is never recommended: a miss.

    Args:
        window ([`Window`], *optional*): restricts the targets to these days.
        update_history (`bool`, *optional*, defaults to `False`): whether the history goes on to the window's first
            day, or ends where the targets of the split begin.
        request_time (`bool`, *optional*, defaults to `False`): whether a model that reads times knows the moment of
            a user's first target, in the column `request_time`; otherwise only when the history was.

    Raises:
        `DataError`: if there is no target, or the processor's model was trained on one.
    """
    log = split.apply(interactions)
    history, targets = log.history_and_targets(subset, window, update_history)
    users = np.unique(interactions.user[targets])
    if not len(users):
        hint = " (see --validation_days)" if subset == "validation" and split.split == "temporal" else ""
        if split.split == "leave_one_out" and np.bincount(interactions.user).max() < 3:
            hint = "; no user has the 3 events that it takes (--split none trains on all events)"
        when = f" in {window.name}" if window else ""
        raise DataError(f"nobody is left to evaluate: no {subset} rows under the split {split}{when}{hint}.")
    if processor.split:
        Split(**processor.split).apply(interactions).check_unseen(targets)
    tokens = token_ids(interactions, processor)
    tokens = np.where(tokens < 0, processor.vocab_size + np.arange(len(tokens), dtype=np.int32), tokens)
    pairs = np.unique(
        np.stack([np.searchsorted(users, interactions.user[targets]), tokens[interactions.item[targets]]]), axis=1
    )
    history = history & np.isin(interactions.user, users)
    columns = {"relevant": _lists(pairs[0], pairs[1], len(users))}
    if request_time and processor.reads_times and interactions.seconds is not None:
        rows = np.flatnonzero(targets)
        first = rows[np.unique(interactions.user[rows], return_index=True)[1]]
        columns["request_time"] = pa.array(interactions.seconds[first])
    return _encode(interactions, processor, history, users, **columns)


def encode_histories(
    interactions: Interactions, processor: Bert4RecProcessor, users: np.ndarray, request_time: int = 0
) -> Dataset:
    """
    The whole histories of `users` as a data set: `input_ids`, `user_features`, `row`, and for a model that reads times
    `timestamps` and `request_time`, in seconds, 0 if unknown. The users are codes, sorted and distinct; -1 is an
    unknown user.
    """
    users = np.asarray(users)
    moments = {"request_time": np.full(len(users), request_time)} if processor.reads_times else {}
    return _encode(interactions, processor, np.isin(interactions.user, users), users, **moments)
