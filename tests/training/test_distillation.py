# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
import copy

import pytest
import torch
from helpers import make_arguments, make_collator, make_model
from torch.testing import assert_close

from bert4rec_hf import (
    Bert4RecEnsembleForMaskedLM,
    Bert4RecProcessor,
    Bert4RecTrainer,
    DataError,
    Teacher,
    encode_training,
)


@pytest.fixture(scope="module")
def training(interactions, fitted):
    return encode_training(interactions, *fitted)


@pytest.fixture
def batch(fitted, training):
    collator = make_collator(fitted[0], mlm_probability=0.5)
    collator.set_epoch(0)
    return collator([training[row] for row in range(6)])


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"head_item_features": False},
        {"loss": "sampled_softmax", "num_negatives": 5000},
        {"exclude_seen_in_loss": True},
    ],
)
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_loss_and_gradient_by_hand(fitted, batch, kwargs, temperature, tmp_path):
    processor = fitted[0]
    student = make_model(processor, initializer_range=0.3, **kwargs).eval()
    teacher = Teacher(make_model(processor, initializer_range=0.5), processor, processor, 16, 0.3, temperature, 20)
    is_label, exclude_ids = batch["labels"] != -100, None
    if kwargs.get("exclude_seen_in_loss"):
        exclude_ids = student.items_of_rows(batch["input_ids"], batch["attention_mask"], batch["labels"])
    ids, probs = teacher.distribution(batch, exclude_ids)
    assert ids.shape == (int((batch["labels"] != -100).sum()), 20)

    inputs = {name: values for name, values in batch.items() if name != "labels"}
    logits, labels = student(**inputs).logits[is_label], batch["labels"][is_label]
    if exclude_ids is not None:  # neither the student nor the teacher thinks of the row's other items
        rows = is_label.nonzero()[:, 0].tolist()
        for number, (row, label) in enumerate(zip(rows, labels.tolist())):
            others = [*{*exclude_ids[row].tolist()} - {label}]
            logits[number, others] = -torch.inf
            assert not {*ids[number][probs[number] > 0].tolist()} & {*others}
    log_probs = (logits / temperature).log_softmax(1).gather(1, ids)
    soft = -(probs * log_probs.masked_fill(probs == 0, 0.0)).sum(1).mean() * temperature**2
    if kwargs.get("loss"):
        torch.manual_seed(1)
        hard = student(**batch).loss
    else:
        hard = torch.nn.functional.cross_entropy(logits, labels)
    expected = 0.7 * hard + 0.3 * soft
    expected.backward()
    gradients = [parameter.grad.clone() for parameter in student.parameters()]
    student.zero_grad()
    trainer = Bert4RecTrainer(student, make_arguments(tmp_path), processing_class=processor, teacher=teacher)
    torch.manual_seed(1)
    loss = trainer.compute_loss(student, batch)
    assert_close(loss, expected, atol=1e-5, rtol=1e-5)
    torch.manual_seed(1)
    count = torch.tensor(2 * len(labels))  # of two accumulated batches, say
    assert_close(trainer.compute_loss(student, batch, num_items_in_batch=count), expected / 2, atol=1e-5, rtol=1e-5)
    loss.backward()
    for parameter, gradient in zip(student.parameters(), gradients):
        assert_close(parameter.grad, gradient, atol=1e-5, rtol=1e-4)


def test_the_teacher_alone_makes_the_student_like_it(fitted, training, tmp_path):
    """Of labels that say something else nothing is learnt when the teacher has all the weight."""
    processor = fitted[0]
    teacher = make_model(processor, initializer_range=1.0).eval()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    overlaps = []
    inputs = [torch.tensor([training[row]["input_ids"][:10] + [3] * 10])[:, :10] for row in range(100)]
    for who in (None, Teacher(teacher, processor, processor, 16, weight=1.0)):
        student = make_model(processor, hidden_size=32)
        arguments = make_arguments(
            tmp_path, num_train_epochs=40, learning_rate=5e-3, per_device_train_batch_size=32, seed=2
        )
        Bert4RecTrainer(
            student,
            arguments,
            train_dataset=training,
            data_collator=make_collator(processor, mlm_probability=0.5),
            processing_class=processor,
            teacher=who,
        ).train()
        lists = [
            [model.eval().recommend(row, k=10).item_ids[0].tolist() for row in inputs] for model in (student, teacher)
        ]
        overlaps.append(sum(len({*a} & {*b}) for a, b in zip(*lists)) / 1000)
    assert overlaps[1] > 2 * overlaps[0] and overlaps[1] > 0.3, overlaps
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def test_an_ensemble_teaches_with_the_user_features_it_knows(fitted, batch):
    processor = fitted[0]
    vocabulary = copy.deepcopy(processor.vocabulary)
    vocabulary["user_features"] = vocabulary["user_features"][1:]
    some = Bert4RecProcessor(vocabulary, processor.unknown_items, processor.data, processor.split)
    members = [make_model(some), make_model(some, num_hidden_layers=1, norm_first=True)]
    ensemble = Bert4RecEnsembleForMaskedLM.from_members(members, some)
    given = Teacher(ensemble, some, processor, 16, num_items=5).distribution(batch)
    ids, probs = ensemble.label_distribution(
        batch["input_ids"], batch["labels"], batch["attention_mask"], batch["user_features"][:, 1:], 5
    )
    assert torch.equal(given[0], ids) and torch.equal(given[1], probs)
    with pytest.raises(DataError, match="needs the user features sex, age"):
        Teacher(make_model(processor), processor, some, 16)
    with pytest.raises(DataError, match="at most 16 positions, the student's rows have up to 17"):
        Teacher(ensemble, some, processor, 17)
    with pytest.raises(DataError, match="the teacher has split"):
        other = copy.copy(processor)
        other.split = {"split": "none"}
        Teacher(make_model(processor), other, processor, 16)
