# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Reading times: numbers, texts, dates and timestamps, with and without a time zone, as an order, seconds and days."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import DataError
from .columns import decoded, encoded, error_text, first_failure, first_inexact, is_text


OFFSET = r"([+-])([01]\d|2[0-3]):([0-5]\d)"
DAY = 86400
FORMATS = (
    "numbers: YYYYMMDDhhmmss, YYYYMMDDhhmm, YYYYMMDD, and seconds, milli-, micro- or nanoseconds since 1970; texts: "
    "2022-04-27 15:56:08.5, 2022-04-27T15:56:08+09:00, 2022-04-27 15:56:08 UTC, 2022/04/27"
)
UTC = ("UTC", "UCT", "UNIVERSAL", "ZULU", "Z", "GMT", "GMT0", "GMT+0", "GMT-0", "GREENWICH")
UTC += ("+00:00", "-00:00", "+0000", "+00")
# Kinds of times in text: Arrow's type, its name, and what most of them look like
KINDS = (
    (pa.float64(), "a number", r"^[-+]?[0-9.]+([eE][-+]?[0-9]+)?$"),
    (pa.timestamp("us"), "a time without an offset from UTC", r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9:.]*)?$"),
    (
        pa.timestamp("us", "UTC"),
        "a time with an offset from UTC",
        r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]+(Z|[-+][0-9:]+)$",
    ),
)
# Ways to write a date that Arrow does not read, and what it reads
REPAIRS = (
    (r"^([0-9]{4})[/.]([0-9]{1,2})[/.]([0-9]{1,2})", r"\1-\2-\3"),
    (r"^([0-9]{4})-([0-9])-", r"\1-0\2-"),
    (r"^([0-9]{4}-[0-9]{2})-([0-9])([ T]|$)", r"\1-0\2\3"),
    (r"[ T]+([0-9]):", r" 0\1:"),
    (r"(:[0-9]{2}),([0-9]+)", r"\1.\2"),
    (r"\s*(UTC|GMT|z)$", "Z"),
    (r"\s+([-+][0-9]{2}(:?[0-9]{2})?)$", r"\1"),
    (r"(\.[0-9]{9})[0-9]+", r"\1"),
)


def check_time_zone(time_zone: str | None):
    """Raises `DataError` for a time zone that is not known."""
    try:
        if time_zone == "":
            raise pa.ArrowInvalid
        _days(np.zeros(1, dtype=np.int64), time_zone)
    except pa.ArrowException:
        raise DataError(f"time_zone is {time_zone!r}; give a name such as Asia/Seoul, or +09:00.") from None


def read_times(
    source, table: pa.Table, column: str, counts: dict, time_zone: str | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    The time column as int64 in a unit of its own, for sorting, as seconds since 1970-01-01, int64, in UTC where the
    zone is known, and as days since then, int32. A day is that of the time zone with which a time is written; without
    one, or in UTC, it is that of `time_zone`, to which it is taken from UTC; if there is none, that which is written.

    Raises:
        `DataError`: for a missing time, and for what is no time.
    """
    values = decoded(table[column])
    offsets = has_clock = None
    if is_text(values.type):
        text = pc.utf8_trim_whitespace(values)
        values, offsets = _parsed(source, text, column, counts)
        if time_zone is not None:
            has_clock = pc.greater(pc.utf8_length(text), len("2022-04-27")).fill_null(True).to_numpy()
    is_date = pa.types.is_date(values.type)
    if is_date:
        values = _cast(source, values, column, pa.timestamp("ms"))
    if pa.types.is_floating(values.type):
        if values.type != pa.float64() and (row := first_inexact(values)) >= 0:
            raise DataError(
                f"{source.place(row)}: {column} is {values[row].as_py():.0f}: numbers of type {values.type} have "
                "rounded it, so that different times are one; give whole numbers or float64."
            )
        values = values.cast(pa.float64())
        values = pc.if_else(pc.is_nan(values), None, values)
    if values.null_count:
        row = pc.index(values.is_null(), True).as_py()
        raise DataError(
            f"{source.place(row)}: {column} is empty ({values.null_count} such rows); fill it or drop the rows."
        )
    if pa.types.is_timestamp(values.type):
        time, seconds, day = _of_timestamps(source, values, column, offsets, None if is_date else time_zone)
        if has_clock is not None and not has_clock.all() and offsets is None:  # a date alone is in no zone
            day = np.where(has_clock, day, _of_timestamps(source, values, column, None, None)[2])
        return time, seconds, day
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type) or pa.types.is_decimal(values.type)):
        raise DataError(f"{source.name}: {column} is of type {values.type}, not a time.")
    try:
        return _of_numbers(source, values.cast(pa.int64()).to_numpy(), None, column, counts, time_zone)
    except pa.ArrowInvalid:  # with a fraction, or out of range
        numbers = values.cast(pa.float64(), safe=False).to_numpy()
    if not -(2.0**63) < numbers.min() <= numbers.max() < 2.0**63:
        row = int(np.argmax(~(np.abs(numbers) < 2.0**63)))
        raise DataError(f"{source.place(row)}: {column} is {values[row].as_py()}, not a time.")
    return _of_numbers(source, np.floor(numbers).astype(np.int64), numbers, column, counts, time_zone)


def _of_timestamps(
    source, values: pa.ChunkedArray, column: str, offsets: np.ndarray | None, time_zone: str | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    unit, zone = "ns" if values.type.unit == "ns" else "us", values.type.tz
    time = _cast(source, values, column, pa.timestamp(unit, zone)).cast(pa.int64()).to_numpy()
    seconds = time // 10 ** (9 if unit == "ns" else 6)
    is_utc = zone is None or zone.upper().removeprefix("ETC/") in UTC
    day = _days(seconds, time_zone if is_utc else zone)
    if offsets is not None:
        day = np.where(offsets == 0, day, ((seconds + offsets) // DAY).astype(np.int32))
    return time, seconds, day


def _cast(source, values: pa.ChunkedArray, column: str, to: pa.DataType) -> pa.ChunkedArray:
    try:
        return values.cast(to)
    except pa.ArrowInvalid as error:
        row = first_failure(values, lambda part: part.cast(to))
        raise DataError(f"{source.place(row)}: {column}: {error_text(error)}") from None


def _days(seconds: np.ndarray, time_zone: str | None) -> np.ndarray:
    """Days since 1970-01-01 in a time zone, int32, of seconds since then in UTC."""
    if offset := re.fullmatch(OFFSET, time_zone or ""):  # pyarrow 18 knows names only
        hours, minutes = int(offset[1] + offset[2]), int(offset[1] + offset[3])
        seconds = seconds + 60 * (60 * hours + minutes)
    elif time_zone is not None:
        seconds = pc.local_timestamp(pa.array(seconds, pa.timestamp("s", time_zone))).cast(pa.int64()).to_numpy()
    return (seconds // DAY).astype(np.int32)


def _parsed(source, values: pa.ChunkedArray, column: str, counts: dict) -> tuple[pa.ChunkedArray, np.ndarray | None]:
    """Times in text as numbers or timestamps, and the offsets from UTC in seconds, if they have any but 0."""
    values = pc.if_else(pc.equal(values, ""), None, values)
    for time_type in (pa.int64(), pa.float64(), pa.timestamp("us"), pa.timestamp("us", "UTC")):
        try:
            values.slice(0, 100).cast(time_type)  # quicker: Arrow makes a message for each value that it does not take
            times = values.cast(time_type)
        except pa.ArrowInvalid:
            continue
        if pa.types.is_floating(time_type):
            _check_digits(source, values, column)
        return times, _offsets(values, counts) if time_type == pa.timestamp("us", "UTC") else None
    written = values
    for pattern, replacement in REPAIRS:
        values = pc.replace_substring_regex(values, pattern, replacement)
    microseconds = pc.replace_substring_regex(values, r"(\.[0-9]{6})[0-9]+", r"\1")
    for text, unit in ((values, "us"), (values, "ns"), (microseconds, "us")):
        for zone in (None, "UTC"):
            try:
                return text.cast(pa.timestamp(unit, zone)), _offsets(text, counts) if zone else None
            except pa.ArrowInvalid:
                continue
    num_rows = [pc.sum(pc.match_substring_regex(microseconds, pattern)).as_py() or 0 for _, _, pattern in KINDS]
    time_type, name, _ = KINDS[int(np.argmax(num_rows))]
    row = first_failure(microseconds, lambda part: part.cast(time_type))
    raise DataError(
        f"{source.place(row)}: {column} is {written[row].as_py()!r}, not {name} as most are; times are {FORMATS}."
    )


def _check_digits(source, values: pa.ChunkedArray, column: str):
    """Raises `DataError` for times of which a spreadsheet has kept six digits, as 2.02204E+13."""
    row = pc.index(pc.match_substring_regex(values, r"^[0-9](\.[0-9]{1,5})?[eE]\+?(1[1-9]|[2-9][0-9])$"), True).as_py()
    if row >= 0 and not pc.any(pc.match_substring_regex(values, r"^[0-9]\.[0-9]{6,}[eE]")).as_py():
        raise DataError(
            f"{source.place(row)}: {column} is {values[row].as_py()!r}: a spreadsheet has rounded it; export the "
            "column as text or as a number without an exponent."
        )


def _offsets(values: pa.ChunkedArray, counts: dict) -> np.ndarray | None:
    """The offsets from UTC that end times in text, in seconds; `None` if all are 0."""
    if pc.all(pc.ends_with(values, "Z")).as_py():
        return None
    codes, ends = encoded(pc.utf8_slice_codeunits(values, -6), "offsets")
    signs = pc.replace_substring_regex(ends, r"^.*?(Z|[-+][0-9]{2}(:?[0-9]{2})?)$", r"\1").to_pylist()
    seconds = [
        int(f"{end[0]}1") * (int(end[1:3]) * 3600 + int(end[-2:]) * 60 * (len(end) > 3)) if end != "Z" else 0
        for end in signs
    ]
    if not any(seconds):
        return None
    offsets = np.array([*seconds, 0], dtype=np.int64)[codes]
    num_most = int(np.unique(offsets, return_counts=True)[1].max())
    counts["times with another offset from UTC than most, each in its own day"] = len(offsets) - num_most
    return offsets


def _of_numbers(
    source, time: np.ndarray, numbers: np.ndarray | None, column: str, counts: dict, time_zone: str | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Times, seconds and days of times written YYYYMMDDhhmmss, YYYYMMDDhhmm or YYYYMMDD, or in seconds, milli-, micro- or
    nanoseconds since 1970. The median decides which. The clock time may be invalid (seconds up to 99): it counts for
    the order alone.

    Args:
        time (`np.ndarray` of int64): the whole numbers.
        numbers (`np.ndarray` of float64, *optional*): the numbers, if they have fractions.
    """
    median_time = int(np.partition(time, len(time) // 2)[len(time) // 2])  # the median, exact
    dates = [(19000101 * unit, 21010000 * unit, unit) for unit in (10**6, 10**4, 1)]
    clocks = [(-(10**11), 10**11, 1), *((10 ** (n + 8), 10 ** (n + 11), 10**n) for n in (3, 6, 9))]
    low, high, unit = next(
        (scale for scale in (*dates, *clocks) if scale[0] <= median_time < scale[1]), (-(2**63), 2**63 - 1, 10**9)
    )
    if time.min() < low or time.max() >= high:
        row = int(np.argmax((time < low) | (time >= high)))
        raise DataError(
            f"{source.place(row)}: {column} is {time[row]}, not written like most of the column ({median_time})."
        )
    is_date = (low, high, unit) in dates
    order = time if numbers is None else np.round(numbers * (1000 if is_date else 10**6 / unit)).astype(np.int64)
    if not is_date:
        seconds = time if unit == 1 else time // unit
        return order, seconds, _days(seconds, time_zone)
    date = time // unit
    months = (date // 10000 - 1970) * 12 + date // 100 % 100 - 1
    first_of_month = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    days = (first_of_month + date % 100 - 1).astype(np.int32)
    if unit == 1:
        return order, days * np.int64(DAY), days
    clock = time % unit * (10**6 // unit)
    wrong = (clock % 100 > 59) | (clock // 100 % 100 > 59) | (clock // 10000 > 23)
    counts["times that no clock shows, kept in order"] = int(wrong.sum())
    seconds = days * np.int64(DAY) + clock // 10000 * 3600 + clock // 100 % 100 * 60 + clock % 100
    return order, seconds, days if time_zone is None else _days(seconds, time_zone)
