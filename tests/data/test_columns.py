# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Ids and feature values are values, not spellings: of any Arrow type, and as text, they are the same."""

import datetime
import decimal
import json
import uuid

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert4rec_hf import DataArguments, DataError, Split, fit_processor, read_interactions
from bert4rec_hf.data.columns import first_failure, id_keys, ids_as
from bert4rec_hf.data.encoding import encode_histories, token_ids


ALONE = {"profile_data_file": "none", "meta_data_file": "none", "meta_data_plus_file": "none"}
SNOWFLAKES = [1234567890123456789, 1234567890123456790, 7]


def arguments(**kwargs):
    return DataArguments(**{**ALONE, "item_features": [], "user_features": [], **kwargs})


def log(users, items=None, times=None):
    size = len(users)
    return pa.table(
        {
            "profile_id": users,
            "album_id": [1] * size if items is None else items,
            "log_time": range(size) if times is None else times,
        }
    )


def read(users, items=None, times=None):
    return read_interactions(arguments(), log(users, items, times))


def joined(users, profile_ids) -> int:
    """How many users of a log get a profile; each has one."""
    profiles = pa.table({"profile_id": profile_ids, "age": pa.array([4] * len(profile_ids))})
    interactions = read_interactions(arguments(user_features=["age"]), log(users), profiles=profiles)
    return len(interactions.user_ids) - interactions.counts["users with events but no profile"]


def texts(numbers, ending=""):
    return [f"{number}{ending}" for number in numbers]


# Ways to write whole numbers, by the numbers that they can hold
WHOLE = {
    "int64": lambda numbers: pa.array(numbers, pa.int64()),
    "text": lambda numbers: pa.array(texts(numbers)),
    "text with .0": lambda numbers: pa.array(texts(numbers, ".0")),
    "text with .00 and spaces": lambda numbers: pa.array([f" {number}.00 " for number in numbers]),
    "text of several spellings": lambda numbers: pa.array(
        [f"{number}{'.0' * (place % 2)}" for place, number in enumerate(numbers)]
    ),
    "large_string": lambda numbers: pa.array(texts(numbers), pa.large_string()),
    "string_view": lambda numbers: pa.array(texts(numbers), pa.string_view()),
    "binary": lambda numbers: pa.array([text.encode() for text in texts(numbers)]),
    "binary_view": lambda numbers: pa.array([text.encode() for text in texts(numbers)], pa.binary_view()),
    "dictionary of text": lambda numbers: pa.array(texts(numbers, ".0")).dictionary_encode(),
    "dictionary of string_view": lambda numbers: pa.DictionaryArray.from_arrays(
        pa.array(range(len(numbers)), pa.uint8()), pa.array(texts(numbers), pa.string_view())
    ),
    "dictionary of integers": lambda numbers: pa.array(numbers, pa.int64()).dictionary_encode(),
    "run ends": lambda numbers: pc.run_end_encode(pa.array(numbers, pa.int64())),
    "run ends of text": lambda numbers: pc.run_end_encode(pa.array(texts(numbers))),
    "decimal128": lambda numbers: pa.array([decimal.Decimal(n) for n in numbers], pa.decimal128(38, 0)),
    "decimal128 with a scale": lambda numbers: pa.array([decimal.Decimal(n) for n in numbers], pa.decimal128(38, 4)),
    "decimal256": lambda numbers: pa.array([decimal.Decimal(n) for n in numbers], pa.decimal256(70, 10)),
}
SMALL = WHOLE | {
    "int16": lambda numbers: pa.array(numbers, pa.int16()),
    "float64": lambda numbers: pa.array(numbers, pa.float64()),
    "float32": lambda numbers: pa.array(np.array(numbers, np.float32)),
    "float16": lambda numbers: pa.array(np.array(numbers, np.float16)),
    "decimal32": lambda numbers: pa.array([decimal.Decimal(n) for n in numbers], pa.decimal32(6, 1)),
    "decimal64": lambda numbers: pa.array([decimal.Decimal(n) for n in numbers], pa.decimal64(12, 2)),
}


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=5, unique=True),
    st.sampled_from(sorted(WHOLE)),
    st.sampled_from(sorted(WHOLE)),
)
def test_any_two_spellings_of_whole_numbers_join(numbers, of_log, of_profiles):
    assert joined(WHOLE[of_log](numbers), WHOLE[of_profiles](numbers)) == len(numbers)


FILES = {
    **{
        f"{name}.parquet": name
        for name in ("int64", "text with .0", "decimal128 with a scale", "binary", "string_view")
    },
    "dictionary.parquet": "dictionary of text",
    "plain.csv": "text",
    "zeros.csv": "text with .00 and spaces",
    "several.csv": "text of several spellings",
    "lines.jsonl": "int64",
    "texts.jsonl": "text with .0",
}


@pytest.mark.parametrize("of_log", FILES)
def test_any_two_files_join_alike(tmp_path, of_log):
    """The same ids and the same values, whatever files they come in."""

    def write(role, file, table):
        path = tmp_path / f"{role}-{file}"
        if file.endswith("parquet"):
            pa.parquet.write_table(table, path)
        elif file.endswith("csv"):
            pa.csv.write_csv(table, path)
        else:
            path.write_text("".join(f"{json.dumps(row)}\n" for row in table.to_pylist()))
        return str(path)

    def column(file):
        return WHOLE[FILES[file]](SNOWFLAKES)

    history = write("log", of_log, log(column(of_log), column(of_log)))
    vocabularies = []
    for file in FILES:
        values = WHOLE[FILES[file]]([30, 4, 4])
        interactions = read_interactions(
            arguments(item_features=["genre"], user_features=["age"]),
            history,
            profiles=write("profiles", file, pa.table({"profile_id": column(file), "age": values})),
            items=write("items", file, pa.table({"album_id": column(file), "genre": values})),
        )
        assert interactions.user_ids.to_pylist() == interactions.item_ids.to_pylist() == sorted(SNOWFLAKES)
        assert interactions.counts["users with events but no profile"] == 0
        assert interactions.counts["items with events that no item table knows"] == 0
        vocabularies.append(fit_processor(interactions, Split("none")).vocabulary)
    assert all(vocabulary == vocabularies[0] for vocabulary in vocabularies)
    assert vocabularies[0]["user_features"] == [{"name": "age", "values": ["30", "4"]}]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(-1999, 1999), min_size=1, max_size=5, unique=True),
    st.sampled_from(sorted(SMALL)),
    st.sampled_from(sorted(SMALL)),
)
def test_any_two_spellings_of_small_numbers_join(numbers, of_log, of_profiles):
    assert joined(SMALL[of_log](numbers), SMALL[of_profiles](numbers)) == len(numbers)


@pytest.mark.parametrize("spelling", sorted(WHOLE))
def test_ids_come_back_as_integers(spelling):
    assert read(WHOLE[spelling](SNOWFLAKES)).user_ids.to_pylist() == sorted(SNOWFLAKES)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.one_of(st.integers(), st.sampled_from(["a", "X9", "007", "1.10", "1e3", "가"])), min_size=1, unique=True
    ),
    st.lists(st.sampled_from(["", ".0", ".000"]), min_size=1),
    st.lists(st.sampled_from(["", ".0", ".000"]), min_size=1),
)
def test_spellings_join_row_by_row_beside_words(ids, of_log, of_profiles):
    """Numbers of any length, with words among them, each written in its own way in both tables."""

    def spelled(endings):
        return [f"{i}{endings[n % len(endings)]}" if isinstance(i, int) else i for n, i in enumerate(ids)]

    assert joined(spelled(of_log), spelled(of_profiles)) == len(ids)


def test_a_value_that_is_no_number_keeps_no_other_from_joining():
    assert joined([1, 2], ["1.0", "unknown", "2.0"]) == 2
    assert joined(["1", "2", "x"], [1.0, 2.0]) == 2
    assert joined([1, 2], pa.array([1.0, 2.0, float("nan")])) == 2
    assert joined([1.0, 2.0], pa.array([b"1", b"junk", b"2"])) == 2
    interactions = read_interactions(
        arguments(item_features=["genre"]),
        log([1, 1, 1], [10, 11, 12]),
        items=pa.table({"album_id": ["10.0", "none of these", " 11 "], "genre": ["a", "b", "c"]}),
        keywords=pa.table({"album_id": ["?", "12"], "keyword_name": ["k", "l"], "keyword_value": [5, 5]}),
    )
    assert interactions.counts["items with events without genre"] == 1
    assert interactions.counts["items with events that no item table knows"] == 0


@pytest.mark.parametrize("written", ["007", "1.10", "1e3", "+1", "1.", ".0", "--1", "0x1F", "١٢", "1_000", "1,0"])
def test_other_texts_are_no_numbers(written):
    assert read([written]).user_ids.to_pylist() == [written]
    assert joined([written, "x"], [written]) == 1


def test_integers_of_any_length_are_numbers():
    long = 10**40 + 1
    assert joined(texts([long, 5], ".0"), texts([long, 5])) == 2
    assert joined(pa.array([2**64 - 1, 1], pa.uint64()), texts([2**64 - 1, 1], ".0")) == 2
    assert read(["-0", "5"]).user_ids.to_pylist() == [0, 5]
    assert ids_as(pa.array([str(2**63), str(-(2**63)), "9", "12345678901234567890"]), pa.array([1])).to_pylist() == [
        *(None, None, 9, None),
    ]


def test_what_would_make_one_id_of_two_is_refused():
    for column in (np.array([2.0**53, 1.0]), np.array([2.0**24, 1.0], np.float32)):
        with pytest.raises(DataError, match="the log, row 1: profile_id is .*floating-point numbers have rounded it"):
            read(pa.array(column))
        with pytest.raises(DataError, match="the profile table, row 2: profile_id is"):
            joined([1, 2], pa.array(column[::-1].copy()))
    with pytest.raises(DataError, match="holds '1' and '1.0', which are read as the same id"):
        read(["1", "a", "1.0"])
    with pytest.raises(DataError, match="album_id holds '.*', which are read as the same id"):
        read([1, 1], [str(uuid.UUID(int=10)), str(uuid.UUID(int=10)).upper()])
    with pytest.raises(DataError, match="row 2: profile_id is 1.23457E[+]18: a spreadsheet has rounded it"):
        read(["x", "1.23457E+18"])
    assert read(pa.array([2.0**53 - 1, 1.0])).user_ids.to_pylist() == [1, 2**53 - 1]


def test_files_of_different_types_keep_every_digit(tmp_path):
    """Arrow would promote integers beside floats to floats, and make one id of two."""
    for name, users in (("a", SNOWFLAKES), ("b", [1.0, 2.0, 3.0]), ("c", ["9", "8.0", "7"])):
        pa.parquet.write_table(log(users), tmp_path / f"{name}.parquet")
    ids = read_interactions(arguments(), str(tmp_path)).user_ids
    assert ids.to_pylist() == [1, 2, 3, 7, 8, 9, *SNOWFLAKES[:2]]
    pa.parquet.write_table(log(pa.array([1e18])), tmp_path / "d.parquet")
    with pytest.raises(DataError, match="d.parquet, row 1: profile_id is 1000000000000000000: floating-point"):
        read_interactions(arguments(), str(tmp_path))


def test_uuids_and_bytes_of_16_are_one_id_in_all_spellings():
    some = [uuid.UUID(int=n * 10**30 + 7) for n in range(1, 4)]
    spellings = {
        "text": pa.array([str(one) for one in some]),
        "upper case": pa.array([str(one).upper() for one in some]),
        "uuid": pa.array([one.bytes for one in some], pa.uuid()),
        "16 bytes": pa.array([one.bytes for one in some], pa.binary(16)),
        "bytes": pa.array([one.bytes for one in some]),
        "dictionary": pa.array([one.bytes for one in some], pa.binary(16)).dictionary_encode(),
    }
    for of_log in spellings.values():
        for of_profiles in spellings.values():
            assert joined(of_log, of_profiles) == 3
    assert read(spellings["16 bytes"]).user_ids.to_pylist() == sorted(map(str, some))
    assert read(pa.array([b"\xff" * 12, b"\x00" * 12], pa.binary(12))).user_ids.to_pylist() == ["00" * 12, "ff" * 12]
    assert read(pa.array([b"abcd", b"efgh"], pa.binary(4))).user_ids.to_pylist() == ["abcd", "efgh"]
    sliced = pa.array([one.bytes for one in some], pa.binary(16))[1:]
    assert read(sliced).user_ids.to_pylist() == sorted(map(str, some[1:]))


VALUES = SMALL


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(-1999, 1999), min_size=1, max_size=5),
    st.sampled_from(sorted(VALUES)),
    st.sampled_from(sorted(VALUES)),
)
def test_any_two_spellings_of_a_feature_value_are_one_value(numbers, of_training, of_serving):
    """Of items and of profiles; what is fitted on one spelling is found in another."""
    users = list(range(len(numbers)))

    def interactions(spelling):
        values = VALUES[spelling](numbers)
        return read_interactions(
            arguments(item_features=["genre"], user_features=["age"]),
            log(users, users),
            profiles=pa.table({"profile_id": users, "age": values}),
            items=pa.table({"album_id": users, "genre": values}),
        )

    fitted, other = (fit_processor(interactions(spelling), Split("none")) for spelling in (of_training, of_serving))
    assert fitted.vocabulary == other.vocabulary
    assert set(fitted.vocabulary["user_features"][0]["values"]) == {str(number) for number in numbers}
    encoded = encode_histories(interactions(of_serving), fitted, np.arange(len(users)))
    values = fitted.vocabulary["user_features"][0]["values"]
    assert [values[row["user_features"][0] - 1] for row in encoded] == texts(numbers)
    assert [values[fitted.encode_profile({"age": float(number)})[0] - 1] for number in numbers] == texts(numbers)


@pytest.mark.parametrize(
    "spellings, expected",
    [
        ([pa.array([True, False]), pa.array(["true", "false"]), pa.array(["TRUE", "False"])], ["False", "True"]),
        ([pa.array([1.5, 2.25]), pa.array(["1.5", "2.25"])], ["1.5", "2.25"]),
        ([pa.array([decimal.Decimal("1.50"), decimal.Decimal("2.25")]), pa.array([1.5, 2.25])], ["1.5", "2.25"]),
        ([pa.array(np.array([0.1, 3], np.float32)), pa.array([0.1, 3.0]), pa.array(["0.1", "3"])], ["0.1", "3"]),
        ([pa.array([1e15, 2.0]), pa.array([10**15, 2]), pa.array(["1000000000000000", "2.0"])], ["1" + "0" * 15, "2"]),
        ([pa.array(["가 나", "x"]), pa.array(["가나", " x "]).dictionary_encode()], ["x", "가나"]),
    ],
)
def test_other_values_are_alike_too(spellings, expected):
    for values in spellings:
        profiles = pa.table({"profile_id": [1, 2], "age": values})
        interactions = read_interactions(arguments(user_features=["age"]), log([1, 2]), profiles=profiles)
        assert fit_processor(interactions, Split("none")).vocabulary["user_features"][0]["values"] == expected


def test_a_vocabulary_of_texts_is_found_by_a_log_of_integers():
    processor = fit_processor(read([1, 1, 1], ["1", "A1", "5.0"]), Split("none"))
    assert processor.vocabulary["item_ids"] == ["1", "5.0", "A1"]
    assert token_ids(read([1, 1, 1], [1, 5, 6]), processor).tolist() == [3, 4, -1]
    processor = fit_processor(read([1, 1], [1, 5]), Split("none"))
    assert token_ids(read([1, 1, 1], ["1.0", "junk", "5"]), processor).tolist() == [3, 4, -1]


def test_an_exact_spelling_comes_before_an_equal_value():
    """Vocabularies of before may hold both."""
    assert ids_as(pa.array(["1.0", "1", "1.00"]), pa.array(["1.0", "1"])).to_pylist() == ["1.0", "1", "1.0"]
    assert id_keys(pa.array(["1.0", "-0", "-0.0", "007", "a"])).to_pylist() == ["1", "0", "0", "007", "a"]


LISTS = {
    "list": lambda rows: pa.array(rows, pa.list_(pa.string())),
    "large_list": lambda rows: pa.array(rows, pa.large_list(pa.string())),
    "list_view": lambda rows: pa.array(rows, pa.list_view(pa.string())),
    "large_list_view of string_view": lambda rows: pa.array(rows, pa.large_list_view(pa.string_view())),
    "list of string_view": lambda rows: pa.array(rows, pa.list_(pa.string_view())),
    "list of dictionary": lambda rows: pa.array(rows, pa.list_(pa.string())).cast(
        pa.list_(pa.dictionary(pa.int32(), pa.string()))
    ),
    "values under nulls": lambda rows: pa.ListArray.from_arrays(
        pa.array(np.arange(len(rows) + 1) * 2, pa.int32()),
        pa.array([value for row in rows for value in (*(row or ()), "under", "under")[:2]]),
        mask=pa.array([row is None for row in rows]),
    ),
    "a slice": lambda rows: pa.array([["before"], *rows, ["after"]], pa.list_(pa.string()))[1:-1],
    "fixed size": lambda rows: pa.array(rows, pa.list_(pa.string(), 2)),
    "a slice of fixed size": lambda rows: pa.array([["x", "y"], *rows], pa.list_(pa.string(), 2))[1:],
}


@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.parametrize("several_rows", [False, True])
def test_lists_with_nulls_hold_what_they_hold(kind, several_rows):
    rows = [["a", "b"], None, ["c", None], None, ["a", "c"]]
    table = {"album_id": list(range(5)), "genre": LISTS[kind](rows)}
    given = {"keywords": pa.table({**table, "keyword_value": [5] * 5})} if several_rows else {"items": pa.table(table)}
    interactions = read_interactions(arguments(item_features=["genre"]), log([1] * 5, list(range(5))), **given)
    codes, values = interactions.item_features["genre"]
    expected = [(0, "a"), (0, "b"), (2, "c"), (4, "a"), (4, "c")]
    assert sorted(zip(codes.tolist(), values.to_pylist())) == expected
    assert interactions.counts["items with events without genre"] == 2


@pytest.mark.parametrize("index", [pa.int8(), pa.uint8(), pa.int16(), pa.uint32(), pa.uint64()])
@pytest.mark.parametrize("values", [pa.string(), pa.large_string(), pa.string_view(), pa.int64(), pa.float32()])
def test_dictionaries_may_be_full_and_differ_between_chunks(index, values):
    size = {pa.int8(): 128, pa.uint8(): 256}.get(index, 300)
    chunks = []
    for start in (0, 200):
        dictionary = pa.array(np.arange(start, start + size)).cast(
            pa.string() if values == pa.string_view() else values
        )
        chunks.append(pa.DictionaryArray.from_arrays(pa.array(range(size), index), dictionary.cast(values)))
    column = pa.chunked_array(chunks)
    items = list(range(2 * size))
    interactions = read_interactions(
        arguments(item_features=["genre"]), log(column, items), items=pa.table({"album_id": items, "genre": column})
    )
    expected = sorted({*range(size), *range(200, 200 + size)})
    assert interactions.user_ids.to_pylist() == expected
    values = fit_processor(interactions, Split("none")).vocabulary["item_features"][0]["values"]
    assert sorted(map(int, values)) == expected


def test_dictionaries_may_hold_a_value_twice_and_null():
    column = pa.DictionaryArray.from_arrays(pa.array([0, 1, 3, None]), pa.array(["1", "2", None, "1.0"]))
    with pytest.raises(DataError, match="row 4: profile_id is empty"):
        read(column)
    assert read(column[:3]).user_ids.to_pylist() == [1, 2]


@pytest.mark.parametrize(
    "of",
    [pa.duration("s"), pa.struct({"a": pa.int8()}), pa.map_(pa.string(), pa.int8()), pa.month_day_nano_interval()],
)
def test_types_that_are_no_values_are_named(of):
    table = pa.table({"album_id": [1], "genre": pa.nulls(1, of)})
    with pytest.raises(DataError, match="genre"):
        read_interactions(arguments(item_features=["genre"]), log([1]), items=table)


@given(st.lists(st.booleans(), min_size=1, max_size=40).filter(lambda rows: not all(rows)))
def test_the_first_row_that_fails_is_found(rows):
    def convert(values):
        if not pc.all(values).as_py():
            raise pa.ArrowInvalid("no")

    assert first_failure(pa.chunked_array([rows]), convert) == rows.index(False)


def test_the_row_that_is_no_number_is_named():
    def keywords(values):
        table = pa.table({"album_id": [1] * len(values), "k": ["a"] * len(values), "keyword_value": values})
        return read_interactions(arguments(item_features=["k"]), log([1]), keywords=table)

    assert len(keywords(["5", "4", " 3.5 "]).item_features["k"][0]) == 3
    for values, row in ((["5", "4", "3,5"], 3), (["5", "", "five", "six"], 3), (["", None, "5 ", "1e", "2"], 4)):
        with pytest.raises(
            DataError, match=rf"the keyword table, row {row}: keyword_value is '{values[row - 1]}', not"
        ):
            keywords(values)


def test_files_with_dictionaries_of_their_own_keep_their_values(tmp_path):
    some = [uuid.UUID(int=n + 7) for n in range(4)]
    kinds = {
        "categories": [pa.array(values).dictionary_encode() for values in (["a", "b"], ["c", "d"], ["a", "e"])],
        "uuid": [pa.array([one.bytes for one in part], pa.uuid()) for part in (some[:2], some[2:])],
        "bytes": [
            pa.array(part, pa.binary(3)) for part in ([b"\xff\x00a", b"\xff\x00b"], [b"\xff\x00c", b"\xff\x00d"])
        ],
    }
    for kind, columns in kinds.items():
        folder = tmp_path / kind
        folder.mkdir()
        for place, column in enumerate(columns):
            items = pa.array([2 * place, 2 * place + 1])
            pa.parquet.write_table(log(column, items), folder / f"log{place}.parquet")
            pa.parquet.write_table(pa.table({"album_id": items, "genre": column}), folder / f"items{place}.parquet")
        interactions = read_interactions(
            arguments(item_features=["genre"]), str(folder / "log*"), items=str(folder / "items*")
        )
        expected = [value for column in columns for value in read(column).user_ids.to_pylist()]
        users = interactions.user_ids.take(pa.array(interactions.user)).to_pylist()
        assert dict(zip(interactions.item.tolist(), users)) == dict(enumerate(expected))
        codes, values = interactions.item_features["genre"]
        assert dict(zip(codes.tolist(), values.to_pylist())) == dict(enumerate(expected))


def test_rounding_is_seen_in_every_width_and_between_files(tmp_path):
    half, single = np.array([2048, 1], np.float16), np.array([2.0**24, 1], np.float32)
    with pytest.raises(DataError, match="row 1: profile_id is 2048: floating-point numbers have rounded it"):
        read(pa.array(half))
    for column in (half, single):
        pa.parquet.write_table(log(pa.array(column)), tmp_path / "a.parquet")
        for other in ([1.0, 2.0], [1, 2], ["1", "x"]):
            pa.parquet.write_table(log(other), tmp_path / "b.parquet")
            with pytest.raises(DataError, match="a.parquet, row 1: profile_id is .* have rounded it"):
                read_interactions(arguments(), str(tmp_path))
    assert read(pa.array(half // 2)).user_ids.to_pylist() == [0, 1024]


def test_decimals_of_any_scale_are_numbers():
    column = pa.array([123000, 5000], pa.decimal128(38, 0)).cast(pa.decimal128(10, -3))
    assert read(column).user_ids.to_pylist() == [5000, 123000] and joined([5000, 123000], column) == 2


def test_bytes_are_spelled_alike_whatever_lies_beside_them():
    assert joined(pa.array([b"abcd", b"\xff\x00\x01\x02"], pa.binary(4)), pa.array([b"abcd"] * 2, pa.binary(4))) == 1


def test_two_spellings_of_a_profile_are_one_user():
    one = "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa"
    profiles = pa.table({"profile_id": [one, one.upper(), "13", "13.0", "x"], "age": [None, 3, 4, 5, 6]})
    interactions = read_interactions(arguments(user_features=["age"]), log(["a", "b"]), profiles=profiles)
    assert interactions.user_ids.to_pylist() == ["13", one.upper(), "a", "b", "x"]
    assert interactions.user_features["age"].to_pylist() == ["4", "3", None, None, "6"]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([datetime.timedelta(1)] * 2).dictionary_encode(),
        pa.array([[datetime.timedelta(1)]] * 2),
        pa.ExtensionArray.from_storage(pa.opaque(pa.binary(2), "a", "b"), pa.array([b"ab"] * 2, pa.binary(2))),
    ],
)
def test_spans_of_time_and_unknown_types_are_named_wherever_they_lie(column):
    with pytest.raises(DataError, match="genre is of type"):
        items = pa.table({"album_id": [1, 2], "genre": column})
        read_interactions(arguments(item_features=["genre"]), log([1, 1], [1, 2]), items=items)
    with pytest.raises(DataError, match="profile_id is of type"):
        read(column)


def test_a_list_that_is_null_in_a_whole_file_is_missing(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"album_id": 1, "genre": ["a"]}\n')
    (tmp_path / "b.jsonl").write_text('{"album_id": 2, "genre": null}\n')
    interactions = read_interactions(arguments(item_features=["genre"]), log([1, 1], [1, 2]), items=str(tmp_path))
    assert interactions.counts["items with events without genre"] == 1


@pytest.mark.parametrize("of", [pa.string(), pa.string_view(), pa.large_string()])
def test_run_ends_of_any_text_are_read(of):
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([2, 3], pa.int32()), pa.array(["a", "b"], of))
    assert read(runs[1:]).user_ids.to_pylist() == ["a", "b"] and len(read(runs, [1, 2, 3])) == 3
