# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Bert4RecTrainer takes whatever holds histories to train, evaluate and predict, or says what is missing."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from helpers import make_arguments, make_collator, make_model, make_processor_of_every_kind
from transformers import TrainerCallback

from bert4rec_hf import Bert4RecEnsembleForMaskedLM, Bert4RecTrainer, DataError, EMACallback, RankingEvaluator
from bert4rec_hf.training.training_args import Bert4RecTrainingArguments


class Rows(torch.utils.data.Dataset):
    def __init__(self, rows):
        self.rows = list(rows)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, number):
        if number >= len(self.rows):
            raise KeyError(number)  # as those do that know no order
        return self.rows[number]


KINDS = {"datasets": lambda rows: rows, "torch": Rows, "list": list, "stream": lambda rows: rows.to_iterable_dataset()}


@pytest.fixture
def processor():
    return make_processor_of_every_kind()


@pytest.fixture
def rows(processor):
    rows = []
    for user in range(24):
        input_ids = processor.encode_items([f"i{(7 * user + 3 * n) % 50}" for n in range(3 + user % 9)])
        timestamps = [10**9 + 60 * n**3 for n in range(len(input_ids))]
        rows.append({"input_ids": input_ids, "user_features": [1, 1, 2, 1, 0], "timestamps": timestamps})
    return Dataset.from_list(rows)


@pytest.fixture
def targets(rows):
    rows = rows.add_column("request_time", [10**9 + 10**5 * user for user in range(len(rows))])
    return rows.add_column("relevant", [[3 + user, 5] for user in range(len(rows))])


def make_trainer(processor, tmp_path, collator=None, model=None, **kwargs):
    names = ("label_smoothing_factor", "max_steps", "eval_strategy", "eval_steps", "learning_rate", "save_strategy")
    arguments = {name: kwargs.pop(name) for name in names if name in kwargs}
    arguments = make_arguments(tmp_path, **{"max_steps": 2, "per_device_train_batch_size": 4} | arguments)
    model = model or make_model(processor)
    return Bert4RecTrainer(model, arguments, collator, processing_class=processor, **kwargs)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_causal", [False, True])
def test_any_data_set_trains_and_the_collator_comes_with_the_processor(processor, rows, tmp_path, kind, is_causal):
    model = make_model(processor, is_causal=is_causal)
    trainer = make_trainer(processor, tmp_path, model=model, train_dataset=KINDS[kind](rows))
    assert np.isfinite(trainer.train().training_loss)
    assert trainer.data_collator.max_length == 16 and trainer.data_collator.mlm is not is_causal


@pytest.mark.parametrize("kind", KINDS)
def test_any_data_set_is_evaluated_by_rank_or_by_loss(processor, rows, targets, tmp_path, kind):
    trainer = make_trainer(processor, tmp_path, train_dataset=rows, compute_metrics=None)
    ranked = trainer.evaluate(KINDS[kind](targets))
    expected = RankingEvaluator(targets, processor)(trainer.model)
    assert {name: ranked[f"eval_{name}"] for name in expected} == pytest.approx(expected)
    assert ranked["eval_samples_per_second"] > 0 and "eval_loss" not in ranked
    masked = trainer.evaluate(KINDS[kind](rows))
    assert masked["eval_loss"] > 0 and "eval_ndcg@10" not in masked


def test_the_model_is_ranked_without_dropout_and_left_as_it_was(processor, targets):
    model = make_model(processor, hidden_dropout_prob=0.5)
    evaluator = RankingEvaluator(targets, processor, k=(5,))
    model.train()
    first = evaluator(model)
    assert model.training and first == evaluator(model) == evaluator(model.eval()) and not model.training


def test_predictions_are_lists_for_any_histories(processor, rows, targets, tmp_path):
    trainer = make_trainer(processor, tmp_path, train_dataset=rows, k=(3, 7))
    alone = trainer.predict(targets.remove_columns("relevant"))
    assert alone.predictions.shape == (24, 7) and alone.label_ids is None
    with_targets = trainer.predict(targets)
    assert (with_targets.predictions == alone.predictions).all() and "test_ndcg@7" in with_targets.metrics
    assert (with_targets.predictions >= 3).all() and with_targets.label_ids.shape == (24, 2)


def test_metrics_of_the_user_come_beside_ours(processor, rows, targets, tmp_path):
    seen = []

    def compute_metrics(prediction):
        seen.append((prediction.predictions.shape, prediction.label_ids.shape))
        return {"mine": 0.5}

    trainer = make_trainer(
        processor, tmp_path, train_dataset=rows, eval_dataset=targets, compute_metrics=compute_metrics
    )
    metrics = trainer.evaluate()
    assert metrics["eval_mine"] == 0.5 and "eval_ndcg@10" in metrics and seen == [((24, 10), (24, 2))]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda rows: rows.rename_column("input_ids", "history"),
            "history, user_features, timestamps, and no input_ids",
        ),
        (lambda rows: [{}] * 4, "no columns, and no input_ids"),
    ],
)
def test_rows_without_histories_are_named(processor, rows, tmp_path, change, words):
    with pytest.raises(DataError, match=words):
        make_trainer(processor, tmp_path, train_dataset=change(rows)).train()
    for evaluated in (change(rows), []):
        with pytest.raises(DataError, match="no input_ids|needs input_ids"):
            make_trainer(processor, tmp_path, train_dataset=rows).predict(evaluated)


def test_an_ensemble_is_evaluated_too(processor, targets, tmp_path):
    members = [make_model(processor, is_causal=is_causal).eval() for is_causal in (False, True)]
    ensemble = Bert4RecEnsembleForMaskedLM.from_members(members, processor)
    metrics = make_trainer(processor, tmp_path, model=ensemble, eval_dataset=targets).evaluate()
    assert metrics["eval_ndcg@10"] == pytest.approx(RankingEvaluator(targets, processor)(ensemble)["ndcg@10"])


def test_a_model_can_be_made_by_the_trainer(processor, rows, tmp_path):
    arguments = make_arguments(tmp_path, max_steps=1)
    trainer = Bert4RecTrainer(
        None, arguments, train_dataset=rows, processing_class=processor, model_init=lambda: make_model(processor)
    )
    assert np.isfinite(trainer.train().training_loss) and trainer.data_collator.max_length == 16


def test_the_order_of_the_rows_can_be_chosen(processor, rows, tmp_path):
    arguments = make_arguments(tmp_path, max_steps=1, train_sampling_strategy="sequential")
    trainer = Bert4RecTrainer(make_model(processor), arguments, train_dataset=rows, processing_class=processor)
    (first, *_) = trainer.get_train_dataloader()
    assert first["attention_mask"].sum(1).tolist() == [
        len(row) for row in rows["input_ids"][: len(first["input_ids"])]
    ]


def test_a_trainer_without_processor_says_so(processor, rows, tmp_path):
    with pytest.raises(DataError, match="needs processing_class"):
        Bert4RecTrainer(make_model(processor), make_arguments(tmp_path), train_dataset=rows)


@pytest.mark.parametrize("last_items", [1, 3])
def test_labels_can_be_smoothed(processor, rows, tmp_path, last_items):
    collator = make_collator(processor, last_items=last_items, last_item_probability=0.5)
    losses = []
    for factor in (0.0, 0.3):
        trainer = make_trainer(processor, tmp_path, collator, train_dataset=rows, label_smoothing_factor=factor)
        losses.append(trainer.train().training_loss)
    assert np.isfinite(losses).all() and losses[0] != losses[1]


def test_the_average_is_what_each_of_several_evaluation_sets_sees(processor, rows, targets, tmp_path):
    average, seen = EMACallback(0.9), []

    class Watch(TrainerCallback):
        def on_prediction_step(self, args, state, control, model=None, **kwargs):
            seen.append([parameter.detach().clone() for parameter in model.parameters()])

    trainer = make_trainer(
        *(processor, tmp_path),
        train_dataset=rows,
        eval_dataset={"first": targets, "second": targets},
        callbacks=[average, Watch()],
        max_steps=4,
        eval_strategy="steps",
        eval_steps=2,
        save_strategy="steps",
        learning_rate=1e-2,
    )
    trainer.args.per_device_eval_batch_size = 24
    trainer.train()
    logs = [entry for entry in trainer.state.log_history if "eval_first_ndcg@10" in entry]
    others = [entry for entry in trainer.state.log_history if "eval_second_ndcg@10" in entry]
    assert len(seen) == 4 and len(logs) == len(others) == 2
    for first, second in zip(seen[::2], seen[1::2]):
        assert all(torch.equal(a, b) for a, b in zip(first, second))
    assert all(torch.equal(a, b) for a, b in zip(seen[-1], trainer.model.parameters()))  # what is kept


def test_settings_of_the_evaluation_come_with_the_arguments(processor, rows, tmp_path):
    arguments = Bert4RecTrainingArguments(str(tmp_path), k=[2, 4], exclude_seen=True)
    trainer = Bert4RecTrainer(make_model(processor), arguments, train_dataset=rows, processing_class=processor)
    assert (trainer.k, trainer.exclude_seen) == ((2, 4), True)
    trainer = Bert4RecTrainer(
        make_model(processor), arguments, train_dataset=rows, processing_class=processor, k=[3], exclude_seen=False
    )
    assert (trainer.k, trainer.exclude_seen) == ((3,), False)
