# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Fitting a processor on a log, and encoding logs as data sets."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

from ..errors import DataError
from ..model.processing_bert4rec import Bert4RecProcessor
from ..model.vocabulary_bert4rec import NUM_SPECIAL_TOKENS, ids_by_value, normalize_value
from .columns import ids_as
from .interactions import Interactions
from .splits import Split, Window


def fit_processor(interactions: Interactions, split: Split, unknown_items: str = "skip") -> Bert4RecProcessor:
    """
    A processor whose vocabularies come from the training rows only.

    Args:
        interactions ([`Interactions`]): the log and its side tables.
        split ([`Split`]): which rows train; stored in the processor, like the data settings.
        unknown_items (`str`, *optional*, defaults to `"skip"`): as for [`Bert4RecProcessor`].

    Raises:
        `DataError`: if no row, user or item is left to train on.
    """
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
        value_ids, names = _fit_values(values, np.isin(codes, items), name, interactions.counts)
        rows, cut = _rows_of_values(codes, value_ids, items, interactions.arguments.keyword_max_length)
        if cut:
            step = f"values of {name} beyond the {interactions.arguments.keyword_max_length} heaviest of an item, cut"
            interactions.counts[step] = cut
        longest = max(map(len, rows), default=0)
        vocabulary["item_features"].append({"name": name, "max_values": max(longest, 1), "values": names})
        vocabulary["item_feature_values"].append(rows)
    vocabulary["user_features"] = []
    for name, values in interactions.user_features.items():
        is_training = np.zeros(len(values), dtype=bool)
        is_training[users] = True
        _, names = _fit_values(values, is_training, name, interactions.counts)
        vocabulary["user_features"].append({"name": name, "values": names})
    return Bert4RecProcessor(
        vocabulary, unknown_items=unknown_items, data=interactions.arguments.rules(), split=log.split.settings()
    )


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
    codes: np.ndarray, value_ids: np.ndarray, items: np.ndarray, max_values: int
) -> tuple[list[list[int]], int]:
    """For each of `items` its distinct value ids, at most `max_values`, and how many were cut."""
    pairs = np.flatnonzero((value_ids > 0) & np.isin(codes, items))
    codes, value_ids = np.searchsorted(items, codes[pairs]), value_ids[pairs]
    _, first = np.unique(codes.astype(np.int64) * (value_ids.max(initial=0) + 1) + value_ids, return_index=True)
    first.sort()
    codes, value_ids = codes[first], value_ids[first]
    place = np.arange(len(codes)) - np.searchsorted(codes, codes)
    keep = place < max_values
    rows = _lists(codes[keep], value_ids[keep], len(items))
    return rows.to_pylist(), int((~keep).sum())


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
    """Value ids of every user's features and, last, of an unknown user: `(num_users + 1, num_user_features)`."""
    columns = [np.zeros((len(interactions.user_ids) + 1, 0), dtype=np.int32)]
    for feature in processor.vocabulary.get("user_features", []):
        if feature["name"] not in interactions.user_features:
            interactions.counts[f"users whose {feature['name']} is not read, taken as missing"] = len(columns[0]) - 1
            columns.append(np.zeros((len(columns[0]), 1), dtype=np.int32))
            continue
        codes, texts = _normalized(interactions.user_features[feature["name"]])
        ids = ids_by_value(feature["values"])
        ids = np.array([ids.get(text, 0) for text in texts], dtype=np.int32)
        columns.append(np.append(ids[codes], np.int32(0))[:, None])
    return np.concatenate(columns, axis=1)


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
    return Dataset(pa.table(columns))


def encode_training(interactions: Interactions, processor: Bert4RecProcessor, split: Split) -> Dataset:
    """
    The training rows of a log as a data set, one row per user: `input_ids` (the whole history), `user_features`, `row`
    (the key of its random draws) and `length`.
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
) -> Dataset:
    """
    The users with targets in `subset` (`"validation"` or `"test"`) as a data set, one row per user: `input_ids` (the
    whole history before it), `user_features`, `row` (the user's code) and `relevant` (the distinct target items). A
    target outside the vocabulary has an id beyond it, which is never recommended: a miss.

    Args:
        window ([`Window`], *optional*): restricts the targets to these days.
        update_history (`bool`, *optional*, defaults to `False`): whether the history goes on to the window's first
            day, or ends where the targets of the split begin.

    Raises:
        `DataError`: if there is no target, or the processor's model was trained on one.
    """
    log = split.apply(interactions)
    history, targets = log.history_and_targets(subset, window, update_history)
    targets = targets & log.core[0][interactions.user]
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
    return _encode(interactions, processor, history, users, relevant=_lists(pairs[0], pairs[1], len(users)))


def encode_histories(interactions: Interactions, processor: Bert4RecProcessor, users: np.ndarray) -> Dataset:
    """
    The whole histories of `users` as a data set: `input_ids`, `user_features`, `row`. The users are codes, sorted and
    distinct; -1 is an unknown user.
    """
    users = np.asarray(users)
    return _encode(interactions, processor, np.isin(interactions.user, users), users)
