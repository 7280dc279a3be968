# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Features of every kind at once: values, numbers, several values of a user, vectors, times."""

import copy

import numpy as np
import pytest
import torch
from helpers import KINDS, TRACES, make_collator, make_processor_of_every_kind, model_of
from peft import LoraConfig, get_peft_model
from torch.testing import assert_close

from bert4rec_hf import (
    Bert4RecEnsembleForMaskedLM,
    Bert4RecForMaskedLM,
    Bert4RecProcessor,
    add_items,
)


@pytest.fixture
def processor():
    return make_processor_of_every_kind()


@pytest.fixture
def inputs(processor):
    histories = [[f"i{n}" for n in range(8)], ["i40", "i2", "i9", "i11", "i1"], []]
    profiles = [{"sex": "F", "age": 100, "likes": ["노래", "동화"]}, {"age": 4, "likes": "동화"}, None]
    times = [[1_600_000_000 + 3600 * n**3 for n in range(8)], [5, 9, None, 2000, 90000], []]
    inputs = processor(histories, profiles, times=times, request_times=[1_601_300_000, None, 7])
    assert inputs["user_features"].tolist() == [[1, 2, 2, 1, 0], [0, 1, 1, 0, 0], [0] * 5]
    return dict(inputs)


ALL = pytest.mark.parametrize("kind", KINDS)


def test_an_item_is_its_embedding_and_what_its_features_add(processor):
    model = model_of(processor, "masked")
    embeddings = model.get_input_embeddings()
    row = embeddings.weight[3 + 7].detach().clone()
    for bag, ids in zip(embeddings.feature_embeddings, ([2], [4, 1][:1], [2])):
        row += bag.weight[ids].mean(0).detach()
    vectors = torch.from_numpy(processor.vector_features())[3 + 7].float()
    for projection, vector in zip(embeddings.vector_projections, vectors.split([8, 3])):
        row += projection.weight.detach() @ vector
        assert abs(vector.norm() - 1) < 1e-2
    assert_close(embeddings(torch.tensor([[10]]))[0, 0].detach(), row, atol=1e-5, rtol=0)
    assert_close(model.output_layer()[0][10].detach(), row, atol=1e-5, rtol=0)
    with torch.no_grad():
        assert_close(embeddings()[10], row, atol=1e-5, rtol=0)
    assert_close(embeddings(torch.tensor([0, 1, 2])), embeddings.weight[:3])


@ALL
def test_padding_and_company_change_nothing(processor, inputs, kind):
    model = model_of(processor, kind)
    together = model.score(**inputs)
    names = ("input_ids", "attention_mask", "timestamps")
    wider = {name: torch.nn.functional.pad(inputs[name], (3, 0)) for name in names}
    assert_close(model.score(**(inputs | wider)), together, atol=1e-5, rtol=0)
    shift = inputs["attention_mask"].sum(1)[:, None]  # padded on the right instead
    columns = (torch.arange(8) - shift) % 8
    right = {name: inputs[name].gather(1, columns) for name in names}
    right["timestamps"] = torch.cat([right["timestamps"], inputs["timestamps"][:, -1:]], dim=1)
    assert right["attention_mask"][1].tolist() == [1] * 5 + [0] * 3
    assert_close(model.score(**(inputs | right)), together, atol=1e-5, rtol=0)
    for row in range(3):
        alone = {name: values[row : row + 1] for name, values in inputs.items()}
        assert_close(model.score(**alone)[0], together[row], atol=1e-5, rtol=0)


@ALL
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_a_saved_model_is_the_loaded_one_and_its_vectors_stay_halves(processor, inputs, kind, dtype, tmp_path):
    model = model_of(processor, kind)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded = Bert4RecForMaskedLM.from_pretrained(tmp_path, **({} if dtype is None else {"dtype": dtype}))
    vectors = loaded.get_input_embeddings().vectors
    assert vectors.dtype == torch.float16 and torch.equal(vectors, model.get_input_embeddings().vectors)
    tolerance = 1e-6 if dtype is None else 0.3
    assert_close(loaded.score(**inputs), model.score(**inputs), atol=tolerance, rtol=0)
    read = Bert4RecProcessor.from_pretrained(tmp_path)
    read.check_config(loaded.config)
    with pytest.raises(ValueError, match="the vectors of a checkpoint are in its model"):
        read.vector_features()


@ALL
def test_training_reaches_every_feature_and_no_vector(processor, inputs, kind):
    model = model_of(processor, kind).train()
    same = {"user_features": [1, 1, 1, 2, 0], "timestamps": [10, 20, 400, 9000, 9001]}
    rows = [{"input_ids": [3 + n, 4 + n, 5 + n, 8, 9], **same} for n in range(20)]
    model(**make_collator(processor, mlm=not model.config.is_causal)(rows)).loss.backward()
    embeddings = model.get_input_embeddings()
    for part in (*embeddings.feature_embeddings, *embeddings.vector_projections):
        assert part.weight.grad.abs().sum() > 0
    assert all(part.weight.grad.abs().sum() > 0 for part in model.model.embeddings.user_embeddings)
    assert model.model.embeddings.time_embeddings.weight.grad.abs().sum() > 0
    assert model.model.time_bias.weight.grad.abs().sum() > 0
    assert not embeddings.vectors.requires_grad


def test_the_kept_table_ends_when_vectors_change(processor, inputs):
    model = model_of(processor, "masked")
    before = model.score(**inputs)
    other = np.array(processor.vector_features())
    other[3:] = other[3:][::-1]
    model.set_vector_features(other)
    assert not torch.equal(model.score(**inputs), before)
    with torch.no_grad():
        model.get_input_embeddings().vector_projections[0].weight.mul_(2)
    changed = model.score(**inputs)
    assert_close(copy.deepcopy(model).train().eval().score(**inputs), changed)


@pytest.mark.parametrize("table, message", [(np.zeros((53, 10)), "the model needs"), (None, "NaN or infinity")])
def test_vectors_that_do_not_fit_are_refused(processor, table, message):
    table = np.full((53, 11), np.inf) if table is None else table
    with pytest.raises(ValueError, match=message):
        model_of(processor, "masked").set_vector_features(table)


def test_it_grows_by_items_with_vectors_and_numbers(processor, inputs, tmp_path):
    model = model_of(processor, "masked")
    before = model.score(**inputs)[:, 3:53].log_softmax(-1)
    picture = np.arange(16.0).reshape(2, 8) ** 2
    new = {
        "item_ids": ["n0", "i3", "n1"],
        "item_features": {"minutes": [11, 5, None]},
        "user_features": {"age": [11], "likes": ["퀴즈"]},
        "vector_features": {"picture": [picture[0], picture[0], picture[1]], "text": [None, None, [1, 2, 4]]},
    }
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded = Bert4RecForMaskedLM.from_pretrained(tmp_path), Bert4RecProcessor.from_pretrained(tmp_path)
    pairs, old_hash = [(model, processor), loaded], processor.vocabulary_hash
    for model, processor in pairs:  # with its vectors at hand, and without
        assert add_items(model, processor, **new) == ["n0", "n1"]
        assert processor.vocabulary_hash == model.config.vocabulary_hash != old_hash
        processor.check_config(model.config)
        vectors = model.get_input_embeddings().vectors[-2:].float().numpy()
        for row, ours in zip(picture, vectors[:, :8]):
            np.testing.assert_allclose(ours, (row - row.mean()) / np.linalg.norm(row - row.mean()), atol=1e-3)
        assert not vectors[0, 8:].any() and vectors[1, 8:].any()
        assert model.get_input_embeddings().item_features[-2:, -1].tolist() == [2, 0]
        assert processor.encode_profile({"age": 11, "likes": ["퀴즈"]}) == [0, 2, 3, 0, 0]
        assert_close(model.score(**inputs)[:, 3:53].log_softmax(-1), before, atol=1e-5, rtol=0)
    assert pairs[0][1].vocabulary_hash == pairs[1][1].vocabulary_hash
    assert len(pairs[0][1].catalogue()["vector_features"]["text"]) == 52
    assert "vector_features" not in loaded[1].catalogue()  # those of two items of 52 are at hand


@pytest.mark.parametrize(
    "vectors, message",
    [
        ({"sound": [[1, 2]]}, "sound: none of the vocabulary's vector_features"),
        ({"text": [[1, 2]]}, "text has 2 numbers for an item; the model takes 3"),
        ({"text": [[1, 2, "x"]]}, "text must have a list of 3 numbers for each item"),
        ({"text": [[1, 2, float("nan")]]}, "text holds NaN or infinity"),
        ({"text": []}, "there are 1 items and 0 text"),
    ],
)
def test_new_vectors_that_do_not_fit_change_nothing(processor, vectors, message):
    model, before = model_of(processor, "masked"), processor.vocabulary_hash
    with pytest.raises(ValueError, match=message):
        add_items(model, processor, ["n0"], vector_features=vectors)
    assert processor.vocabulary_hash == before and model.config.vocab_size == 53


def test_an_ensemble_votes_with_the_vectors_of_its_members(processor, inputs):
    members = [model_of(processor, "masked"), model_of(processor, "causal")]
    merged = Bert4RecProcessor.merge({"a": processor, "b": processor})
    ensemble = Bert4RecEnsembleForMaskedLM.from_members(members, merged).eval()
    expected = torch.stack([member.score(**inputs).exp() for member in members]).mean(0)
    assert_close(ensemble.score(**inputs).exp(), expected, atol=1e-5, rtol=0)


@TRACES
@ALL
def test_torch_export_takes_them(processor, inputs, kind):
    model = model_of(processor, kind)
    exported = torch.export.export(model, (), inputs).module()(**inputs)
    assert_close(exported.logits, model(**inputs).logits, atol=1e-4, rtol=0)


def test_half_precision_and_adapters_take_them(processor, inputs):
    model = model_of(processor, "causal")
    scores = model.score(**inputs)[:, 3:]
    halves = copy.deepcopy(model).to(torch.bfloat16)
    assert_close(halves.score(**inputs)[:, 3:], scores, atol=0.3, rtol=0)
    adapted = get_peft_model(copy.deepcopy(model), LoraConfig(target_modules=["q_proj", "kv_proj"]))
    assert_close(adapted.base_model.model.score(**inputs)[:, 3:], scores)
    labels = inputs["input_ids"].roll(-1, 1)
    labels[:, -1] = -100
    adapted(**inputs, labels=labels.masked_fill(labels < 3, -100)).loss.backward()
    trained = [name for name, weight in adapted.named_parameters() if weight.grad is not None]
    assert trained and all("lora" in name for name in trained)


def test_rows_of_new_items_start_from_those_with_the_nearest_vectors(processor):
    model = model_of(processor, "masked")
    rows = model.get_input_embeddings().weight.detach().clone()[3:]
    text = np.array([3.0, -1, 0.5])
    add_items(model, processor, ["n0", "n1"], vector_features={"text": [text, None]})
    vectors = model.get_input_embeddings().vectors[:, 8:].float().numpy()
    nearest = np.argsort(-vectors[3:53] @ (text - text.mean()), kind="stable")[:10]
    assert_close(model.get_input_embeddings().weight[53].detach(), rows[nearest].mean(0), atol=1e-5, rtol=0)
    assert_close(model.get_input_embeddings().weight[54].detach(), rows.mean(0), atol=1e-5, rtol=0)
