# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""The tools that every user of transformers reaches for: adapters, quantisers, offloading, exporters, compilers."""

import copy

import pytest
import torch
from helpers import TRACES, is_before, labels_for, make_arguments, make_collator, make_model, pad_left
from peft import LoraConfig, PeftModel, get_peft_model
from torch.testing import assert_close
from transformers import AutoModelForMaskedLM, Trainer

from bert4rec_hf import Bert4RecForMaskedLM, Bert4RecProcessor, encode_training


CAUSAL = pytest.mark.parametrize("is_causal", [False, True])
ENCODER = ["q_proj", "kv_proj", "out_proj", "up_proj", "down_proj"]


def adapted(model, target_modules, **kwargs):
    return get_peft_model(model, LoraConfig(target_modules=target_modules, r=4, init_lora_weights=False, **kwargs))


@CAUSAL
@pytest.mark.parametrize("target_modules", [ENCODER, "all-linear"])
@pytest.mark.parametrize("options", [{}, {"repeat_prior": True, "head_transform": True}])
def test_every_adapter_learns_and_merging_changes_nothing(processor, inputs, is_causal, target_modules, options):
    model = make_model(processor, is_causal=is_causal, **options)
    labels = labels_for(inputs)
    adapter = adapted(model, target_modules).train()
    adapter(**inputs, labels=labels).loss.backward()
    learning = {name: p for name, p in adapter.named_parameters() if p.requires_grad}
    assert len(learning) >= 2 * len(ENCODER) * model.config.num_hidden_layers
    assert [name for name, p in learning.items() if p.grad is None or not p.grad.abs().sum() > 0] == []
    adapter.eval()
    unmerged = adapter.get_base_model().score(**inputs)
    adapter.merge_adapter()
    assert_close(adapter.get_base_model().score(**inputs), unmerged, atol=1e-5, rtol=0)
    adapter.unmerge_adapter()
    assert_close(adapter.get_base_model().score(**inputs), unmerged, atol=1e-5, rtol=0)
    merged = adapter.merge_and_unload()
    assert_close(merged.score(**inputs), unmerged, atol=1e-5, rtol=0)
    assert not torch.allclose(make_model(processor, is_causal=is_causal, **options).eval().score(**inputs), unmerged)


def test_adapters_are_saved_and_loaded_and_trained_by_the_stock_trainer(interactions, fitted, tmp_path):
    processor = fitted[0]
    make_model(processor).save_pretrained(tmp_path / "base")
    adapter = adapted(Bert4RecForMaskedLM.from_pretrained(tmp_path / "base"), ENCODER)
    rows = encode_training(interactions, *fitted)
    arguments = make_arguments(tmp_path, max_steps=3, learning_rate=1e-2)
    Trainer(adapter, arguments, train_dataset=rows, data_collator=make_collator(processor)).train()
    adapter.save_pretrained(tmp_path / "adapter")
    history = torch.tensor([[5, 6, 7]])
    loaded = PeftModel.from_pretrained(AutoModelForMaskedLM.from_pretrained(tmp_path / "base"), tmp_path / "adapter")
    expected = adapter.eval().get_base_model().recommend(history, k=5)
    assert_close(loaded.recommend(history, k=5).scores, expected.scores)
    assert torch.equal(loaded.merge_and_unload().recommend(history, k=5).item_ids, expected.item_ids)


@pytest.mark.parametrize("target", ["item_embeddings", "decoder"])
def test_adapters_on_the_items_are_refused_plainly(model, inputs, target):
    adapter = adapted(copy.deepcopy(model), [target])
    with pytest.raises(ValueError, match="wraps the item embeddings or the output layer .* q_proj, kv_proj"):
        adapter(**inputs, labels=labels_for(inputs))
    with pytest.raises(ValueError, match="wraps the item embeddings or the output layer"):
        adapter.get_base_model().recommend(**inputs, k=3)


@CAUSAL
def test_dynamic_quantisation_runs_and_stays_close(processor, inputs, is_causal):
    model = make_model(processor, is_causal=is_causal, head_transform=True, repeat_prior=True).eval()
    quantised = torch.ao.quantization.quantize_dynamic(copy.deepcopy(model), {torch.nn.Linear}, dtype=torch.qint8)
    assert type(quantised.model.layers[0].mlp.up_proj) is not torch.nn.Linear
    scores, close = model.score(**inputs)[:, 3:], quantised.score(**inputs)[:, 3:]
    assert (scores - close).abs().max() < 0.1 * (scores.max() - scores.min())
    assert quantised.recommend(**inputs, k=3).item_ids.shape == (3, 3)


DEVICES = {
    "all": {"": "disk"},
    "layers": {
        **{"model.embeddings": "cpu", "model.layers.0": "disk", "model.layers.1": "disk", "model.final_norm": "cpu"},
        **{"head": "cpu", "decoder": "cpu"},
    },
    "embeddings": {
        "model.embeddings": "disk",
        "model.layers": "cpu",
        "model.final_norm": "cpu",
        "head": "cpu",
        "decoder": "disk",
    },
}


@pytest.mark.skipif(is_before("transformers", "5.15"), reason="ModernBert fails in the same cases")
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("devices", DEVICES.values(), ids=DEVICES)
def test_layers_and_embeddings_on_disk_recommend_alike(config, processor, inputs, tmp_path, devices, tied):
    config.tie_word_embeddings = tied
    model = Bert4RecForMaskedLM(config).eval()
    model.set_item_features(processor.item_features())
    model.save_pretrained(tmp_path / "model")
    offloaded = AutoModelForMaskedLM.from_pretrained(
        tmp_path / "model", device_map=devices, offload_folder=tmp_path / "offload"
    )
    for _ in range(2):
        recommended = offloaded.recommend(**inputs, k=3)
        assert torch.equal(recommended.item_ids, model.recommend(**inputs, k=3).item_ids)
    with torch.no_grad():
        assert_close(offloaded(**inputs).logits, model(**inputs).logits)


class Called(torch.nn.Module):
    """A module for the exporter: the logits of all positions, or the scores of what comes next."""

    def __init__(self, model, method):
        super().__init__()
        self.model, self.method = model, method

    def forward(self, input_ids, attention_mask, user_features):
        if self.method == "score":
            return self.model.score(input_ids, attention_mask, user_features)
        return self.model(input_ids, attention_mask, user_features=user_features).logits


@TRACES
@CAUSAL
@pytest.mark.parametrize("method", ["logits", "score"])
@pytest.mark.parametrize("options", [{}, {"position_embedding_type": "absolute", "norm_first": False}])
def test_exported_it_gives_the_same(processor, inputs, is_causal, method, options):
    """Logits for batches and lengths that the exporter has not seen, too."""
    module = Called(make_model(processor, is_causal=is_causal, initializer_range=0.3, **options).eval(), method)
    rows, width = torch.export.Dim("rows", min=2, max=64), torch.export.Dim("width", min=2, max=16)
    shapes = ({0: rows, 1: width}, {0: rows, 1: width}, {0: rows}) if method == "logits" else None
    given = tuple(inputs[name] for name in ("input_ids", "attention_mask", "user_features"))
    with torch.no_grad():
        exported = torch.export.export(module, given, dynamic_shapes=shapes)
        assert not [node for node in exported.graph.nodes if "complex" in str(node.target)]
        assert_close(exported.module()(*given), module(*given), atol=1e-5, rtol=1e-5)
        if method == "logits":
            given = tuple(values[:2, :5] for values in given)
            assert_close(exported.module()(*given), module(*given), atol=1e-5, rtol=1e-5)


# What a step with labels does outside of the graph, and why.
BREAKS_OF_THE_LOSS = {
    "check_objective": "a batch of the wrong kind is refused, which depends on what is in it",
    "select_targets": "the number of labels is known only once they are counted",
    "linear_cross_entropy": "torch warns there that it does not compile it, and falls back to eager",
}


@TRACES
@CAUSAL
@pytest.mark.parametrize("training", [False, True])
def test_the_graph_breaks_nowhere_for_logits_and_for_the_loss_where_it_must(processor, inputs, is_causal, training):
    model = make_model(processor, is_causal=is_causal).train(training)
    torch._dynamo.reset()
    explained = torch._dynamo.explain(lambda **given: model(**given))(**inputs)
    assert (explained.graph_count, explained.graph_break_count) == (1, 0)
    explained = torch._dynamo.explain(lambda **given: model(**given))(**inputs, labels=labels_for(inputs))
    for reason in explained.break_reasons:
        assert {frame.name for frame in reason.user_stack} & {*BREAKS_OF_THE_LOSS}, reason
    assert explained.graph_break_count <= 3


@TRACES
@CAUSAL
def test_compiled_it_trains_alike(processor, inputs, is_causal):
    model = make_model(processor, is_causal=is_causal, hidden_dropout_prob=0.0).train()
    compiled, labels = torch.compile(copy.deepcopy(model), backend="aot_eager"), labels_for(inputs)
    losses = [each(**inputs, labels=labels).loss for each in (model, compiled)]
    assert_close(*losses)
    for loss in losses:
        loss.backward()
    for one, other in zip(model.parameters(), compiled.parameters()):
        assert (one.grad is None) == (other.grad is None)
        assert one.grad is None or torch.allclose(one.grad, other.grad, atol=1e-5)


@CAUSAL
@pytest.mark.parametrize("options", [{}, {"repeat_prior": True}, {"loss": "gbce", "num_negatives": 9}])
def test_float64_works(processor, inputs, is_causal, options):
    model = make_model(processor, is_causal=is_causal, **options).eval()
    double = copy.deepcopy(model).double()
    for padded in (inputs, pad_left(inputs)):
        assert_close(double.score(**padded), model.score(**padded).double(), atol=1e-4, rtol=1e-4)
    assert torch.isfinite(double.train()(**inputs, labels=labels_for(inputs)).loss)


@pytest.mark.parametrize("loss", ["cross_entropy", "sampled_softmax", "gbce"])
def test_a_catalogue_of_one_item_trains_and_recommends(loss):
    model = make_model(Bert4RecProcessor({"item_ids": [7]}), loss=loss)
    assert model(torch.tensor([[1]]), labels=torch.tensor([[3]])).loss.isfinite()
    assert model.eval().recommend(torch.tensor([[3]]), k=1).item_ids.tolist() == [[3]]


@CAUSAL
def test_what_stands_at_padding_depends_on_nobody_else(config, inputs, is_causal):
    """Alone, with a row that is padded on the other side, and without a mask, which PAD then says."""
    config.is_causal = is_causal
    model = Bert4RecForMaskedLM(config).eval()
    whole = model.model(**inputs).last_hidden_state
    other_side = {name: torch.cat([values, values.flip(1)]) for name, values in inputs.items() if "feat" not in name}
    other_side["user_features"] = inputs["user_features"].repeat(2, 1)
    assert_close(model.model(**other_side).last_hidden_state[:3], whole, atol=1e-5, rtol=0)
    for row in range(3):
        alone = {name: values[row : row + 1] for name, values in inputs.items()}
        assert_close(model.model(**alone).last_hidden_state[0], whole[row], atol=1e-5, rtol=0)
    without = {name: values for name, values in inputs.items() if name != "attention_mask"}
    assert_close(model.model(**without).last_hidden_state, whole, atol=1e-5, rtol=0)
    assert_close(model(**without).logits, model(**inputs).logits, atol=1e-5, rtol=0)
