# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Reading what is known of items and users: the item table, the keyword table and the profile table."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from transformers.utils import logging

from ..errors import DataError, one_line
from ..model.vocabulary_bert4rec import unit_vectors
from .arguments import TEXT, DataArguments
from .columns import (
    categories,
    decoded,
    first_failure,
    id_keys,
    ids_as,
    is_list,
    is_text,
    list_values,
    read_ids,
    read_numbers,
)
from .tables import Table


logger = logging.get_logger(__name__)


def read_item_tables(
    args: DataArguments, items: Table | None, keywords: Table | None, item_ids: pa.Array, counts: dict
) -> dict:
    """
    `titles`, `item_features` and `vector_features` of [`Interactions`], from the item table and the keyword table.

    Raises:
        `DataError`: for a column that is in neither, and for values that cannot be used.
    """
    known = {"titles": None, "item_features": {}, "vector_features": {}}
    wanted = {"item": args.item_features, "text": args.text_features, "vector": args.vector_features}
    in_tables, texts = np.zeros(len(item_ids), dtype=bool), {}
    found = set()
    for source in filter(None, (items, keywords)):
        several_rows = source is keywords
        columns = {name for names in wanted.values() for name in names if name in source.columns} - found
        found |= columns
        weighted = several_rows and args.keyword_value_column.lower() not in ("", "none")
        read = [args.item_column, *sorted(columns), *([args.keyword_value_column] if weighted else [])]
        with_titles = args.title_column in source.columns and known["titles"] is None
        table = source.read([*read, *([args.title_column] if with_titles else [])], counts)
        item = _join(source, table, args.item_column, item_ids, counts, count_more_rows=not several_rows)
        in_tables[item[item >= 0]] = True
        if with_titles:
            source.check_flat(table, args.title_column, "a title")
            titles = categories(table[args.title_column], f"{source.name}: {args.title_column}")
            known["titles"] = _first_value_per_code(item, titles, len(item_ids)).cast(pa.string())
        for name in filter(columns.__contains__, args.vector_features):
            known["vector_features"][name] = _vectors(source, table, name, item, len(item_ids))
            has_vector = known["vector_features"][name].any(1)
            counts[f"items with events without {name}"] = int((~has_vector).sum())
        heaviest_first = None
        if weighted:
            weight = read_numbers(source, table, args.keyword_value_column)
            is_below_min = ~(weight >= args.keyword_min_value)
            step = f"with {args.keyword_value_column} below {args.keyword_min_value:g}, left out"
            counts[f"rows of {source.role} {step}"] = int(is_below_min.sum())
            item = np.where(is_below_min, -1, item)
            heaviest_first = np.argsort(-weight, kind="stable")
        for name in filter(columns.__contains__, dict.fromkeys([*args.item_features, *args.text_features])):
            if name in args.item_features:
                values = _feature_values(source, table, name, args)
            else:
                source.check_flat(table, name, "a text or a list of texts")
                values = table[name]
            codes, order, is_single = item, heaviest_first, not several_rows
            if is_list(values.type):
                rows, values = list_values(values)
                codes, is_single = item[rows], False
                order = None if order is None else np.argsort(np.argsort(order)[rows], kind="stable")
            values = categories(values, f"{source.name}: {name}")
            if is_single:
                codes, values = np.arange(len(item_ids)), _first_value_per_code(item, values, len(item_ids))
            is_kept = (codes >= 0) & values.is_valid().to_numpy(zero_copy_only=False)
            pairs = np.flatnonzero(is_kept) if order is None else order[is_kept[order]]
            pairs = pairs[np.argsort(codes[pairs], kind="stable")]
            codes, values = codes[pairs], values.take(pa.array(pairs))
            if name in args.item_features:
                known["item_features"][name] = codes, values
                counts[f"items with events without {name}"] = len(item_ids) - len(np.unique(codes))
            if name in args.text_features:
                ends = np.searchsorted(codes, np.arange(len(item_ids) + 1)).astype(np.int32)
                parts = pa.ListArray.from_arrays(pa.array(ends), values.cast(pa.string()))
                texts[name] = pc.binary_join(parts, ", ")
    counts["items with events that no item table knows"] = int((~in_tables).sum())
    for kind, names in wanted.items():
        if unknown := [name for name in names if name not in found]:
            tables = [f"{source.name} has {', '.join(source.columns)}" for source in (items, keywords) if source]
            raise DataError(f"{kind} feature {unknown[0]!r} is no column of the item tables ({'; '.join(tables)}).")
    if texts:
        joined = texts[args.text_features[0]]
        for name in args.text_features[1:]:
            is_either_empty = pc.or_(pc.equal(joined, ""), pc.equal(texts[name], ""))
            joined = pc.binary_join_element_wise(joined, texts[name], pc.if_else(is_either_empty, "", ". "))
        known["vector_features"][TEXT] = text_vectors(joined, args.text_model)
        counts["items with events without a text"] = pc.sum(pc.equal(joined, "")).as_py()
    return known


def _vectors(source: Table, table: pa.Table, name: str, item: np.ndarray, num_items: int) -> np.ndarray:
    """The vector of each item, `(num_items, size)`; 0 where an item has none."""
    column = decoded(table[name])
    if not (is_text(column.type) or is_list(column.type) and not pa.types.is_nested(column.type.value_type)):
        raise DataError(f"{source.name}: {name} is of type {column.type}, not lists of numbers.")
    vectors, is_there, row = None, np.zeros(num_items, dtype=bool), 0
    for chunk in column.chunks:
        if is_text(column.type):
            text = pc.utf8_trim(chunk, "[]() \t")
            chunk = pc.split_pattern_regex(pc.if_else(pc.equal(text, ""), None, text), r"[\s,;|]+")
        lengths = pc.list_value_length(chunk).fill_null(0).to_numpy(zero_copy_only=False)
        rows = np.flatnonzero(lengths)
        if len(rows):
            parts = pc.list_flatten(chunk)
            try:
                numbers = parts.cast(pa.float32(), safe=is_text(parts.type)).fill_null(np.nan)
            except pa.ArrowNotImplementedError:
                raise DataError(f"{source.name}: {name} is of type {column.type}, not lists of numbers.") from None
            except pa.ArrowInvalid:
                bad = first_failure(pa.chunked_array([parts]), lambda part: part.cast(pa.float32()))
                where = source.place(row + int(np.searchsorted(np.cumsum(lengths), bad, side="right")))
                raise DataError(f"{where}: {name} holds {parts[bad].as_py()!r:.100}, not a number.") from None
            size = int(lengths[rows[0]]) if vectors is None else vectors.shape[1]
            if (lengths[rows] != size).any():
                other = rows[np.argmax(lengths[rows] != size)]
                where = source.place(row + int(other))
                raise DataError(f"{where}: {name} has {lengths[other]} numbers, in other rows {size}.")
            if size < 2:
                raise DataError(f"{source.name}: {name} has one number an item; see --number_features.")
            vectors = np.zeros((num_items, size), dtype=np.float16) if vectors is None else vectors
            numbers = numbers.to_numpy(zero_copy_only=False).reshape(-1, size)
            if not np.isfinite(numbers).all():
                where = source.place(row + int(rows[np.argmin(np.isfinite(numbers).all(1))]))
                raise DataError(f"{where}: {name} holds a number that is missing, NaN or infinity.")
            codes = item[row + rows]
            codes, first = np.unique(codes, return_index=True)
            is_new = (codes >= 0) & ~is_there[codes]
            codes, first = codes[is_new], first[is_new]
            is_there[codes] = True
            vectors[codes] = unit_vectors(numbers[first], name, size)
        row += len(chunk)
    if vectors is None:
        raise DataError(f"{source.name}: {name} is empty in all rows.")
    return vectors


def _sentence_transformer(model: str):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(model)


def _static_model(model: str):
    from model2vec import StaticModel

    return StaticModel.from_pretrained(model)


def text_vectors(texts: pa.Array, model: str | None) -> np.ndarray:
    """
    Vectors of texts, `(num_texts, size)`, 0 of an empty one, by a model of sentence-transformers or model2vec: a
    folder or an id on the Hub.

    Raises:
        `DataError`: if neither library is installed, or the model cannot be loaded.
    """
    if model is None:
        raise DataError("text_features need a --text_model of sentence-transformers or model2vec.")
    errors = []
    for load in (_sentence_transformer, _static_model):
        try:
            encoder = load(model)
        except Exception as error:  # each library raises what its own parts do
            errors.append(error)
            continue
        vectors = encoder.encode(texts.to_pylist(), show_progress_bar=len(texts) > 10_000)
        is_empty = pc.equal(texts, "").to_numpy(zero_copy_only=False)
        return unit_vectors(np.where(is_empty[:, None], 0, vectors), TEXT, vectors.shape[1])
    errors = [error for error in errors if not isinstance(error, ModuleNotFoundError)]
    if not errors:
        raise DataError("text_features need `pip install sentence-transformers`, or model2vec for a model of its own.")
    raise DataError(f"text_model {model} cannot be loaded: {one_line(errors[-1])}")


def _feature_values(source: Table, table: pa.Table, name: str, args: DataArguments) -> pa.ChunkedArray:
    """A column of an item feature: values, or lists of them."""
    values = table[name]
    source.check_flat(table, name, "a value or a list of values")
    if not is_text(decoded(values).type):
        return values
    if args.multi_value_separator:
        return pc.split_pattern(decoded(values), args.multi_value_separator)
    distinct = pc.unique(decoded(values)).drop_null()
    for separator in "|;,":
        lists = pc.split_pattern(distinct, separator)
        have_several = pc.greater(pc.list_value_length(lists), 1)
        # Values in common, in a fifth of the texts or more
        if 5 * (pc.sum(have_several).as_py() or 0) >= len(distinct) >= len(pc.unique(pc.list_flatten(lists))) > 0:
            example = distinct[pc.index(have_several, True).as_py()].as_py()
            logger.warning_once(
                f"{source.name}: {name} looks like several values in one text, such as {example!r:.100}; see "
                "--multi_value_separator."
            )
            break
    return values


def read_profiles(
    args: DataArguments, profiles: Table, user_ids: pa.Array, counts: dict
) -> tuple[pa.Array, dict[str, pa.Array]]:
    """
    `user_ids` and `user_features` of [`Interactions`]: profiles without events are users too, and get recommendations
    from their profile.

    Args:
        user_ids (`pa.Array`): the users of the log.
    """
    table = profiles.read([args.user_column, *args.user_features], counts)
    raw_ids, codes = read_ids(profiles, table, args.user_column, allow_null=True)
    if pa.types.is_string(raw_ids.type):  # two spellings of one id are one user
        keys = id_keys(raw_ids)
        raw_ids = raw_ids.take(pc.index_in(keys, keys))
    ids = ids_as(raw_ids, user_ids)
    counts[f"rows of {profiles.role} without an id"] = int((codes < 0).sum())
    is_other = np.append(ids.is_null().to_numpy(zero_copy_only=False), False)
    counts[f"rows of {profiles.role} whose id is text, unlike all in the log"] = int(is_other[codes].sum())
    _warn_of_strangers(profiles, args.user_column, raw_ids, pc.index_in(ids, user_ids).is_valid())
    users = pc.unique(pa.concat_arrays([user_ids, ids])).drop_null()
    users = users.take(pc.sort_indices(users))
    user = np.append(pc.index_in(ids, users).fill_null(-1).to_numpy(), -1)[codes]
    counts[f"rows of {profiles.role} beyond the first of a user, used for gaps"] = _count_extra_rows(user)
    has_profile = np.zeros(len(users), dtype=bool)
    has_profile[user[user >= 0]] = True
    has_events = pc.index_in(users, user_ids).is_valid().to_numpy(zero_copy_only=False)
    counts["profiles without events"] = int((has_profile & ~has_events).sum())
    counts["users with events but no profile"] = int((~has_profile).sum())
    features = {}
    for name in args.user_features:
        values = _feature_values(profiles, table, name, args)
        if is_list(values.type):
            rows, parts = list_values(values)
            ends = np.append(np.searchsorted(rows, np.arange(len(values))), len(rows)).astype(np.int32)
            is_empty = np.append(ends[1:] == ends[:-1], False)  # null, so that a later row of the user counts
            parts = categories(parts, f"{profiles.name}: {name}")
            values = pa.ListArray.from_arrays(pa.array(ends, mask=is_empty), parts)
        else:
            values = categories(values, f"{profiles.name}: {name}")
        features[name] = _first_value_per_code(user, values, len(users))
    return users, features


def _join(
    source: Table, table: pa.Table, column: str, known: pa.Array, counts: dict, count_more_rows: bool
) -> np.ndarray:
    """For each row of a side table the code of its id among the known ids, -1 if unknown."""
    ids, codes = read_ids(source, table, column, allow_null=True)
    counts[f"rows of {source.role} without an id"] = int((codes < 0).sum())
    if count_more_rows:
        counts[f"rows of {source.role} beyond the first of an item, used for gaps"] = _count_extra_rows(codes)
    places = pc.index_in(ids_as(ids, known), known)
    _warn_of_strangers(source, column, ids, places.is_valid())
    known_codes = places.fill_null(-1).to_numpy().astype(np.int32)
    counts[f"items of {source.role} without events"] = int((known_codes < 0).sum())
    return np.append(known_codes, np.int32(-1))[codes]


def _warn_of_strangers(source: Table, column: str, ids: pa.Array, is_known: pa.BooleanArray):
    """Warns of a side table of which less than 1% is in the log, as where the two have different kinds of ids."""
    number = pc.sum(is_known).as_py() or 0
    if number < len(ids) / 100:
        example = ids[pc.index(is_known, False).as_py()].as_py()
        logger.warning(
            f"{source.name}: of {len(ids):,} ids in {column}, {number:,} are in the log; {example!r:.100} is not. Are "
            "they the same ids?"
        )


def _count_extra_rows(codes: np.ndarray) -> int:
    known = codes[codes >= 0]
    return len(known) - len(np.unique(known))


def _first_value_per_code(codes: np.ndarray, values: pa.Array, size: int) -> pa.Array:
    """The first non-null value of each code; tables may have several rows per item or profile."""
    rows = np.flatnonzero((codes >= 0) & values.is_valid().to_numpy(zero_copy_only=False))
    known, first = np.unique(codes[rows], return_index=True)
    places = np.full(size, -1)
    places[known] = rows[first]
    return values.take(pa.array(places, mask=places < 0))
