# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""The finished item table: kept in evaluation mode, and never a request longer than what it was made from."""

import copy

import pytest
import torch
from helpers import labels_for
from safetensors.torch import load_model, save_model
from torch.testing import assert_close

from bert4rec_hf import Bert4RecConfig, Bert4RecForMaskedLM, add_items
from bert4rec_hf.model.layers_bert4rec import Bert4RecItemEmbeddings


HISTORY = torch.tensor([[5, 6, 7]])


def fresh_score(model):
    """The score of the same weights in a model that has kept nothing."""
    with torch.no_grad():
        other = Bert4RecForMaskedLM(copy.deepcopy(model.config)).eval()
        other.load_state_dict(model.state_dict())
        return other.score(HISTORY)


def count_pooling(model, monkeypatch):
    """Whole catalogues that are pooled from now on."""
    embeddings, pooled = model.get_input_embeddings(), []
    pool = type(embeddings).pool_features

    def counted(self, item_features):
        pooled.append(len(item_features) == self.num_embeddings)
        return pool(self, item_features)

    monkeypatch.setattr(type(embeddings), "pool_features", counted)
    return pooled


def train_a_step(model):
    inputs = {"input_ids": HISTORY, "labels": torch.tensor([[-100, 8, -100]])}
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(**inputs).loss.backward()
    optimizer.step()


def replace_through_data(model):
    weight = model.get_input_embeddings().weight
    weight.data = torch.randn_like(weight)


def write_through_data(model):
    model.get_input_embeddings().weight.data.add_(torch.randn(53, 32))
    model.eval()


def load_state_dict(model):
    model.load_state_dict(
        {name: value + 0.5 for name, value in model.state_dict().items() if value.is_floating_point()}, strict=False
    )


def load_safetensors(model, tmp_path):
    other = copy.deepcopy(model)
    replace_through_data(other)
    save_model(other, str(tmp_path / "other.safetensors"))
    load_model(model, str(tmp_path / "other.safetensors"))


def scale_features(model):
    with torch.no_grad():
        model.get_input_embeddings().feature_embeddings[1].weight.mul_(2)


def replace_features(model):
    bag = model.get_input_embeddings().feature_embeddings[0]
    bag.weight = torch.nn.Parameter(torch.randn_like(bag.weight))


CHANGES = {
    "an optimizer's step, without train()": train_a_step,
    "new values behind .data": replace_through_data,
    "values written through .data, and eval()": write_through_data,
    "load_state_dict": load_state_dict,
    "feature weights in place": scale_features,
    "a new feature weight": replace_features,
    "set_item_features": lambda model: model.set_item_features(torch.randint(0, 3, (53, 4))),
    "resizing": lambda model: model.resize_token_embeddings(60),
    "another dtype": lambda model: model.double(),
}


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_ends_the_life_of_the_kept_table(config, processor, change, tied):
    config.tie_word_embeddings = tied
    model = Bert4RecForMaskedLM(config).eval()
    model.set_item_features(processor.item_features())
    before = model.score(HISTORY)
    assert model.get_input_embeddings()._kept is not None
    change(model)
    after = model.score(HISTORY)
    assert_close(after.float(), fresh_score(model).float(), atol=1e-4, rtol=1e-4)
    is_other = after.shape != before.shape or not torch.allclose(after[:, 3:].float(), before[:, 3:], atol=1e-4)
    assert is_other or after.dtype != before.dtype


def test_loading_a_file_ends_it(model, tmp_path):
    model.score(HISTORY)
    load_safetensors(model, tmp_path)
    assert_close(model.score(HISTORY), fresh_score(model))


@pytest.mark.parametrize("mode", [True, False])
def test_train_and_eval_end_it(model, mode):
    model.score(HISTORY)
    model.train(mode)
    assert model.get_input_embeddings()._kept is None


def test_growing_ends_it(model, processor):
    model.config.vocabulary_hash = processor.vocabulary_hash
    model.score(HISTORY)
    add_items(model, processor, ["i90"], item_features={"genre": ["동화"]})
    assert_close(model.score(HISTORY), fresh_score(model))


def test_swapping_weights_as_an_average_does_ends_it(model):
    other = copy.deepcopy(model)
    replace_through_data(other)
    expected = [model.score(HISTORY), other.score(HISTORY)]
    for number in (1, 0, 1):
        for mine, its in zip(model.parameters(), other.parameters()):
            mine.data, its.data = its.data, mine.data
        assert torch.equal(model.score(HISTORY), expected[number])


@pytest.mark.parametrize("tied", [True, False])
def test_requests_pool_the_catalogue_once(config, tied, monkeypatch):
    config.tie_word_embeddings = tied
    model = Bert4RecForMaskedLM(config).eval()
    pooled = count_pooling(model, monkeypatch)
    for _ in range(5):
        model.recommend(HISTORY, k=3)
    assert sum(pooled) == 1
    with torch.inference_mode():
        model.recommend(HISTORY, k=3)
    assert sum(pooled) == 1


def test_it_is_neither_kept_in_training_nor_where_gradients_are_wanted(model, inputs):
    embeddings = model.get_input_embeddings()
    model(**inputs, labels=labels_for(inputs)).loss.backward()
    assert embeddings._kept is None and embeddings.feature_embeddings[0].weight.grad.abs().sum() > 0
    model.train().score(HISTORY)
    assert embeddings._kept is None


def test_copies_and_files_are_without_it(model, tmp_path):
    model.score(HISTORY)
    twin = copy.deepcopy(model)
    assert twin.get_input_embeddings()._kept is None and model.get_input_embeddings()._kept is not None
    assert torch.equal(twin.score(HISTORY), model.score(HISTORY))
    model.save_pretrained(tmp_path)
    loaded = Bert4RecForMaskedLM.from_pretrained(tmp_path)
    assert loaded.get_input_embeddings()._kept is None
    assert_close(loaded.score(HISTORY), model.score(HISTORY))


def test_wide_lists_of_values_are_pooled_as_narrow_ones():
    generator = torch.Generator().manual_seed(0)
    table = torch.randint(1, 40, (60, 100), generator=generator, dtype=torch.int32)
    table *= torch.rand(60, 100, generator=generator) < torch.linspace(0, 0.3, 60)[:, None]
    table[3] = 0
    feature = {"name": "keyword", "num_values": 40, "max_values": 100}
    embeddings = Bert4RecItemEmbeddings(Bert4RecConfig(vocab_size=60, hidden_size=8, item_features=[feature]))
    embeddings.item_features.copy_(table)
    weight = embeddings.feature_embeddings[0].weight
    expected = [weight[row[row > 0]].mean(0) if row.any() else torch.zeros(8) for row in table.long()]
    expected = embeddings.weight + torch.stack(expected)
    assert_close(embeddings(), expected)
    assert_close(embeddings(torch.tensor([[5, 59]])), expected[[5, 59]][None])
    (embeddings() ** 2).sum().backward()
    gradient, weight.grad = weight.grad, None
    (expected**2).sum().backward()
    assert_close(weight.grad[1:], gradient[1:])


def test_look_ups_with_and_without_it_agree(model):
    embeddings, ids = model.get_input_embeddings(), torch.tensor([[5, 1, 0], [20, 2, 52]])
    with torch.no_grad():
        before = embeddings(ids)
        model.score(HISTORY)
        assert embeddings.kept(embeddings.weight) is not None
        assert_close(embeddings(ids), before)
