# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
import copy
import json
import math

import pytest
import torch
from helpers import TRACES, labels_for, make_model, pad_left
from huggingface_hub.errors import StrictDataclassError
from torch.testing import assert_close

from bert4rec_hf import (
    Bert4RecConfig,
    Bert4RecForMaskedLM,
    Bert4RecModel,
    Bert4RecPreTrainedModel,
    DataCollatorForItemMasking,
)
from bert4rec_hf.model.layers_bert4rec import (
    Bert4RecDropout,
    apply_rotary_position_embeddings,
    positions_from_the_newest,
    rotary_position_embeddings,
)


def test_output_layer_is_the_item_embedding_after_save_and_load(model, tmp_path, inputs):
    model.save_pretrained(tmp_path)
    loaded = Bert4RecForMaskedLM.from_pretrained(tmp_path)
    assert loaded.decoder.weight.data_ptr() == loaded.get_input_embeddings().weight.data_ptr()
    assert torch.equal(loaded.score(**inputs), model.score(**inputs))
    assert torch.equal(loaded.get_input_embeddings().item_features, model.get_input_embeddings().item_features)


@pytest.mark.parametrize("tied", [False, True])
def test_initial_weights_of_layers_keep_the_variance_and_embeddings_have_their_range(config, tied):
    config.tie_word_embeddings, config.initializer_range = tied, 0.05
    model = Bert4RecForMaskedLM(config)
    layers = [module for module in model.model.modules() if isinstance(module, torch.nn.Linear)]
    assert len(layers) == 5 * config.num_hidden_layers
    for layer in layers:
        # transformers' lecun_normal_ widens by 1 / 0.88 for a truncation that it then does not make
        assert 0.9 < layer.weight.std().item() * layer.in_features**0.5 < 1.25
    for embedding in (model.get_input_embeddings(), model.decoder):
        assert_close(embedding.weight.std().item(), 0.05, atol=0.005, rtol=0)


def test_output_layer_is_its_own_when_not_tied(config):
    config.tie_word_embeddings = False
    model = Bert4RecForMaskedLM(config)
    assert model.decoder.weight.data_ptr() != model.get_input_embeddings().weight.data_ptr()


def test_base_model_loads_from_the_checkpoint_of_the_whole_one(model, tmp_path, inputs):
    model.save_pretrained(tmp_path)
    base = Bert4RecModel.from_pretrained(tmp_path).eval()
    assert torch.equal(base(**inputs).last_hidden_state, model.model(**inputs).last_hidden_state)


@pytest.mark.parametrize("implementation", ["sdpa", "flex_attention"])
@pytest.mark.parametrize("is_causal", [False, True])
def test_attention_implementations_agree(config, inputs, implementation, is_causal):
    config.is_causal = is_causal
    model = Bert4RecForMaskedLM(config).eval()
    other = copy.deepcopy(model)
    model.set_attn_implementation("eager")
    other.set_attn_implementation(implementation)
    assert_close(other.score(**inputs), model.score(**inputs), atol=1e-5, rtol=0)
    for padded in (inputs, pad_left(inputs)):
        with torch.no_grad():
            states = [each.model(**padded).last_hidden_state[padded["input_ids"] != 0] for each in (model, other)]
        assert_close(*states, atol=1e-5, rtol=0)


POSITIONS = pytest.mark.parametrize("positions", ["rope", "absolute"])


@POSITIONS
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("norm_first", [False, True])
def test_recommendations_depend_neither_on_padding_nor_on_the_rest_of_the_batch(
    config, inputs, norm_first, is_causal, positions
):
    config.norm_first, config.is_causal, config.position_embedding_type = norm_first, is_causal, positions
    model = Bert4RecForMaskedLM(config).eval()
    together = model.score(**inputs)
    assert_close(model.score(**pad_left(inputs)), together, atol=1e-5, rtol=0)
    assert_close(model.score(**pad_left(inputs, more=3)), together, atol=1e-5, rtol=0)
    for row, length in enumerate(inputs["attention_mask"].sum(1).tolist()):
        alone = {name: values[row : row + 1] for name, values in inputs.items()}
        alone["input_ids"], alone["attention_mask"] = alone["input_ids"][:, :length], None
        assert_close(model.score(**alone)[0], together[row], atol=1e-5, rtol=0)


@pytest.mark.parametrize("is_causal", [False, True])
def test_hidden_states_do_not_depend_on_padding(config, inputs, is_causal):
    config.is_causal = is_causal
    model = Bert4RecForMaskedLM(config).eval()
    right = model.model(**inputs).last_hidden_state
    left = model.model(**pad_left(inputs)).last_hidden_state
    assert_close(left[1, 3:], right[1, :5], atol=1e-5, rtol=0)


@pytest.mark.parametrize("is_causal", [False, True])
def test_loss_does_not_depend_on_padding(config, inputs, is_causal):
    config.is_causal = is_causal
    model = Bert4RecForMaskedLM(config).eval()
    labels = labels_for(inputs)
    loss = model(**inputs, labels=labels).loss
    moved = torch.full_like(labels, -100)
    moved[0], moved[1, 3:] = labels[0], labels[1, :5]
    assert_close(model(**pad_left(inputs), labels=moved).loss, loss)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("is_causal", [False, True])
@POSITIONS
def test_training_and_serving_see_the_same_state_at_the_last_item(
    config, processor, positions, is_causal, implementation
):
    config.is_causal, config.position_embedding_type = is_causal, positions
    model = Bert4RecForMaskedLM(config).eval()
    model.set_attn_implementation(implementation)
    only_last = {"mlm": False, "mlm_probability": 0} if is_causal else {"last_item_probability": 1.0}
    collator = DataCollatorForItemMasking(processor, empty_history_probability=0, max_length=12, **only_last)
    rows = [{"input_ids": list(range(3, 3 + n)), "user_features": [1, 2], "row": n} for n in (30, 13, 12, 4, 2, 1)]
    batch = collator(rows)
    last = batch.pop("labels") != -100
    last &= last.flip(1).cumsum(1).flip(1) == 1  # of a causal model all positions are labelled
    logits = model(**batch).logits[last].clone()
    logits[:, :3] = -torch.inf
    for row, trained in zip(rows, logits.log_softmax(-1)):
        history = torch.tensor([row["input_ids"][:-1]], dtype=torch.long)
        served = model.score(history, user_features=torch.tensor([[1, 2]]))[0]
        assert_close(served, trained, atol=1e-5, rtol=0)


@pytest.mark.parametrize("is_causal, seen", [(False, 11), (True, 12)])
def test_the_encoder_sees_the_newest_items_of_a_long_history(config, is_causal, seen):
    config.is_causal = is_causal
    model = Bert4RecForMaskedLM(config).eval()
    history = torch.arange(3, 33)[None]
    assert torch.equal(model.score(history), model.score(history[:, -seen:]))
    assert not torch.equal(model.score(history), model.score(history[:, 1 - seen :]))


def test_a_causal_model_looks_back_only(config):
    config.is_causal = True
    model = Bert4RecForMaskedLM(config).eval()
    one, other = torch.tensor([[5, 6, 7, 8, 9, 10]]), torch.tensor([[5, 6, 7, 20, 21, 22]])
    states = [model.model(input_ids).last_hidden_state for input_ids in (one, other)]
    assert_close(states[0][:, :3], states[1][:, :3])
    assert not torch.allclose(states[0][:, 3:], states[1][:, 3:])


def test_rotary_position_embeddings_turn_pairs_by_hand():
    config = Bert4RecConfig(hidden_size=8, num_attention_heads=2, rope_theta=100.0)
    embeddings = rotary_position_embeddings(config, torch.tensor([[0, 3]]))
    states = torch.tensor([1.0, 2.0, 3.0, 4.0]).expand(1, 2, 2, 4)
    turned = apply_rotary_position_embeddings(states, embeddings)
    expected = [0.0] * 4
    for pair, angle in enumerate((3.0, 0.3)):  # the second pair turns 100 ** 0.5 times as slowly
        first, second = 1.0 + 2 * pair, 2.0 + 2 * pair
        expected[2 * pair] = first * math.cos(angle) - second * math.sin(angle)
        expected[2 * pair + 1] = first * math.sin(angle) + second * math.cos(angle)
    assert_close(turned[0, 0], states[0, 0])
    assert_close(turned[0, 1], torch.tensor([expected, expected]))


@pytest.mark.parametrize("positions, alike", [("rope", True), ("absolute", False)])
def test_rotary_position_embeddings_know_distances_and_order_only(config, inputs, positions, alike):
    config.position_embedding_type = positions
    model = Bert4RecModel(config).eval()
    ids = torch.arange(8)[None]
    states = [model(**inputs, position_ids=each)[0][:2] for each in (ids, ids + 4, ids.flip(1), ids * 0)]
    assert torch.allclose(states[1], states[0], atol=1e-4) == alike
    assert not torch.allclose(states[2], states[0], atol=1e-2)
    assert not torch.allclose(states[3], states[0], atol=1e-2)


@pytest.mark.parametrize("is_causal", [False, True])
def test_states_of_some_positions_are_those_of_all(config, inputs, is_causal):
    config.is_causal = is_causal
    model = Bert4RecForMaskedLM(config).eval()
    positions = torch.tensor([[3, 0, 7], [4, 2, 1], [0, 0, 0]])
    for padded in (inputs, pad_left(inputs)):
        every = model.model(**padded).last_hidden_state
        some = model.model(**padded, output_positions=positions).last_hidden_state
        there = padded["attention_mask"].gather(1, positions).bool()
        assert_close(some[there], torch.stack([row[p] for row, p in zip(every, positions)])[there])


def test_special_tokens_are_never_scored(model, inputs):
    scores = model.score(**inputs)
    assert scores[:, :3].isneginf().all()
    assert_close(scores[:, 3:].exp().sum(1), torch.ones(3))
    assert model.recommend(**inputs, k=50).item_ids.min() == 3


def test_seen_items_are_left_out_only_on_request_and_of_the_whole_history(model):
    history = torch.arange(3, 43)[None]  # longer than the encoder sees
    assert set(model.recommend(history, k=50).item_ids[0].tolist()) == set(range(3, 53))
    unseen = model.recommend(history, k=10, exclude_seen=True).item_ids[0].tolist()
    assert sorted(unseen) == list(range(43, 53))


def test_ids_under_padding_are_not_seen(model):
    history, attention_mask = torch.tensor([[5, 6, 7]]), torch.tensor([[1, 1, 0]])
    recommended = model.recommend(history, attention_mask, k=48, exclude_seen=True).item_ids[0].tolist()
    assert 7 in recommended and 5 not in recommended


def test_candidates_are_the_only_items_recommended(model, inputs):
    one_list = model.recommend(**inputs, k=2, candidate_ids=torch.tensor([9, 20, 9]))
    assert {tuple(sorted(row)) for row in one_list.item_ids.tolist()} == {(9, 20)}
    each = torch.tensor([[4, 5], [6, 7], [8, 9]])
    assert torch.equal(model.recommend(**inputs, k=2, candidate_ids=each).item_ids.sort().values, each)


@pytest.mark.parametrize(
    "k, limits", [(51, {}), (0, {}), (48, {"exclude_seen": True}), (3, {"candidate_ids": [4, 5]})]
)
def test_k_beyond_the_recommendable_items_is_an_error(model, k, limits):
    limits = {name: torch.tensor(value) if name == "candidate_ids" else value for name, value in limits.items()}
    with pytest.raises(ValueError, match=f"k is {k}"):
        model.recommend(torch.tensor([[3, 4, 5]]), k=k, **limits)


def test_scores_are_the_log_probabilities_of_the_items(model, inputs):
    recommended = model.recommend(**inputs, k=5)
    assert_close(recommended.scores, model.score(**inputs).gather(1, recommended.item_ids))
    assert (recommended.scores.diff(dim=1) <= 0).all()


def test_item_embedding_is_id_plus_the_mean_of_each_feature(model):
    embeddings = model.get_input_embeddings()
    genre, keyword = (bag.weight for bag in embeddings.feature_embeddings)
    item = 3 + 5  # "i5": genre 2, keywords 2 and 3
    expected = embeddings.weight[item] + genre[2] + (keyword[2] + keyword[3]) / 2
    assert_close(embeddings(torch.tensor([item]))[0], expected)
    assert_close(embeddings(torch.tensor([3]))[0], embeddings.weight[3] + genre[1])  # "i0" has no keyword
    many = torch.arange(53).repeat(2)  # more positions than items: pooled by item
    assert_close(embeddings(many)[item], expected)


def test_special_tokens_have_no_features(model):
    embeddings = model.get_input_embeddings()
    assert_close(embeddings(torch.tensor([0, 1, 2])), embeddings.weight[:3])


def test_missing_user_features_add_nothing(model, inputs):
    nothing = {**inputs, "user_features": torch.zeros(3, 2, dtype=torch.long)}
    assert torch.equal(model.score(**nothing), model.score(inputs["input_ids"], inputs["attention_mask"]))
    assert not torch.equal(model.score(**inputs), model.score(**nothing))


def test_features_reach_the_output_layer_when_asked_for(config, processor, inputs):
    config.head_item_features = True
    model = Bert4RecForMaskedLM(config).eval()
    no_history = torch.zeros(1, 0, dtype=torch.long)
    before = model.score(no_history)
    model.set_item_features(processor.item_features())
    after = model.score(no_history)
    assert not torch.allclose(before, after)
    model(**inputs, labels=labels_for(inputs)).loss.backward()
    assert all(bag.weight.grad.abs().sum() > 0 for bag in model.get_input_embeddings().feature_embeddings)


@pytest.mark.parametrize("wrong", [torch.zeros(53, 3), torch.full((53, 4), 9), torch.full((53, 4), -1)])
def test_item_features_that_do_not_fit_are_refused(model, wrong):
    with pytest.raises(ValueError, match="item.features?"):
        model.set_item_features(wrong)


def test_loss_is_the_cross_entropy_at_the_labelled_positions(model, inputs):
    labels = labels_for(inputs)
    logits = model(**inputs).logits
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
    output = model(**inputs, labels=labels)
    assert_close(output.loss, expected)
    assert_close(output.logits, logits)
    assert model.train()(**inputs, labels=labels).logits is None  # in training they would take too much
    model.eval()
    parameters = list(model.parameters())
    for mine, reference in zip(
        torch.autograd.grad(output.loss, parameters), torch.autograd.grad(expected, parameters)
    ):
        assert_close(mine, reference, atol=1e-6, rtol=1e-4)


def test_loss_is_divided_by_num_items_in_batch(model, inputs):
    labels = labels_for(inputs)
    mean = model(**inputs, labels=labels).loss
    assert_close(model(**inputs, labels=labels, num_items_in_batch=100).loss, mean * (labels != -100).sum() / 100)


def test_a_batch_without_labels_has_a_loss_of_zero(model, inputs):
    loss = model(**inputs, labels=torch.full_like(inputs["input_ids"], -100)).loss
    loss.backward()
    assert loss == 0


def test_gradient_checkpointing_gives_the_same_gradients(model, inputs):
    """With dropout: the forward that is done again draws the same."""
    labels = labels_for(inputs)
    model.train()
    torch.manual_seed(0)
    plain = torch.autograd.grad(model(**inputs, labels=labels).loss, list(model.parameters()))
    torch.manual_seed(1)
    other = torch.autograd.grad(model(**inputs, labels=labels).loss, list(model.parameters()))
    assert not torch.allclose(plain[0], other[0], atol=1e-4)
    model.gradient_checkpointing_enable()  # the name that all versions know
    torch.manual_seed(0)
    model(**inputs, labels=labels).loss.backward()
    for parameter, gradient in zip(model.parameters(), plain):
        assert_close(parameter.grad, gradient, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("size", [60, 40])
def test_resizing_keeps_tie_bias_features_and_vocab_size_right(model, size):
    kept = min(size, 53)
    weight, bias = model.decoder.weight[:kept].clone(), model.decoder.bias[:kept].clone()
    features = model.get_input_embeddings().item_features[:kept].clone()
    model.resize_token_embeddings(size)
    embeddings = model.get_input_embeddings()
    assert model.config.vocab_size == embeddings.num_embeddings == model.decoder.out_features == size
    assert model.decoder.weight.data_ptr() == embeddings.weight.data_ptr()
    assert torch.equal(model.decoder.weight[:kept], weight) and torch.equal(model.decoder.bias[:kept], bias)
    assert embeddings.item_features.shape == (size, 4)
    assert torch.equal(embeddings.item_features[:kept], features) and not embeddings.item_features[kept:].any()
    assert model.score(torch.tensor([[3, 4]])).shape == (1, size)


def test_resized_model_survives_save_and_load(model, tmp_path):
    model.resize_token_embeddings(60)
    model.save_pretrained(tmp_path)
    history = torch.tensor([[3, 4]])
    assert_close(Bert4RecForMaskedLM.from_pretrained(tmp_path).score(history), model.score(history))


def test_hidden_states_and_attentions_come_on_request(model, inputs):
    model.set_attn_implementation("eager")
    output = model(**inputs, output_hidden_states=True, output_attentions=True)
    assert len(output.hidden_states) == 3 and output.hidden_states[0].shape == (3, 8, 32)
    assert len(output.attentions) == 2 and output.attentions[0].shape == (3, 2, 8, 8)
    assert model(**inputs).hidden_states is None
    assert len(model(**inputs, return_dict=False)) == 1


def test_inputs_embeds_stand_for_input_ids(model, inputs):
    embeds = model.get_input_embeddings()(inputs["input_ids"])
    given = model(**{**inputs, "input_ids": None}, inputs_embeds=embeds).logits
    assert torch.equal(given, model(**inputs).logits)


def test_bf16_is_close(model, inputs):
    scores = model.score(**inputs)
    close = copy.deepcopy(model).to(torch.bfloat16).score(**inputs)
    assert close.dtype == torch.float32
    assert (close[:, 3:] - scores[:, 3:]).abs().mean() < 0.1
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(**inputs, labels=labels_for(inputs)).loss
    loss.backward()
    assert_close(loss, model(**inputs, labels=labels_for(inputs)).loss, atol=0.1, rtol=0.05)


@TRACES
def test_compiled_model_gives_the_same(model, inputs):
    compiled = torch.compile(model.model, backend="aot_eager", fullgraph=True)
    assert_close(compiled(**inputs).last_hidden_state, model.model(**inputs).last_hidden_state, atol=1e-5, rtol=0)


def test_dropout_keeps_each_value_by_chance_and_the_mean():
    """Shares and correlations within five standard deviations of what independent draws would give."""
    torch.manual_seed(0)
    for p in (0.1, 0.5, 0.9):
        dropout, ones = Bert4RecDropout(p), torch.ones(2001, 499)
        once, twice = dropout(ones), dropout(ones)
        n, kept = ones.numel(), round(p * 2**16) / 2**16
        assert {*once.unique().tolist()} == {0.0, once.max().item()}
        assert_close(once.max().item(), 1 / (1 - kept), rtol=1e-6, atol=0)
        zero = once == 0
        assert abs(zero.float().mean() - p) < 5 * (p * (1 - p) / n) ** 0.5
        for other in (twice == 0, zero.roll(1, 1), zero.roll(4, 1), zero.roll(1, 0)):  # 4: values of the next draw
            both = torch.corrcoef(torch.stack([zero.flatten(), other.flatten()]).float())[0, 1]
            assert abs(both) < 5 / n**0.5
        assert zero.float().mean(0).std() < 1.2 * (p * (1 - p) / len(ones)) ** 0.5  # no column is favoured


def test_dropout_has_its_seed_its_residual_its_gradient_and_an_end():
    dropout, states, residual = Bert4RecDropout(0.3), torch.randn(3, 5, 7, requires_grad=True), torch.randn(3, 5, 7)
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        drawn.append(dropout(states, residual))
    assert torch.equal(*drawn)
    scale = ((drawn[0] - residual) / states).detach()
    drawn[0].sum().backward()
    assert_close(states.grad, scale, atol=1e-4, rtol=1e-4)
    assert torch.equal(dropout.eval()(states, residual), residual + states)
    assert torch.equal(Bert4RecDropout(0.0)(states), states)
    assert dropout.train()(states.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize(
    "attention, norm_first", [("eager", False), ("sdpa", True), pytest.param("flex_attention", False, marks=TRACES)]
)
@torch.no_grad()
def test_the_last_layer_at_some_positions_is_the_whole_at_these_positions(processor, inputs, attention, norm_first):
    model = make_model(processor, norm_first=norm_first, initializer_range=0.3).eval()
    model.set_attn_implementation(attention)
    positions = torch.tensor([[0, 7, 3], [4, 0, 4], [1, 1, 0]])
    whole = model.model(**inputs)[0]
    some = model.model(**inputs, output_positions=positions)[0]
    assert_close(some, torch.stack([row[place] for row, place in zip(whole, positions)]), atol=1e-5, rtol=1e-5)
    ready = torch.zeros(3, 1, 8, 8).masked_fill(inputs["attention_mask"][:, None, None] == 0, -torch.inf)
    if attention == "sdpa":
        position_ids = positions_from_the_newest(inputs["attention_mask"])
        given = {**inputs, "attention_mask": ready.clamp(min=-1e9), "position_ids": position_ids}
        ready = model.model(**given, output_positions=positions)[0]
        assert_close(ready[:2], some[:2], atol=1e-5, rtol=1e-5)  # the third has nothing to attend to


def test_recorded_states_are_those_of_all_positions(model, inputs):
    labels = labels_for(inputs)
    outputs = model(**inputs, labels=labels, output_hidden_states=True)
    assert [states.shape for states in outputs.hidden_states] == [(3, 8, 32)] * 3
    assert_close(outputs.loss, model(**inputs, labels=labels).loss)


class Rater(Bert4RecPreTrainedModel):
    """Somebody's own head on the encoder."""

    def __init__(self, config):
        super().__init__(config)
        self.model = Bert4RecModel(config)
        self.rating = torch.nn.Linear(config.hidden_size, 1)
        self.post_init()


def test_another_head_can_be_put_on_the_encoder_but_the_encoder_must_be_whole(model, inputs, tmp_path):
    model.save_pretrained(tmp_path / "whole")
    rater = Rater.from_pretrained(tmp_path / "whole")
    assert torch.equal(rater.model(**inputs)[0], model.model(**inputs)[0])
    rater.save_pretrained(tmp_path / "rater")
    assert torch.equal(Rater.from_pretrained(tmp_path / "rater").rating.weight, rater.rating.weight)
    for other in (Bert4RecModel, Bert4RecForMaskedLM):
        encoder = other.from_pretrained(tmp_path / "rater").base_model
        assert torch.equal(encoder(**inputs)[0], model.model(**inputs)[0])
    for layers, how in ((3, "missing"), (1, "unexpected")):
        config = json.loads((tmp_path / "rater" / "config.json").read_text())
        (tmp_path / "rater" / "config.json").write_text(json.dumps({**config, "num_hidden_layers": layers}))
        for other in (Rater, Bert4RecModel, Bert4RecForMaskedLM):
            with pytest.raises(ValueError, match=how):
                other.from_pretrained(tmp_path / "rater")


def test_too_long_a_sequence_is_refused(model):
    with pytest.raises(ValueError, match="13 positions, the model 12"):
        model(torch.arange(3, 16)[None])


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"hidden_size": 30, "num_attention_heads": 4}, "multiple of num_attention_heads"),
        ({"hidden_size": 30, "num_attention_heads": 6}, "need an even number"),
        ({"position_embedding_type": "sine"}, "one of rope, absolute"),
        ({"rope_theta": 1.0}, "rope_theta is 1.0"),
        ({"max_position_embeddings": 1}, "max_position_embeddings is 1"),
        ({"hidden_dropout_prob": 1.5}, "hidden_dropout_prob"),
        ({"item_features": [{"name": "genre"}]}, "item feature"),
        ({"user_features": [{"name": "age"}]}, "user feature"),
    ],
)
def test_config_refuses_what_does_not_fit(wrong, words):
    with pytest.raises(StrictDataclassError, match=words):
        Bert4RecConfig(**wrong)


def test_features_in_the_head_of_a_model_without_features_change_nothing():
    model = Bert4RecForMaskedLM(Bert4RecConfig(vocab_size=20, head_item_features=True)).eval()
    assert model.output_layer()[0] is model.decoder.weight
    assert torch.isfinite(model.recommend(torch.tensor([[4, 5]]), k=3).scores).all()


def test_config_survives_save_and_load(config, tmp_path):
    config.save_pretrained(tmp_path)
    assert Bert4RecConfig.from_pretrained(tmp_path).to_dict() == config.to_dict()
