# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
import copy

import numpy as np
import pytest
import torch
from helpers import make_model as make_small_model
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from bert4rec_hf import Bert4RecModel, Bert4RecProcessor, DataError, add_items, load_checkpoint
from bert4rec_hf.hub.growth import load_and_grow


NEW = {
    "item_ids": ["n0", "n1", "n2"],
    "titles": ["새 노래", None, "새 동화"],
    "item_features": {"genre": ["노래", "퀴즈", None], "keyword": [["나", "바"], [], ["가", "나", "다", "라"]]},
    "user_features": {"age": ["3", "11"]},
}


def make_model(processor, **kwargs):
    model = make_small_model(processor, initializer_range=0.2, **kwargs).eval()
    torch.nn.init.normal_(model.decoder.bias)
    return model


def old_scores(model, processor, num_old):
    """Log-probabilities among the old items, of users of every kind."""
    inputs = processor(
        [["i1", "i2", "i49"], [], ["i7"], ["i3"] * 4], [{"sex": "F", "age": 7}, {"sex": "M"}, {"age": 11}, None]
    )
    return model.score(**inputs)[:, 3:num_old].log_softmax(-1)


@pytest.mark.parametrize("head_item_features", [False, True])
@pytest.mark.parametrize("tie_word_embeddings", [False, True])
def test_lists_among_old_items_stay_and_new_ones_can_be_recommended(
    processor, head_item_features, tie_word_embeddings
):
    model = make_model(processor, head_item_features=head_item_features, tie_word_embeddings=tie_word_embeddings)
    before = old_scores(model, processor, 53)
    rows = model.decoder.weight.detach().clone()
    assert add_items(model, processor, **NEW) == ["n0", "n1", "n2"]
    assert_close(old_scores(model, processor, 53), before, atol=1e-6, rtol=0)
    assert torch.equal(model.decoder.weight[:53], rows)
    assert model.config.vocab_size == processor.vocab_size == len(model.decoder.bias) == 56
    assert (model.decoder.weight is model.get_input_embeddings().weight) == tie_word_embeddings
    assert processor.decode(model.recommend(**processor([["n0", "i1"]]), k=53).item_ids[0]).count("n2") == 1
    assert processor.titles([53, 54]) == ["새 노래", None]


@pytest.mark.parametrize("tie_word_embeddings", [False, True])
def test_new_rows_start_from_the_mean_of_items_that_share_their_features(processor, tie_word_embeddings):
    model = make_model(processor, tie_word_embeddings=tie_word_embeddings)
    weight, bias = model.decoder.weight.detach().clone(), model.decoder.bias.detach().clone()
    has = {
        name: {value: [3 + row for row, ids in enumerate(rows) if n in ids] for n, value in enumerate(values, start=1)}
        for name, values, rows in zip(
            ("genre", "keyword"),
            (["노래", "동화"], ["가", "나", "다", "라"]),
            processor.vocabulary["item_feature_values"],
        )
    }
    add_items(model, processor, **NEW)
    for table, new in ((weight, model.decoder.weight), (bias, model.decoder.bias)):
        song, na = table[has["genre"]["노래"]].mean(0), table[has["keyword"]["나"]].mean(0)
        assert_close(new[53], (song + na) / 2)  # its third value is new and has no items
        assert_close(new[54], table[3:].mean(0))  # it shares nothing
        assert_close(new[55], sum(table[has["keyword"][value]].mean(0) for value in "가나다라") / 4)
    bags = model.get_input_embeddings().feature_embeddings
    assert_close(bags[0].weight[3], bags[0].weight[1:3].mean(0))
    ages = model.model.embeddings.user_embeddings[1]
    assert ages.num_embeddings == 4 and not ages.weight[3].any()


def test_growing_again_adds_nothing_and_known_items_stay_as_they_are(processor):
    model = make_model(processor)
    add_items(model, processor, **NEW)
    vocabulary, weight = copy.deepcopy(processor.vocabulary), model.decoder.weight.detach().clone()
    assert add_items(model, processor, **NEW) == []
    assert add_items(model, processor, ["i1", "n0"], item_features={"genre": ["동화", "동화"]}) == []
    assert processor.vocabulary == vocabulary and torch.equal(model.decoder.weight, weight)


def test_a_grown_checkpoint_saves_loads_and_trains(processor, tmp_path):
    model = make_model(processor)
    add_items(model, processor, **NEW)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded, loaded_processor = load_checkpoint(str(tmp_path))
    inputs = loaded_processor([["n1", "i2", "n2"]], [{"age": 11}])
    assert_close(loaded.score(**inputs), model.score(**inputs))
    labels = torch.full_like(inputs["input_ids"], -100)
    labels[0, -1] = loaded_processor.vocab_size - 1
    loaded.train()(**inputs, labels=labels).loss.backward()
    for name, parameter in loaded.named_parameters():
        assert parameter.grad is not None, name
    assert loaded.model.embeddings.user_embeddings[1].weight.grad[3].any()


def test_an_encoder_without_a_head_grows_too(processor):
    whole = make_model(processor)
    encoder = Bert4RecModel(copy.deepcopy(whole.config)).eval()
    encoder.load_state_dict(whole.model.state_dict())
    add_items(whole, copy.deepcopy(processor), **NEW)
    add_items(encoder, processor, **NEW)
    assert_close(encoder(torch.tensor([[53, 4, 55]]))[0], whole.model(torch.tensor([[53, 4, 55]]))[0])


def test_growing_without_features_starts_from_the_mean_of_all():
    processor = Bert4RecProcessor({"item_ids": [10, 20, 30]})
    model = make_model(processor)
    assert add_items(model, processor, [40]) == [40]
    assert_close(model.decoder.weight[6], model.decoder.weight[3:6].mean(0))
    assert processor.vocabulary["item_ids"] == [10, 20, 30, 40]


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"item_ids": ["a", 3]}, "item id 3 is a int"),
        ({"item_ids": ["a", None]}, "item id None is a NoneType"),
        ({"item_ids": ["a"], "titles": []}, "1 items and 0 titles"),
        ({"item_ids": ["a"], "item_features": {"genre": ["x", "y"]}}, "1 items and 2 genre"),
        ({"item_ids": ["a"], "item_features": {"colour": ["x"]}}, "colour: none of the vocabulary's item_features"),
        ({"item_ids": ["a"], "user_features": {"pet": ["x"]}}, "pet: none of the vocabulary's user_features"),
        ({"item_ids": ["a"], "item_features": {"genre": [map(str, range(5000))]}}, "max_values of item .* is 5000"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(processor, wrong, words):
    model = make_model(processor)
    vocabulary, config = copy.deepcopy(processor.vocabulary), model.config.to_dict()
    with pytest.raises(ValueError, match=words):
        add_items(model, processor, **wrong)
    assert processor.vocabulary == vocabulary and model.config.to_dict() == config
    add_items(model, processor, **NEW)


def test_arrays_and_sets_are_several_values_and_gaps_are_none():
    processor = Bert4RecProcessor(
        {
            "item_ids": [1],
            "titles": [None],
            "item_features": [{"name": "tag", "max_values": 1, "values": ["x"]}],
            "item_feature_values": [[[1]]],
        }
    )
    tags = [np.array(["x", "y"]), {"z"}, float("nan"), ("x", None), 7.0]
    titles = np.array(["a", float("nan"), None, 1984, "e"], dtype=object)
    assert processor.add_items(np.arange(1, 6), titles, {"tag": tags}) == [2, 3, 4, 5]
    assert {type(item) for item in processor.vocabulary["item_ids"]} == {int}
    assert processor.vocabulary["titles"] == [None, None, None, "1984", "e"]  # the first is known
    assert processor.catalogue()["item_features"] == {"tag": [["x"], ["z"], [], ["x"], ["7"]]}
    nothing = Bert4RecProcessor()
    model = make_model(nothing)
    assert add_items(model, nothing, ["a"]) == ["a"] and torch.isfinite(model.decoder.weight).all()


def test_a_processor_of_another_model_is_refused(processor):
    model = make_model(processor)
    other = copy.deepcopy(processor)
    other.add_items(["z"])
    with pytest.raises(ValueError, match="not of the same checkpoint"):
        add_items(model, other, ["y"])


def test_a_checkpoint_grows_by_what_a_newly_fitted_processor_knows_besides(processor, tmp_path):
    model = make_model(processor)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    fitted = copy.deepcopy(processor)
    fitted.add_items(**NEW)
    fitted.split, fitted.unknown_items = {"split": "none"}, "unk"
    fitted.vocabulary["item_ids"] = [f"x{item}" if item == "i0" else item for item in fitted.vocabulary["item_ids"]]
    grown, larger = load_and_grow(str(tmp_path), fitted)
    assert larger.vocabulary["item_ids"] == [f"i{n}" for n in range(50)] + ["xi0", "n0", "n1", "n2"]
    assert (larger.split, larger.unknown_items) == ({"split": "none"}, "unk")
    assert_close(old_scores(grown, larger, 53), old_scores(model, processor, 53), atol=1e-6, rtol=0)
    with pytest.raises(DataError, match="trained with item_features genre, keyword, not none; leave --item_features"):
        load_and_grow(str(tmp_path), Bert4RecProcessor({"item_ids": [1]}))
    fitted.vocabulary["item_ids"] = list(range(53))
    with pytest.raises(DataError, match="cannot grow to this data: item id 0 is a int"):
        load_and_grow(str(tmp_path), fitted)


words = st.text(min_size=0, max_size=4)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_is_added_old_items_keep_their_ids_and_values(data):
    """Ids, titles and values of any text, some known, some twice, some empty."""
    processor = Bert4RecProcessor(
        {
            "item_ids": ["a", "b", "c"],
            "item_features": [{"name": "tag", "max_values": 2, "values": ["x", "y"]}],
            "item_feature_values": [[[1], [1, 2], []]],
            "user_features": [{"name": "age", "values": ["3"]}],
        }
    )
    table = processor.item_features()
    ids = data.draw(st.lists(st.one_of(words, st.sampled_from("abc")), max_size=6))
    values = st.one_of(st.none(), words, st.lists(words, max_size=4))
    tags = data.draw(st.lists(values, min_size=len(ids), max_size=len(ids)))
    added = processor.add_items(ids, item_features={"tag": tags}, user_features={"age": data.draw(st.lists(words))})
    assert added == [item for item in dict.fromkeys(ids) if item not in ("a", "b", "c")]
    assert processor.decode(list(range(3, processor.vocab_size))) == ["a", "b", "c", *added]
    assert processor.encode_items(["c", *added]) == [5, *range(6, 6 + len(added))]
    new_table = processor.item_features()
    assert (new_table[:6, :2] == table).all() and not new_table[:6, 2:].any()
    assert len(set(processor.vocabulary["item_features"][0]["values"])) == new_table.max(initial=2)
    features = {"item_features": [{"name": "tag", "max_values": 1, "values": []}], "item_feature_values": [[[]]]}
    other = Bert4RecProcessor({"item_ids": ["q"], **features, "user_features": [{"name": "age", "values": []}]})
    other.add_items(**processor.catalogue())
    assert {**other.catalogue(), "item_ids": 0, "item_features": 0} == {
        **processor.catalogue(),
        "item_ids": 0,
        "item_features": 0,
    }
    assert set(other.vocabulary["item_ids"]) == {"q", *processor.vocabulary["item_ids"]}
