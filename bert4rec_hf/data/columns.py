# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Columns of any Arrow type as basic types, texts, numbers and ids."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import DataError


# "007" is no integer, it would come back as 7; "12.0" is how pandas writes 12 in a column with gaps.
INTEGER = r"^(-?)(0|[1-9][0-9]*)(\.0+)?$"
UUID = r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
ROUNDED = r"^-?[0-9](\.[0-9]+)?E\+(1[1-9]|[2-9][0-9])$"  # as spreadsheets show numbers of 12 digits and more


def error_text(error: Exception) -> str:
    """Arrow's error message in one line, with a hint if known."""
    text = " ".join(str(error).split())
    if "straddl" in text:  # Arrow's message for a row longer than its read block
        return "a row is longer than 1 MB; is a quote not closed?"
    if "invalid utf8" in text.lower() or "codec can't decode" in text:
        return f"the file is not UTF-8 ({text}); name its encoding, as in --encoding cp949."
    return f"{text} (a wrong delimiter? see --delimiter)" if "Expected" in text else text


def is_list(of: pa.DataType) -> bool:
    """Whether a type is one of Arrow's five types of lists."""
    types = pa.types
    return any(
        check(of)
        for check in (types.is_list, types.is_large_list, types.is_fixed_size_list)
        + (types.is_list_view, types.is_large_list_view)
    )


def _is_view(of: pa.DataType) -> bool:
    return pa.types.is_string_view(of) or pa.types.is_binary_view(of)


def is_text(of: pa.DataType) -> bool:
    return pa.types.is_string(of) or pa.types.is_large_string(of)


def plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """
    A column in the types that Arrow's functions take: of views, run ends and short decimals the usual form, of bytes
    their text (of 16 bytes that are none, the UUID). Lists, structs and unknown types are unchanged.

    Raises:
        `DataError`: for bytes that are no text.
    """
    of, types = column.type, pa.types
    extension = getattr(of, "extension_name", None)  # pyarrow 18 has not all of the classes
    if extension == "arrow.uuid":
        return _recoded(column.cast(pa.binary(16)), _hexadecimal)
    if extension == "arrow.json":
        return plain(pa.chunked_array([chunk.storage for chunk in column.chunks], of.storage_type))
    if extension == "arrow.bool8":
        return column.cast(pa.bool_())
    if types.is_run_end_encoded(of):
        chunks = [
            pc.run_end_decode(
                pa.RunEndEncodedArray.from_arrays(chunk.run_ends, _plain_array(chunk.values)).slice(
                    chunk.offset, len(chunk)
                )
            )
            for chunk in column.chunks
        ]
        return pa.chunked_array(chunks) if chunks else pa.chunked_array([], pa.string())
    if types.is_dictionary(of):
        # The index of a small type may be full, and Arrow takes no values of newer types.
        index = pa.int64() if types.is_uint64(of.index_type) or types.is_uint32(of.index_type) else pa.int32()
        chunks = [
            pa.DictionaryArray.from_arrays(chunk.indices.cast(index), _plain_array(chunk.dictionary))
            for chunk in column.chunks
        ]
        return pa.chunked_array(chunks).unify_dictionaries() if chunks else pa.chunked_array([], pa.string())
    if types.is_list_view(of) or types.is_large_list_view(of) or is_list(of) and _is_view(of.value_type):
        ends = np.cumsum(pc.list_value_length(column).fill_null(0).to_numpy())
        values = plain(pa.chunked_array(pc.list_flatten(column).chunks, of.value_type)).combine_chunks()
        return pa.chunked_array([pa.LargeListArray.from_arrays(np.r_[0, ends], values)])
    if types.is_string_view(of):
        return column.cast(pa.large_string())
    if types.is_decimal(of) and of.scale < 0:
        return column.cast(pa.decimal256(of.precision - of.scale, 0))
    if types.is_decimal(of) and of.bit_width < 128:
        return column.cast(pa.decimal128(of.precision, of.scale))
    if types.is_fixed_size_binary(of):
        return _recoded(column, _bytes_text)
    if types.is_binary(of) or types.is_large_binary(of) or types.is_binary_view(of):
        column = column.cast(pa.large_binary()) if types.is_binary_view(of) else column
        try:
            return column.cast(pa.large_string())
        except pa.ArrowInvalid as error:
            if pc.all(pc.equal(pc.binary_length(column), 16)).as_py() is not True:
                raise DataError(error_text(error)) from None
        return _recoded(column.cast(pa.binary(16)), _hexadecimal)
    return column


def _plain_array(values: pa.Array) -> pa.Array:
    return decoded(plain(pa.chunked_array([values]))).combine_chunks()


def _recoded(column: pa.ChunkedArray, recode: Callable) -> pa.ChunkedArray:
    """A dictionary of the recoded distinct values."""
    encoded = column.dictionary_encode().combine_chunks()
    return pa.chunked_array([pa.DictionaryArray.from_arrays(encoded.indices, recode(encoded.dictionary))])


def _bytes_text(values: pa.FixedSizeBinaryArray) -> pa.Array:
    """Bytes as text where they are printable ASCII, or as hexadecimal digits; whatever the other values are."""
    width = values.type.byte_width
    raw = np.frombuffer(values.buffers()[1], np.uint8)[values.offset * width : (values.offset + len(values)) * width]
    is_text = ((raw >= 32) & (raw < 127)).reshape(len(values), width).all(1)
    parts = values.filter(pa.array(is_text)).cast(pa.string()), _hexadecimal(values.filter(pa.array(~is_text)))
    places = np.empty(len(values), dtype=np.int64)
    places[np.r_[np.flatnonzero(is_text), np.flatnonzero(~is_text)]] = np.arange(len(values))
    return pa.concat_arrays(parts).take(pa.array(places))


def _hexadecimal(values: pa.FixedSizeBinaryArray) -> pa.StringArray:
    """Bytes as hexadecimal digits, of 16 bytes as a UUID."""
    width = values.type.byte_width
    raw = values.buffers()[1].to_pybytes()[values.offset * width : (values.offset + len(values)) * width]
    digits = np.frombuffer(raw.hex().encode(), np.uint8).reshape(len(values), 2 * width)
    if width == 16:
        digits = np.insert(digits, (8, 12, 16, 20), ord("-"), axis=1)
    offsets = np.arange(len(values) + 1, dtype=np.int32) * digits.shape[1]
    return pa.StringArray.from_buffers(len(values), pa.py_buffer(offsets), pa.py_buffer(digits.tobytes()))


def texts(values: pa.Array | pa.ChunkedArray):
    """Values as text, alike for all types: whole numbers without a fraction, decimals without zeros at their end."""
    if is_text(values.type):
        return values
    if pa.types.is_floating(values.type):
        values = values.cast(pa.float32()) if pa.types.is_float16(values.type) else values
        values = pc.if_else(pc.is_nan(values), None, values)
        whole = pc.and_(pc.equal(values, pc.floor(values)), pc.less(pc.abs(values), 2.0**63))
        integers = pc.if_else(whole, values, None).cast(pa.int64()).cast(pa.string())
        return pc.coalesce(integers, values.cast(pa.string()))
    if pa.types.is_decimal(values.type):
        values = pc.replace_substring_regex(values.cast(pa.string()), r"^0E-[0-9]+$", "0")
        return pc.replace_substring_regex(values, r"(\.[0-9]*[1-9])0+$|\.0+$", r"\1")
    return values.cast(pa.string())


def decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column without its dictionary, if it has one."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def encoded(column: pa.ChunkedArray, name: str) -> tuple[np.ndarray, pa.Array]:
    """
    The code of each row, -1 where it is null, and the values that the codes stand for.

    Raises:
        `DataError`: for a column of more different texts than one Arrow array holds.
    """
    is_half = pa.types.is_float16(column.type)  # Arrow encodes no half floats
    column = column.cast(pa.float32()) if is_half else column
    try:
        column = column.unify_dictionaries() if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    except (pa.ArrowInvalid, pa.ArrowCapacityError):
        raise DataError(f"{name} holds more than 2 GB of different texts; give shorter ones, or numbers.") from None
    if not column.num_chunks:
        return np.zeros(0, dtype=np.int32), pa.array([], column.type.value_type)
    # All chunks have the dictionary of the whole column; combining them would compare it chunk by chunk.
    codes = pa.chunked_array([chunk.indices for chunk in column.chunks]).fill_null(-1)
    values = column.chunk(0).dictionary
    return codes.to_numpy(), values.cast(pa.float16()) if is_half else values


def categories(column: pa.ChunkedArray, name: str) -> pa.DictionaryArray:
    """A column as a dictionary of texts."""
    codes, values = encoded(column, name)
    return pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), texts(values))


def list_values(column: pa.ChunkedArray) -> tuple[np.ndarray, pa.ChunkedArray]:
    """The row and the value of each element of a column of lists; what lies under a null list is none."""
    lengths = pc.list_value_length(column).fill_null(0).to_numpy()
    return np.repeat(np.arange(len(column)), lengths), plain(pc.list_flatten(column))


def first_inexact(values: pa.Array | pa.ChunkedArray) -> int:
    """
    The first place of a floating-point number so large that the whole numbers next to it may be read as the same
    number; -1 if there is none.
    """
    bits = {pa.float16(): 11, pa.float32(): 24, pa.float64(): 53}.get(values.type)
    if bits is None:
        return -1
    values = values.cast(pa.float64())
    return pc.index(pc.and_(pc.is_finite(values), pc.greater_equal(pc.abs(values), 2.0**bits)), True).as_py()


def first_failure(values: pa.ChunkedArray, convert: Callable) -> int:
    """The first row that `convert`, which refuses the column, does not take."""
    start, end = 0, len(values)
    while end - start > 1:
        middle = (start + end) // 2
        try:
            convert(values.slice(start, middle - start))
            start = middle
        except pa.ArrowInvalid:
            end = middle
    return start


def read_ids(source, table: pa.Table, column: str, allow_null: bool = False) -> tuple[pa.Array, np.ndarray]:
    """
    Distinct ids, sorted, int64 or string, and the code of each row; -1 is null.

    Raises:
        `DataError`: for a missing id, unless `allow_null`, and for numbers that have lost digits.
    """
    source.check_flat(table, column, "an id")
    codes, values = encoded(table[column], f"{source.name}: {column}")
    raw = _typed_ids(values)
    rounded, by = first_inexact(values), "floating-point numbers have"
    if rounded < 0 and pa.types.is_string(raw.type):
        rounded, by = pc.index(pc.match_substring_regex(raw, ROUNDED), True).as_py(), "a spreadsheet has"
    if rounded >= 0 and (codes == rounded).any():
        raise DataError(
            f"{source.place(int(np.argmax(codes == rounded)))}: {column} is {texts(values)[rounded].as_py()}: {by} "
            "rounded it, so that different ids are one; give whole numbers or text."
        )
    ids = pc.unique(raw).drop_null()
    ids = ids.take(pc.sort_indices(ids))
    places = pc.index_in(raw, ids).fill_null(-1).to_numpy().astype(np.int32)
    codes = np.append(places, np.int32(-1))[codes]
    if not allow_null and (codes < 0).any():
        raise DataError(
            f"{source.place(int(np.argmax(codes < 0)))}: {column} is empty ({int((codes < 0).sum())} such rows); "
            "fill it or drop the rows."
        )
    return ids, codes


def _typed_ids(values: pa.Array) -> pa.Array:
    """Ids of any type as int64 if all are integers in its range, as trimmed strings otherwise."""
    if pa.types.is_floating(values.type):
        values = values.cast(pa.float64())
        values = pc.if_else(pc.is_nan(values), None, values)
    if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
        try:
            return values.cast(pa.int64())
        except pa.ArrowInvalid:  # unsigned of 64 bits, or with a fraction
            pass
    values = pc.utf8_trim_whitespace(texts(values))
    values = pc.if_else(pc.equal(values, ""), None, values).cast(pa.string())
    if pc.all(pc.match_substring_regex(values, INTEGER)).as_py():
        try:
            return pc.replace_substring_regex(values, r"\.0+$", "").cast(pa.int64())
        except pa.ArrowInvalid:
            return id_keys(values)
    return values


def id_keys(ids: pa.Array) -> pa.Array:
    """Ids as the texts that are compared: integers without ".0", UUIDs in lower case."""
    if pa.types.is_integer(ids.type):
        return ids.cast(pa.string())
    if pc.any(pc.match_substring_regex(ids, r"^-?(0|[1-9][0-9]*)\.0+$|^-0$")).as_py():
        ids = pc.replace_substring_regex(ids, INTEGER, r"\1\2")
        ids = pc.if_else(pc.equal(ids, "-0"), "0", ids)
    is_uuid = pc.match_substring_regex(ids, UUID)
    return pc.if_else(is_uuid, pc.utf8_lower(ids), ids) if pc.any(is_uuid).as_py() else ids


def check_spellings(source, column: str, ids: pa.Array):
    """
    Checks that no two ids of a log are the same: beside texts, "1" and "1.0" may be one number or two names.

    Raises:
        `DataError`: if two are.
    """
    keys = ids if pa.types.is_int64(ids.type) else id_keys(ids)
    if keys is ids:
        return
    keys = keys.dictionary_encode()
    if len(keys.dictionary) < len(ids):
        code = int(np.argmax(np.bincount(keys.indices.to_numpy()) > 1))
        first, second = np.flatnonzero(keys.indices.to_numpy() == code)[:2].tolist()
        raise DataError(
            f"{source.name}: {column} holds {ids[first].as_py()!r} and {ids[second].as_py()!r}, which are read as the "
            "same id; spell it one way, or put a letter before each id."
        )


def ids_as(ids: pa.Array, known: pa.Array) -> pa.Array:
    """
    Ids in the type and the spelling of known ids of a log or a vocabulary: an integer, its text and its float are one
    id. Null where an id has no counterpart in that type.
    """
    if ids.type == known.type and pa.types.is_int64(ids.type):
        return ids
    if pa.types.is_int64(known.type):
        keys = id_keys(ids)
        digits = pc.replace_substring(keys, "-", "", max_replacements=1)
        fits = pc.or_(pc.less(pc.utf8_length(digits), 19), pc.less_equal(digits, str(2**63 - 1)))
        fits = pc.and_(fits, pc.match_substring_regex(keys, "^-?(0|[1-9][0-9]{0,18})$"))
        return pc.if_else(fits, keys, None).cast(pa.int64())
    ids, known = ids.cast(pa.string()), known.cast(pa.string())
    places = pc.index_in(ids, known)
    if places.null_count:
        places = pc.coalesce(places, pc.index_in(id_keys(ids), id_keys(known)))
    return pc.coalesce(known.take(places), ids)


def read_numbers(source, table: pa.Table, column: str) -> np.ndarray:
    """
    A column as float64, NaN where it is empty.

    Raises:
        `DataError`: for a value that is no number.
    """
    source.check_flat(table, column, "a number")
    values = decoded(table[column])
    if is_text(values.type):
        values = pc.utf8_trim_whitespace(values)
        values = pc.if_else(pc.equal(values, ""), None, values)
    try:
        return values.cast(pa.float64(), safe=is_text(values.type)).fill_null(np.nan).to_numpy()
    except pa.ArrowNotImplementedError:
        raise DataError(f"{source.name}: {column} is of type {values.type}, not a number.") from None
    except pa.ArrowInvalid:
        row = first_failure(values, lambda part: part.cast(pa.float64()))
        raise DataError(f"{source.place(row)}: {column} is {values[row].as_py()!r}, not a number.") from None
