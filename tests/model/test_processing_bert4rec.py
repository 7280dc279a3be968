# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
import json
import tempfile
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoProcessor

from bert4rec_hf import Bert4RecProcessor
from bert4rec_hf.model.vocabulary_bert4rec import FeatureIds, nearest, normalize_value


def test_histories_are_padded_on_the_left_and_profiles_encoded(processor):
    inputs = processor([["i0", "i1", "i2"], ["i9"], []], [{"sex": "M", "age": 7}, {"age": "없음"}, None])
    assert inputs["input_ids"].tolist() == [[3, 4, 5], [0, 0, 12], [0, 0, 0]]
    assert inputs["attention_mask"].tolist() == [[1, 1, 1], [0, 0, 1], [0, 0, 0]]
    assert inputs["user_features"].tolist() == [[2, 2], [0, 0], [0, 0]]
    assert inputs["input_ids"].dtype == torch.int64


def test_one_history_is_a_batch_of_one(processor):
    assert processor(["i0", "i1"], {"sex": "F"})["input_ids"].tolist() == [[3, 4]]
    assert processor([])["input_ids"].shape == (1, 0)


def test_other_tensor_types(processor):
    assert isinstance(processor(["i0"], return_tensors="np")["input_ids"], np.ndarray)
    assert processor(["i0"], return_tensors=None)["input_ids"] == [[3]]


@pytest.mark.parametrize("unknown_items, expected", [("skip", [[3, 4]]), ("unk", [[3, 2, 4]])])
def test_unknown_items_are_skipped_or_read_as_unk(processor, unknown_items, expected):
    processor.unknown_items = unknown_items
    assert processor(["i0", "새것", "i1"])["input_ids"].tolist() == expected


def test_unknown_items_are_refused_by_choice(processor):
    processor.unknown_items = "error"
    with pytest.raises(ValueError, match="'새것' is not in the vocabulary"):
        processor(["i0", "새것"])


def test_ids_of_another_type_are_refused(processor):
    with pytest.raises(ValueError, match="item id 5 is a int, the vocabulary holds ids of type str"):
        processor([5, 6])


def test_histories_and_profiles_must_be_as_many(processor):
    with pytest.raises(ValueError, match="2 histories and 1 profiles"):
        processor([["i0"], ["i1"]], [{"sex": "F"}])


def test_decoding_gives_the_ids_back_in_their_type():
    processor = Bert4RecProcessor({"item_ids": [10, 20]})
    assert processor.decode(torch.tensor([[3, 4], [0, 1]])) == [[10, 20], [None, None]]
    assert processor.titles([3, 4]) == [None, None]


def test_titles_belong_to_their_items(processor):
    assert processor.titles(processor(["i7", "i9"])["input_ids"]) == [["제목 7", "제목 9"]]


def test_item_features_are_a_table_of_value_ids(processor):
    table = processor.item_features()
    assert table.shape == (53, 4) and table.dtype == np.int32
    assert not table[:3].any()
    assert table[3 + 5].tolist() == [2, 2, 3, 0]
    sizes = processor.config_kwargs()
    assert sizes["vocab_size"] == 53
    assert sizes["item_features"] == [
        {"name": "genre", "num_values": 3, "max_values": 1},
        {"name": "keyword", "num_values": 5, "max_values": 3},
    ]


@pytest.mark.parametrize(
    "value, expected",
    [
        ("노래 율동", "노래율동"),
        ("노래율동", "노래율동"),
        (7, "7"),
        (7.0, "7"),
        ("7.0", "7"),
        (" 7 ", "7"),
        (7.5, "7.5"),
        (None, ""),
        (float("nan"), ""),
        ("unknown", ""),
        ("Unknown", ""),
        ("\u1112\u1161\u11ab\u1100\u116e\u11a8", "한국"),  # decomposed, as macOS writes it
        ("e\u0339 \u0301", "\u00e9\u0339"),  # without the space the marks have another order
        ("\u1112 \u1161", "\ud558"),
        ("12.00", "12"),
        ("007.0", "007.0"),
        ("1.10", "1.10"),
        ("-0.0", "0"),
        (-0.0, "0"),
        (Decimal("3.00"), "3"),
        (Decimal("3.50"), "3.5"),
        (np.float32(4), "4"),
        (True, "True"),
        ("true", "True"),
        ("FALSE", "False"),
        (np.bool_(False), "False"),
    ],
)
def test_values_are_normalised(value, expected):
    assert normalize_value(value) == expected


@pytest.mark.parametrize("auto", [Bert4RecProcessor, AutoProcessor])
def test_processor_survives_save_and_load(processor, tmp_path, auto):
    processor.unknown_items, processor.data, processor.split = "unk", {"delimiter": ";"}, {"split": "none"}
    processor.save_pretrained(tmp_path)
    loaded = auto.from_pretrained(tmp_path)
    assert isinstance(loaded, Bert4RecProcessor)
    assert (loaded.vocabulary, loaded.unknown_items) == (processor.vocabulary, "unk")
    assert (loaded.data, loaded.split) == ({"delimiter": ";"}, {"split": "none"})


def test_files_are_readable_json_with_the_vocabulary_apart(processor, tmp_path):
    processor.save_pretrained(tmp_path)
    assert "vocabulary" not in json.loads((tmp_path / "processor_config.json").read_text(encoding="utf-8"))
    assert "제목 7" in (tmp_path / "vocabulary.json").read_text(encoding="utf-8")


@st.composite
def vocabularies(draw):
    """Any ids, titles, features and values, as `fit_processor` may make them."""
    ids = draw(st.sampled_from([st.text(), st.integers(-(2**63), 2**63 - 1)]))
    item_ids = draw(st.lists(ids, unique=True, max_size=8))
    vocabulary = {"item_ids": item_ids, "item_features": [], "item_feature_values": []}
    if draw(st.booleans()):
        titles = st.lists(st.none() | st.text(), min_size=len(item_ids), max_size=len(item_ids))
        vocabulary["titles"] = draw(titles)
    values = st.lists(st.text().map(normalize_value).filter(bool), unique=True, max_size=4)
    for name in draw(st.lists(st.text(), unique=True, max_size=2)):
        names = draw(values)
        of_item = st.lists(st.integers(1, len(names)), unique=True) if names else st.just([])
        rows = [draw(of_item) for _ in item_ids]
        most = max([1, *map(len, rows)])
        vocabulary["item_features"].append({"name": name, "max_values": most, "values": names})
        vocabulary["item_feature_values"].append(rows)
    names = draw(st.lists(st.text(), unique=True, max_size=2))
    vocabulary["user_features"] = [{"name": name, "values": draw(values)} for name in names]
    return vocabulary


@settings(deadline=None, max_examples=50)
@given(vocabularies(), st.data())
def test_any_vocabulary_comes_back_from_a_file_and_any_item_from_its_token(vocabulary, data):
    processor = Bert4RecProcessor(vocabulary)
    with tempfile.TemporaryDirectory() as folder:
        processor.save_pretrained(folder)
        loaded = Bert4RecProcessor.from_pretrained(folder)
    assert loaded.vocabulary == vocabulary and loaded.vocabulary_hash == processor.vocabulary_hash
    item_ids = vocabulary["item_ids"]
    histories = data.draw(st.lists(st.lists(st.sampled_from(item_ids)), min_size=1, max_size=3)) if item_ids else [[]]
    profiles = [
        {
            feature["name"]: data.draw(st.sampled_from([None, *feature["values"]]))
            for feature in vocabulary["user_features"]
        }
        for _ in histories
    ]
    inputs = loaded(histories, profiles)
    assert [[item for item in row if item is not None] for row in loaded.decode(inputs["input_ids"])] == histories
    assert inputs["attention_mask"].sum(1).tolist() == list(map(len, histories))
    for row, profile in zip(inputs.get("user_features", []), profiles):
        values = [feature["values"] for feature in vocabulary["user_features"]]
        assert [known[i - 1] if i else None for i, known in zip(row.tolist(), values)] == list(profile.values())
    table = loaded.item_features()
    assert table.shape == (len(item_ids) + 3, sum(feature["max_values"] for feature in vocabulary["item_features"]))
    assert not table[:3].any()


@settings(deadline=None)
@given(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.decimals()
    | st.text()
    | st.text(st.characters(categories=["Mn", "Zs", "Lo", "Nd"]))
    | st.text("truefalsn0.- \u0301\u0339\u1100\u1161\u11a8")
)
def test_normalising_twice_changes_nothing(value):
    normalized = normalize_value(value)
    assert normalize_value(normalized) == normalized and normalized.split() == [normalized] * bool(normalized)


@settings(deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_what_is_no_vocabulary_is_refused_by_a_value_error(anything):
    for vocabulary in (anything, {"item_ids": anything}, {"item_ids": [1], "titles": anything}):
        try:
            Bert4RecProcessor(vocabulary)
        except ValueError as error:
            assert "the vocabulary cannot be used" in str(error)


def test_values_of_an_older_vocabulary_are_found():
    """What was normalised by other rules has the id that it had, and does not get a second one."""
    values = ["true", "12.00", "e\u0339\u0301"]
    features = {"item_features": [{"name": "g", "max_values": 1, "values": values}], "item_feature_values": [[[1]]]}
    processor = Bert4RecProcessor({"item_ids": [1], "user_features": [{"name": "u", "values": values}], **features})
    for value, number in ((True, 1), ("TRUE", 1), (12, 2), ("12.0", 2), ("e\u0339\u0301", 3), ("false", 0)):
        assert processor.encode_profile({"u": value}) == [number]
    processor.add_items([2, 3], item_features={"g": ["True", 12.0]}, user_features={"u": [True, "new"]})
    assert processor.vocabulary["item_features"][0]["values"] == values
    assert processor.vocabulary["item_feature_values"] == [[[1], [1], [2]]]
    assert processor.vocabulary["user_features"][0]["values"] == [*values, "new"]


HISTORIES = [[1, 2], [], [3]]


@pytest.mark.parametrize(
    "column",
    [
        Dataset.from_dict({"history": HISTORIES})["history"],
        Dataset.from_dict({"history": HISTORIES})[:]["history"],
        Dataset.from_dict({"history": HISTORIES}).with_format("numpy")["history"],
        pa.table({"history": HISTORIES})["history"],
        pa.array(HISTORIES),
        pa.array(HISTORIES, pa.list_view(pa.int64())),
        pd.Series(HISTORIES),
        pd.Series([np.array(row, dtype=int) for row in HISTORIES], index=[7, 8, 9]),
        pl.Series(HISTORIES, dtype=pl.List(pl.Int64)),
        tuple(map(tuple, HISTORIES)),
        [pd.Series(row, dtype=int) for row in HISTORIES],
    ],
)
def test_a_column_of_any_table_is_histories(column):
    processor = Bert4RecProcessor({"item_ids": [1, 2, 3]})
    inputs, expected = processor(column), processor(HISTORIES)
    assert inputs["input_ids"].equal(expected["input_ids"]) and inputs["attention_mask"].equal(
        expected["attention_mask"]
    )


@pytest.mark.parametrize("history", [pd.Series([1, 2]), pl.Series([1, 2]), pa.array([1, 2]), (1, 2), np.array([1, 2])])
def test_one_history_may_be_a_column(history):
    processor = Bert4RecProcessor({"item_ids": [1, 2, 3]})
    assert processor(history)["input_ids"].tolist() == [[3, 4]]


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, unique=True),
    st.lists(st.floats(-1e3, 1e3) | st.floats(), min_size=1),
)
def test_a_number_has_the_id_of_the_nearest(values, numbers):
    values = sorted(values)
    ids = nearest(values, np.array(numbers))
    feature = FeatureIds({"values": values})
    for number, value_id in zip(numbers, ids.tolist()):
        assert feature(number) == feature(str(number)) == [value_id]
        if np.isfinite(number):
            halves = [abs(value / 2 - number / 2) for value in values]  # a difference may overflow
            assert halves[value_id - 1] <= min(halves) * (1 + 1e-9)
        else:
            assert value_id == 0
