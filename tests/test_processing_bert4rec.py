# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
import json

import numpy as np
import pytest
import torch
from transformers import AutoProcessor

from bert4rec_hf import Bert4RecProcessor
from bert4rec_hf.processing_bert4rec import normalize_value


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
