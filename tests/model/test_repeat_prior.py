# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""The mixture of the softmax and the user's own history."""

import math

import pytest
import torch
from helpers import labels_for, make_arguments, make_model, pad_left
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from bert4rec_hf import (
    Bert4RecEnsembleForMaskedLM,
    Bert4RecModel,
    Bert4RecTrainer,
    DataCollatorForItemMasking,
    DataError,
    Teacher,
)
from bert4rec_hf.model.layers_bert4rec import add_history


CAUSAL = pytest.mark.parametrize("is_causal", [False, True])


def make(processor, is_causal=False, fixed=None, **kwargs):
    """A model with a prior: of the same events and decay for all if `fixed`, otherwise by the state."""
    model = make_model(processor, is_causal=is_causal, repeat_prior=True, **kwargs).eval()
    torch.nn.init.normal_(model.decoder.bias)
    layer = model.repeat_prior.proj
    if fixed is None:
        torch.nn.init.normal_(layer.weight)
    else:
        events, decay = fixed
        layer.bias.data = torch.tensor([math.log(events), decay])
    return model


def softmax_of(model, **inputs):
    """The scores of the same model without the prior."""
    prior, model.repeat_prior = model.repeat_prior, None
    scores = model.score(**inputs)
    model.repeat_prior = prior
    return scores


@CAUSAL
def test_a_mixture_by_hand(processor, is_causal):
    model = make(processor, is_causal, fixed=(3.0, 1.0))
    history = torch.tensor([[5, 9, 5, 2, 7]])  # 2 is UNK: no item, and nevertheless an event
    plain = softmax_of(model, input_ids=history).exp()[0]
    weights = {5: 1 / 5 + 1 / 3, 9: 1 / 4, 7: 1.0}
    for item, probability in enumerate(model.score(history).exp()[0].tolist()):
        expected = (3 * plain[item].item() + weights.get(item, 0)) / (3 + sum(weights.values()))
        assert probability == pytest.approx(expected, rel=1e-5)
    model = make(processor, is_causal, fixed=(1.0, 0.0))  # where it starts: by count, and the softmax is one event
    plain = softmax_of(model, input_ids=history).exp()[0]
    assert model.score(history).exp()[0, 5].item() == pytest.approx((plain[5].item() + 2) / 5, rel=1e-5)
    assert make_model(processor, repeat_prior=True).repeat_prior.proj.weight.abs().max() == 0


@CAUSAL
def test_scores_are_log_probabilities_and_without_history_the_softmax(processor, inputs, is_causal):
    model = make(processor, is_causal)
    scores = model.score(**inputs)
    assert_close(scores.exp().sum(1), torch.ones(3))
    assert scores[:, :3].isneginf().all() and scores[:, 3:].isfinite().all()
    plain = softmax_of(model, **inputs)
    assert_close(scores[2], plain[2])  # no history
    assert not torch.allclose(scores[:2], plain[:2])
    model(**inputs, labels=labels_for(inputs).index_fill(1, torch.tensor([0]), 7)).loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    assert (model.repeat_prior.proj.weight.grad.abs().sum(1) > 0).all()


@CAUSAL
def test_the_loss_is_of_the_logits(processor, inputs, is_causal):
    model = make(processor, is_causal)
    labels = labels_for(inputs)
    logits = model(**inputs).logits
    assert_close(logits.exp().sum(-1), torch.ones(3, 8))
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
    assert_close(model(**inputs, labels=labels).loss, expected)
    assert_close(model(**inputs, labels=labels, output_hidden_states=True).loss, expected)


@CAUSAL
def test_neither_the_target_nor_what_comes_after_it_counts(processor, is_causal):
    """A target that stays in the input (BERT's 10%), and a causal model's later items."""
    model = make(processor, is_causal, fixed=(1.0, 0.0))
    row = torch.tensor([[5, 6, 7, 8]])
    places = torch.tensor([2])
    items, ages = model.histories_at(row, places=places)
    assert items.tolist() == row.tolist()
    assert ages.tolist() == [[3, 2, 1, 0]] if is_causal else [[2, 1, 0, 1]]
    masked = torch.tensor([[5, 1, 0, 2]])
    mask = torch.tensor([[1, 1, 1, 0]])
    assert model.histories_at(masked, mask, places=torch.tensor([1]))[1].tolist() == [[2 if is_causal else 1, 0, 0, 0]]
    with torch.no_grad():
        alone = {"input_ids": row, "labels": torch.tensor([[-100, -100, 20, -100]])}
        before = model(**alone).loss
        # Not in the history, of three events, so that only the softmax gives it any chance.
        state = model.model(row).last_hidden_state[0, 2]
        assert_close(before, -(model.project(state).log_softmax(-1)[20] + math.log(1 / 4)))


@CAUSAL
def test_where_nothing_repeats_the_rest_of_the_model_learns_what_it_would_without(processor, is_causal):
    model = make(processor, is_causal)
    row, labels = torch.tensor([[5, 6, 7, 8]]), torch.tensor([[20, -100, 19, 18]])

    def gradients():
        model.zero_grad()
        model(input_ids=row, labels=labels).loss.backward()
        return {name: p.grad for name, p in model.named_parameters() if p.grad is not None and "prior" not in name}

    with_prior, softmax = gradients(), softmax_of(model, input_ids=row)[0]
    lead = model.score(row)[0] - softmax
    assert_close(lead[10:], lead[10].expand(len(lead) - 10))  # and what is new keeps its order
    model.repeat_prior = None
    without = gradients()
    assert len(without) > 10
    assert_close(with_prior, without)


@CAUSAL
def test_neither_padding_nor_the_rest_of_a_batch_changes_anything(processor, inputs, is_causal):
    model = make(processor, is_causal)
    scores, labels = model.score(**inputs), labels_for(inputs)
    assert_close(model.score(**pad_left(inputs, more=3)), scores)
    for row in range(3):
        assert_close(model.score(**{name: values[row : row + 1] for name, values in inputs.items()})[0], scores[row])
    moved = torch.full_like(labels, -100)
    moved[0], moved[1, 3:] = labels[0], labels[1, :5]
    assert_close(model(**pad_left(inputs), labels=moved).loss, model(**inputs, labels=labels).loss)


@CAUSAL
def test_training_and_serving_mix_alike(processor, is_causal):
    model = make(processor, is_causal)
    only_last = {"mlm": False, "mlm_probability": 0} if is_causal else {"last_item_probability": 1.0}
    collator = DataCollatorForItemMasking(processor, empty_history_probability=0, max_length=12, **only_last)
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randint(3, 9, (n,), generator=generator).tolist() for n in (12, 7, 4, 2, 1)]
    batch = collator([{"input_ids": row, "user_features": [1, 2], "row": n} for n, row in enumerate(rows)])
    last = batch.pop("labels") != -100
    last &= last.flip(1).cumsum(1).flip(1) == 1
    states = model.model(**batch).last_hidden_state[last]
    places = last.flatten().nonzero()[:, 0]
    trained = model.log_probabilities(
        states, *model.histories_at(batch["input_ids"], batch["attention_mask"], places=places)
    )
    for row, expected in zip(rows, trained):
        history = torch.tensor([row[:-1]], dtype=torch.long)
        assert_close(model.score(history, user_features=torch.tensor([[1, 2]]))[0], expected)


def test_the_prior_sees_the_whole_of_a_history_longer_than_the_encoder_does(processor):
    model = make(processor, fixed=(1.0, 0.0))
    long = torch.tensor([[5] * 20 + [7] * 20])
    assert (model.score(long).exp()[0, [5, 7]] > 0.48).all()


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(st.tuples(st.integers(0, 4), st.floats(0, 1)), min_size=6, max_size=6), min_size=1, max_size=4)
)
def test_events_of_an_item_add_up(rows):
    items = torch.tensor([[item for item, _ in row] for row in rows])
    shares = torch.tensor([[share for _, share in row] for row in rows])
    mixed = add_history(torch.full(items.shape, -2.0), items, shares).exp()
    for row in range(len(rows)):
        for column in range(6):
            total = shares[row][items[row] == items[row, column]].sum()
            assert_close(mixed[row, column], math.exp(-2) + total)


def test_saved_and_loaded_it_is_the_same_and_its_encoder_loads(processor, inputs, tmp_path):
    model = make(processor)
    model.save_pretrained(tmp_path)
    assert torch.equal(type(model).from_pretrained(tmp_path).score(**inputs), model.score(**inputs))
    encoder = Bert4RecModel.from_pretrained(tmp_path)
    assert torch.equal(encoder(**inputs)[0], model.model(**inputs)[0])


def test_members_with_and_without_it_vote(processor, inputs):
    members = [make(processor), make_model(processor).eval(), make(processor, is_causal=True)]
    ensemble = Bert4RecEnsembleForMaskedLM.from_members(members, processor)
    mean = torch.stack([member.score(**inputs).exp() for member in members]).mean(0)
    assert_close(ensemble.score(**inputs).exp(), mean)


def test_what_does_not_go_with_it_is_refused(processor, tmp_path):
    with pytest.raises(Exception, match="repeat_prior needs the loss cross_entropy, not gbce"):
        make(processor, loss="gbce")
    model = make(processor)
    with pytest.raises(ValueError, match="needs input_ids"):
        model(inputs_embeds=torch.zeros(1, 2, 16))
    with pytest.raises(DataError, match="no teacher"):
        arguments = make_arguments(tmp_path)
        teacher = Teacher(make_model(processor), processor, processor, 16)
        Bert4RecTrainer(make(processor), arguments, processing_class=processor, teacher=teacher)


@CAUSAL
@pytest.mark.parametrize("repeats", [False, True])
def test_several_items_are_predicted_at_one_position(processor, inputs, repeats, is_causal):
    model = make_model(processor, is_causal=is_causal, repeat_prior=repeats).eval()
    labels, positions = (
        torch.tensor([[5, 9, 9], [7, -100, -100], [-100] * 3]),
        torch.tensor([[7, 7, 3], [2, 0, 0], [0] * 3]),
    )
    log_probs = model(**inputs).logits.log_softmax(-1)
    expected = -(2 * log_probs[0, 7, [5, 9]].mean() + log_probs[0, 3, 9] + log_probs[1, 2, 7]) / 4
    assert_close(model(**inputs, labels=labels, target_positions=positions).loss, expected)
