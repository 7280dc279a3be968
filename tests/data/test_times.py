# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Times in all the ways that logs have them: their order, their days, their zones, and the row that is wrong."""

import datetime
import decimal
import zoneinfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert4rec_hf import DataArguments, DataError, Split, fit_processor, read_interactions


ALONE = {"profile_data_file": "none", "meta_data_file": "none", "meta_data_plus_file": "none"}
ALONE |= {"item_features": [], "user_features": []}


def read(times, time_zone=None):
    size = len(times)
    history = pa.table({"profile_id": [1] * size, "album_id": range(size), "log_time": times})
    return read_interactions(DataArguments(**ALONE, time_zone=time_zone), history)


def days(times, time_zone=None) -> list[str]:
    """The days, in the order of the log's rows."""
    interactions = read(times, time_zone)
    return [str(np.datetime64(int(day), "D")) for day in interactions.day[np.argsort(interactions.item)]]


CLOCK = [datetime.datetime(2022, 4, 27, 15, 56, 8), datetime.datetime(2022, 4, 27, 15, 56, 9)]


@pytest.mark.parametrize(
    "times, time_zone, expected",
    [
        ([20220427155608, 20220427155609], None, [1651074968, 1651074969]),
        ([20220427155608, 20220427155609], "Asia/Seoul", [1651074968, 1651074969]),
        ([20220427, 20220428], None, [1651017600, 1651104000]),
        ([1651074968, 1651074969], None, [1651074968, 1651074969]),
        ([1651074968.9, 1651074969.5], None, [1651074968, 1651074969]),
        ([1651074968123, 1651074969456], None, [1651074968, 1651074969]),
        (["2022-04-27T15:56:08Z", "2022-04-28 00:56:09+09:00"], None, [1651074968, 1651074969]),
        (["2022-04-27 15:56:08.5", "2022-04-27 15:56:09"], "Asia/Seoul", [1651074968, 1651074969]),
        (CLOCK, None, [1651074968, 1651074969]),
        ([datetime.date(2022, 4, 27), datetime.date(2022, 4, 28)], None, [1651017600, 1651104000]),
    ],
)
def test_seconds_since_1970(times, time_zone, expected):
    interactions = read(times, time_zone)
    assert interactions.seconds.dtype == np.int64 and interactions.seconds.tolist() == expected
    assert interactions.of_rows(np.array([1])).seconds.tolist() == expected[1:]


def order(times) -> list[int]:
    return read(times).item.tolist()


@pytest.mark.parametrize(
    "text",
    [
        "2022-04-27",
        "2022-04-27 15:56:08",
        "2022-04-27T15:56:08",
        "2022-04-27 15:56",
        "2022-04-27 15:56:08.5",
        "2022-04-27 15:56:08.123456",
        "2022-04-27 15:56:08.123456789",
        "2022-04-27 15:56:08.123456789012",
        "2022-04-27 15:56:08,123",
        "2022-04-27T15:56:08Z",
        "2022-04-27T15:56:08z",
        "2022-04-27T15:56:08.123456789Z",
        "2022-04-27 15:56:08 UTC",
        "2022-04-27 15:56:08.123456789 UTC",
        "2022-04-27 15:56:08 GMT",
        "2022-04-27 15:56:08 +0000",
        "2022-04-27 15:56:08+00:00",
        "2022-04-27 15:56:08+09:00",
        "2022-04-27 15:56:08.123+0900",
        "2022-04-27T15:56:08-05",
        "2022/04/27",
        "2022/04/27 15:56:08",
        "2022/4/27 5:56",
        "2022.04.27",
        "2022.4.27 15:56:08",
        "2022-4-27",
        " 2022-04-27 ",
        "20220427155608",
        "20220427155608.5",
        "202204271556",
        "20220427",
        "20220427.0",
        "1651074968",
        "1651074968.25",
        "1651074968000",
        "1651074968000.5",
        "1651074968000000",
        "1651074968000000000",
        "1.651074968e+09",
        "1.651074968E+12",
    ],
)
def test_ways_to_write_a_time(text):
    later = text.replace("27", "28", 1) if "27" in text[:11] else text
    assert days([text, later])[0] == "2022-04-27"
    assert days(pa.array([text, later], pa.string_view()))[0] == "2022-04-27"
    assert days(pa.array([text.encode(), later.encode()]))[0] == "2022-04-27"
    assert order([later, text]) == ([1, 0] if later != text else [0, 1])


@pytest.mark.parametrize(
    "numbers",
    [
        [1648771200000.5, 1648857600000.25],
        [1648771200.5, 1648857600.25],
        [1648771200000000.5, 1648857600000000.25],
        [20220401000000.5, 20220402000000.25],
        [decimal.Decimal("1648771200.500000"), decimal.Decimal("1648857600.250000")],
        [decimal.Decimal("1648771200000.5"), decimal.Decimal("1648857600000.5")],
        [1648771200.0, 1648857600.0],
        [20220401.0, 20220402.0],
    ],
)
def test_numbers_with_fractions(numbers):
    assert days(numbers) == ["2022-04-01", "2022-04-02"]
    assert days([str(number) for number in numbers]) == ["2022-04-01", "2022-04-02"]
    assert order([numbers[1], numbers[0]]) == [1, 0]


def test_fractions_order_the_rows():
    for unit in (1, 1000, 10**6):
        start = 1648771200 * unit
        assert order([start + 0.75, start + 0.25, start + 0.5]) == [1, 2, 0]
    assert order([f"2022-04-01 00:00:00.{digits}" for digits in ("000000002", "000000001", "00000000")]) == [2, 1, 0]
    assert order([f"9999-12-31 00:00:00.{digits}" for digits in ("100000002", "000000001")]) == [1, 0]
    assert order(pa.array([3, 1, 2], pa.timestamp("ns"))) == [1, 2, 0]


@pytest.mark.parametrize("written", ["2.02204E+13", "2.0E+13", "2E+13", "1.64877E+12", "1.64877e12"])
def test_what_a_spreadsheet_has_rounded_is_refused(written):
    with pytest.raises(DataError, match="the log, row 1: log_time is '.*': a spreadsheet has rounded it"):
        read([written, written])
    with pytest.raises(DataError, match="the log, row 2: log_time is '.*': a spreadsheet has rounded it"):
        read(["20220427155608", written])


def test_numbers_that_have_lost_digits_are_refused():
    with pytest.raises(DataError, match="row 1: log_time is 1650000000: numbers of type float have rounded it"):
        read(pa.array(np.array([1650000000, 1650000001], np.float32)))
    assert days(pa.array(np.array([86400, 172800.5], np.float32))) == ["1970-01-02", "1970-01-03"]


@pytest.mark.parametrize(
    "times, row",
    [
        (["2022-02-01", "2022-02-02", "2022-02-30"], 3),
        (["2022-02-30", "2022-02-01", "2022-02-02"], 1),
        (["2022-02-01 10:00:00", "2022-02-01 25:00:00"], 2),
        (["2022-02-01T10:00:00Z", "2022-13-01T10:00:00Z"], 2),
        (["2022-02-01T10:00:00+09:00"] * 3 + ["2022-02-01T10:00:00"], 4),
        (["2022-02-01T10:00:00"] * 2 + ["2022-02-01T10:00:00+09:00"], 3),
        (["2022-02-01 00:00:00.123456789", "2022-02-29 00:00:00"], 2),
        (["2022/02/01", "2022/02/29"], 2),
        (["20220201", "20220202", "2022-02-01"], 3),
        (["2022-02-01", "20220202", "2022-02-03"], 2),
        (["1650000000", "1650000000.5", "16500000x0"], 3),
        ([None, "2022-02-01", "noon", "2022-02-02"], 3),
        (["2022-02-01"] * 1000 + ["2022-02-0l"] + ["2022-02-01"] * 1000, 1001),
    ],
)
def test_the_row_that_is_wrong_is_named(times, row):
    with pytest.raises(DataError) as error:
        read(times)
    assert f"the log, row {row}: log_time is {times[row - 1]!r}, not a " in str(error.value)
    assert "times are numbers: YYYYMMDDhhmmss" in str(error.value)


@pytest.mark.parametrize("number, row", [(float("inf"), 2), (-1e300, 2), (2.0**63, 2)])
def test_numbers_that_are_no_times_are_named(number, row):
    with pytest.raises(DataError, match=f"row {row}: log_time is .*, not a time"):
        read([1650000000.5, number])


# --- Zones ---------------------------------------------------------------------------------------------------------

LATE = datetime.datetime(2022, 3, 31, 20, tzinfo=datetime.UTC)  # five o'clock on 1 April in Seoul


def of_zone(zone):
    return pa.array([LATE], pa.timestamp("us", zone))


@pytest.mark.parametrize(
    "times, own, in_seoul",
    [
        (["2022-04-01T05:00:00+09:00"], "2022-04-01", "2022-04-01"),
        (["2022-04-01T05:00+09:00"], "2022-04-01", "2022-04-01"),
        (["2022-04-01 05:00:00 +0900"], "2022-04-01", "2022-04-01"),
        (["2022-03-31T15:00:00-05"], "2022-03-31", "2022-03-31"),
        (["2022-03-31T20:00:00Z"], "2022-03-31", "2022-04-01"),
        (["2022-03-31 20:00:00 UTC"], "2022-03-31", "2022-04-01"),
        (["2022-03-31T20:00:00+00:00"], "2022-03-31", "2022-04-01"),
        (["2022-03-31T20:00:00"], "2022-03-31", "2022-04-01"),
        (["2022-03-31"], "2022-03-31", "2022-03-31"),
        ([20220331200000], "2022-03-31", "2022-04-01"),
        ([202203312000], "2022-03-31", "2022-04-01"),
        ([20220331], "2022-03-31", "2022-03-31"),
        ([int(LATE.timestamp())], "2022-03-31", "2022-04-01"),
        ([LATE.timestamp() + 0.5], "2022-03-31", "2022-04-01"),
        ([int(LATE.timestamp()) * 1000], "2022-03-31", "2022-04-01"),
        ([int(LATE.timestamp()) * 10**9], "2022-03-31", "2022-04-01"),
        (of_zone("Asia/Seoul"), "2022-04-01", "2022-04-01"),
        (of_zone("+09:00"), "2022-04-01", "2022-04-01"),
        (of_zone("America/New_York"), "2022-03-31", "2022-03-31"),
        (of_zone("UTC"), "2022-03-31", "2022-04-01"),
        (of_zone("Etc/UTC"), "2022-03-31", "2022-04-01"),
        (of_zone(None), "2022-03-31", "2022-04-01"),
        (of_zone("Asia/Seoul").cast(pa.timestamp("ns", "Asia/Seoul")), "2022-04-01", "2022-04-01"),
        (of_zone("Asia/Seoul").cast(pa.timestamp("s", "Asia/Seoul")), "2022-04-01", "2022-04-01"),
        (pa.array([LATE.date()]), "2022-03-31", "2022-03-31"),
        (of_zone("Asia/Seoul").dictionary_encode(), "2022-04-01", "2022-04-01"),
        (pc.run_end_encode(of_zone(None)), "2022-03-31", "2022-04-01"),
    ],
)
def test_the_day_is_that_of_the_columns_zone_or_of_time_zone(times, own, in_seoul):
    assert days(times) == [own]
    assert days(times, "Asia/Seoul") == days(times, "+09:00") == [in_seoul]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 2**31), min_size=1, max_size=6),  # Arrow knows no summer times after January 2038
    st.sampled_from(["Asia/Seoul", "America/New_York", "Europe/Paris", "Asia/Kolkata", "Pacific/Apia"]),
)
def test_days_are_those_of_pythons_zones(seconds, name):
    """Summer times too: as a column's zone, by --time_zone, and as offsets in text."""
    zone = zoneinfo.ZoneInfo(name)
    local = [datetime.datetime.fromtimestamp(second, zone) for second in seconds]
    expected = [str(time.date()) for time in local]
    assert days(pa.array(seconds, pa.timestamp("s", name))) == expected
    assert days(pa.array(seconds, pa.timestamp("s")), name) == expected
    assert days([time.isoformat() for time in local]) == (expected if any(map(offset, local)) else days(seconds))
    assert order([time.isoformat() for time in local]) == sorted(range(len(seconds)), key=seconds.__getitem__)


def offset(time):
    return time.utcoffset()


def test_rows_are_in_the_order_of_instants_and_other_offsets_are_told():
    interactions = read(["2022-04-01T05:00:00+09:00", "2022-03-31T19:00:00Z", "2022-03-31T16:30:00-05:00"])
    assert interactions.item.tolist() == [1, 0, 2]
    assert interactions.counts["times with another offset from UTC than most, each in its own day"] == 2
    assert "another offset from UTC" in interactions.summary()


def test_the_time_zone_is_kept_in_the_checkpoint_and_moves_the_cut_off(tmp_path):
    times = [20220330000000, 20220331140000, 20220331150000, 20220401000000]
    interactions = read(times, "Asia/Seoul")
    split = Split("temporal", "2022-04-01")
    assert split.rows(interactions)["test"].tolist() == [False, False, True, True]
    assert split.rows(read(times))["test"].tolist() == [False, False, False, True]
    processor = fit_processor(interactions, split)
    processor.save_pretrained(tmp_path)
    assert type(processor).from_pretrained(tmp_path).data["time_zone"] == "Asia/Seoul"


@pytest.mark.parametrize("name", ["Mars/Phobos", "+99:00", "", "서울"])
def test_a_time_zone_that_is_none_is_refused(name):
    with pytest.raises(DataError, match="time_zone is .*give a name such as Asia/Seoul"):
        DataArguments(time_zone=name)


@pytest.mark.parametrize("dates", [["2022-04-27", "2022/04/28"], ["2022-04-27", "2022-4-28"]])
def test_dates_without_a_clock_are_in_no_zone(dates, tmp_path):
    assert days(dates, "America/New_York") == ["2022-04-27", "2022-04-28"]
    assert days([dates[0], "2022-04-28 01:00:00"], "America/New_York") == ["2022-04-27", "2022-04-27"]
    assert days([20220427, 20220428], "America/New_York") == ["2022-04-27", "2022-04-28"]


def test_utc_beside_another_offset_is_in_time_zone():
    times = ["2022-04-27T01:00:00Z", "2022-04-27T01:00:00+09:00"]
    assert days(times, "America/New_York") == ["2022-04-26", "2022-04-27"] and days(times) == ["2022-04-27"] * 2


@pytest.mark.parametrize(
    "name", ["Etc/UTC", "Etc/UCT", "UCT", "Universal", "Greenwich", "Etc/GMT+0", "GMT0", "-00:00"]
)
def test_all_names_of_utc_are_utc(name):
    times = pa.array([1651021200], pa.timestamp("s", name))
    assert days(times) == ["2022-04-27"] and days(times, "America/New_York") == ["2022-04-26"]


@pytest.mark.parametrize("column", [pa.array([1, 2**62], pa.date64()), pa.array([0, 2**62], pa.timestamp("s"))])
def test_times_out_of_range_are_named_with_their_row(column):
    with pytest.raises(DataError, match="the log, row 2: log_time: .*out of bounds"):
        read(column)


def test_periods_of_pandas_are_no_numbers():
    frame = pd.DataFrame({"profile_id": [1], "album_id": [1], "log_time": pd.period_range("2022-04-27", periods=1)})
    with pytest.raises(DataError, match="log_time is of type extension<pandas.period<.*>>, not a time"):
        read_interactions(DataArguments(**ALONE), frame)
