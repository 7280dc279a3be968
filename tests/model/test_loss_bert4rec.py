# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
import math

import numpy as np
import pytest
import torch
from helpers import make_arguments, make_collator, make_model
from torch.testing import assert_close

from bert4rec_hf import Bert4RecTrainer, add_items, encode_training, load_checkpoint
from bert4rec_hf.data.encoding import item_counts
from bert4rec_hf.model import loss_bert4rec
from bert4rec_hf.model.loss_bert4rec import (
    draw_negatives,
    gbce_beta,
    gbce_loss,
    linear_cross_entropy,
    sampled_softmax_loss,
)


SAMPLED = [
    {"loss": loss, "negative_sampling": sampling}
    for loss in ("sampled_softmax", "gbce")
    for sampling in ("uniform", "popularity", "in_batch")
]


def test_sampled_softmax_by_hand():
    """Two negatives of chances 1/4 and 1/2: they stand for 2 and 1 items."""
    positive, negative = torch.tensor([1.0, 0.0]), torch.tensor([[0.5, -1.0], [2.0, -torch.inf]])
    expected = math.log(math.exp(1) + 2 * math.exp(0.5) + math.exp(-1)) - 1 + math.log(1 + 2 * math.exp(2))
    loss = sampled_softmax_loss(positive, negative, torch.tensor([0.25, 0.5]).log())
    assert_close(loss, torch.tensor(expected))


@pytest.mark.parametrize("t, beta", [(0.0, 1.0), (1.0, 0.25), (0.5, 0.625)])
def test_gbce_by_hand(t, beta):
    """Two negatives of eight: a sampling rate of 1/4."""
    positive, negative = torch.tensor([0.3]), torch.tensor([[-0.2, 1.1]])
    sigmoid = [1 / (1 + math.exp(-x)) for x in (0.3, -0.2, 1.1)]
    expected = -(math.log(sigmoid[0] ** beta) + math.log(1 - sigmoid[1]) + math.log(1 - sigmoid[2])) / 3
    assert_close(gbce_loss(positive, negative, 0.25, t), torch.tensor(expected))


@pytest.mark.parametrize("sampling", ["uniform", "popularity", "in_batch"])
def test_negatives_are_drawn_with_the_chances_that_are_returned(sampling):
    torch.manual_seed(0)
    counts = torch.tensor([0, 0, 0, 1, 2, 3, 4, 10])
    labels = torch.repeat_interleave(torch.arange(8), counts)  # as often as they are counted
    item_ids, log_q = draw_negatives(labels, 200_000, sampling, counts)
    negatives = item_ids[20:]
    assert torch.equal(item_ids[:20], labels)
    shares = torch.bincount(negatives, minlength=8) / len(negatives)
    q = (counts > 0) / 5 if sampling == "uniform" else counts / 20
    assert_close(shares, q.float(), atol=0.004, rtol=0)
    assert_close(log_q.exp(), q[item_ids].float())


@pytest.mark.parametrize("sampling", ["uniform", "popularity"])
def test_the_estimated_normalizer_is_unbiased(sampling):
    """The mean of `exp(loss)` over many draws of few negatives is that of the exact loss; items hit are left out."""
    torch.manual_seed(0)
    counts, logits, label = torch.tensor([0, 0, 0, *range(1, 21)]), torch.randn(23), torch.tensor([7])
    estimates = []
    for _ in range(6_000):
        item_ids, log_q = draw_negatives(label, 8, sampling, counts)
        negative = logits[item_ids[1:]].masked_fill(item_ids[1:] == label, -torch.inf)[None]
        estimates.append(sampled_softmax_loss(logits[label], negative, log_q[1:]).exp())
    exact = torch.nn.functional.cross_entropy(logits[None, 3:], label - 3).exp()
    assert_close(torch.stack(estimates).mean(), exact, rtol=0.03, atol=0)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", SAMPLED)
def test_the_model_uses_its_formula(fitted, kind, tied):
    """Against the logits of all items: the loss of the drawn ones, with the same draws, and its gradients."""
    processor, sizes = fitted[0], {"tie_word_embeddings": tied, "hidden_dropout_prob": 0.0}
    model = make_model(processor, initializer_range=0.3, num_negatives=40, head_item_features=tied, **kind, **sizes)
    counts = torch.arange(processor.vocab_size)
    model.eval().set_item_counts(counts)
    input_ids, labels = torch.randint(3, processor.vocab_size, (2, 3, 9)).unbind()
    input_ids[0, :4], labels[0, :4], labels[:, 5:] = 0, -100, -100
    inputs = {"input_ids": input_ids, "attention_mask": (input_ids > 0).long()}
    torch.manual_seed(1)
    loss = model(**inputs, labels=labels, num_items_in_batch=3).loss
    torch.manual_seed(1)
    embeds = model.get_input_embeddings()(input_ids)
    given = {"attention_mask": inputs["attention_mask"], "inputs_embeds": embeds}
    assert_close(model(**given, labels=labels, num_items_in_batch=3).loss, loss)
    logits = model(**inputs).logits[labels != -100]
    labels, chosen = labels[labels != -100], range(11)
    torch.manual_seed(1)
    counts = counts.clamp(min=1)
    counts[:3] = 0
    item_ids, log_q = draw_negatives(labels, 40, kind["negative_sampling"], counts)
    logits = logits[:, item_ids]
    rate = 40 / (processor.vocab_size - 4)
    if kind["loss"] == "gbce":  # how much likelier than uniform, and where an item as likely as any begins
        logits = logits - (log_q.exp() * (processor.vocab_size - 3)).log() + math.log(gbce_beta(rate, 0.75) / 40)
    positive = logits[chosen, chosen]
    negative = logits[:, 11:].masked_fill(item_ids[11:] == labels[:, None], -torch.inf)
    if kind["loss"] == "gbce":
        expected = gbce_loss(positive, negative, rate, 0.75)
    else:
        expected = sampled_softmax_loss(positive, negative, log_q[11:])
    assert_close(loss, expected / 3)
    gradients = [
        torch.autograd.grad(value, list(model.parameters()), allow_unused=True) for value in (loss, expected / 3)
    ]
    for one, other in zip(*gradients):
        assert (one is None) == (other is None)
        assert one is None or torch.allclose(one, other, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("kind", SAMPLED)
def test_sampled_losses_learn(interactions, fitted, tmp_path, kind):
    """Trained for a while, it finds more of the masked items; counts, where needed, are saved, loaded and grow."""
    processor, split = fitted
    model = make_model(processor, num_negatives=64, **kind)
    dataset = encode_training(interactions, processor, split)
    model.set_item_counts(item_counts(dataset, processor))
    collator = make_collator(processor)
    collator.set_epoch(0)
    batch = collator([dataset[row] for row in range(len(dataset))])

    def found() -> float:
        logits = model.eval()(**{name: values for name, values in batch.items() if name != "labels"}).logits
        masked = batch["labels"] != -100
        top = logits[masked][:, 3:].topk(10).indices + 3
        return (top == batch["labels"][masked][:, None]).any(1).float().mean().item()

    before = found()
    arguments = make_arguments(tmp_path, max_steps=50, learning_rate=1e-2, per_device_train_batch_size=32)
    Bert4RecTrainer(
        model.train(), arguments, train_dataset=dataset, data_collator=collator, processing_class=processor
    ).train()
    assert found() > before + 0.05
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    again, larger = load_checkpoint(str(tmp_path))
    add_items(again, larger, [10**6])
    if kind["negative_sampling"] != "uniform":
        expected = np.append(item_counts(dataset, processor).clip(min=1), 1)
        assert again.item_counts.tolist() == expected.tolist()
    assert again.train()(**batch).loss.isfinite()


@pytest.mark.parametrize("reduction", ["sum", "mean", "none"])
@pytest.mark.parametrize("num_labels", [0, 5, 300])
def test_chunks_give_the_cross_entropy_with_and_without_the_function_of_torch(monkeypatch, reduction, num_labels):
    """Loss and gradients of all logits at once, of torch's chunks (2.13 on), and of ours, with logits kept or not."""
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.randn(*size, generator=generator) for size in ((num_labels, 8), (50, 8), (50,))]
    labels = torch.randint(50, (num_labels,), generator=generator)
    ways = []
    for old, max_logits in ((False, 0), (True, 0), (True, 2**27)):
        monkeypatch.setattr(loss_bert4rec, "MAX_LOGITS", max_logits)
        if old:
            monkeypatch.delattr(torch.nn, "LinearCrossEntropyOptions", raising=False)
        states, weight, bias = (tensor.clone().requires_grad_() for tensor in tensors)
        losses = linear_cross_entropy(states, labels, weight, bias, reduction)
        ways.append([losses, *torch.autograd.grad((losses * 1.5).sum(), [states, weight, bias])])
    states, weight, bias = (tensor.clone().requires_grad_() for tensor in tensors)
    losses = torch.nn.functional.cross_entropy(states @ weight.T + bias, labels, reduction=reduction)
    expected = [losses, *torch.autograd.grad((losses * 1.5).sum(), [states, weight, bias])]
    for way in ways:
        for one, other in zip(way, expected):
            if num_labels or reduction != "mean":  # of nothing there is no mean
                assert_close(one, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("targets", [False, True])
def test_seen_items_are_left_out_of_the_softmax(fitted, is_causal, targets):
    """Each label competes with what its row does not hold, masked items included; by hand, padded on either side."""
    model = make_model(fitted[0], is_causal=is_causal, exclude_seen_in_loss=True, initializer_range=0.5)
    torch.nn.init.normal_(model.decoder.bias)
    input_ids = torch.tensor([[5, 1, 7, 0], [9, 5, 1, 8]])
    labels = torch.tensor([[-100, 6, -100, -100], [-100, -100, 4, -100]])
    if is_causal:
        input_ids, labels = torch.tensor([[1, 5, 6, 0], [1, 9, 5, 4]]), torch.tensor([[5, 6, 7, -100], [9, 5, 4, 8]])
    positions = torch.arange(4).repeat(2, 1) if targets else None
    if targets:  # the labels in another order
        positions, labels = positions.flip(1), labels.flip(1)
    mask = (input_ids != 0).long()
    rows = [{5, 6, 7}, {9, 5, 4, 8}]
    logits = model.eval()(input_ids, mask, target_positions=positions).logits
    expected = []
    for row, column in (labels != -100).nonzero().tolist():
        label = labels[row, column].item()
        left = [item for item in range(3, model.config.vocab_size) if item == label or item not in rows[row]]
        expected.append(logits[row, column, left].logsumexp(0) - logits[row, column, label])
    for ids in (input_ids, torch.where(mask == 0, 10, input_ids)):  # what stands at padding does not count
        loss = model(ids, mask, target_positions=positions, labels=labels).loss
        assert_close(loss, torch.stack(expected).mean())
    history = input_ids[1:, 1:]
    assert not set(model.recommend(history, k=8).item_ids[0].tolist()) & {*history[0].tolist()}
    scores, plain = model.score(history)[0], model.project(model.next_item_states(history)[0])[0]
    left = [item for item in range(3, model.config.vocab_size) if item not in history[0].tolist()]
    assert_close(scores[left], plain[left].log_softmax(0))
    assert scores[history[0]].isneginf().all() and scores[:3].isneginf().all()


def test_counts_of_another_size_are_refused(fitted):
    model = make_model(fitted[0], loss="gbce", negative_sampling="popularity")
    with pytest.raises(ValueError, match="item_counts has shape"):
        model.set_item_counts(torch.ones(4))
