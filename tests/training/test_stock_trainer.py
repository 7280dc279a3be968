# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""`transformers.Trainer` as it is: it evaluates, keeps the best, stops early and predicts."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from helpers import make_arguments, make_collator, make_model
from torch.testing import assert_close
from transformers import EarlyStoppingCallback, Trainer
from transformers.utils.generic import find_labels

from bert4rec_hf import Bert4RecEnsembleForMaskedLM, Bert4RecForMaskedLM


KINDS = ("masked", "causal", "last items", "ensemble")


def make_stock_trainer(kind, processor, folder, **kwargs):
    if kind == "ensemble":
        model = Bert4RecEnsembleForMaskedLM.from_members([make_model(processor), make_model(processor)], processor)
    else:
        model = make_model(processor, is_causal=kind == "causal")
    collator = make_collator(
        processor,
        mlm=kind != "causal",
        **({"last_items": 3, "last_item_probability": 0.5} if kind == "last items" else {}),
    )
    rows = Dataset.from_list(
        [
            {"input_ids": [3 + (7 * u + 3 * n) % 50 for n in range(3 + u % 9)], "user_features": [1, 1]}
            for u in range(24)
        ]
    )
    steps = {"max_steps": 4, "eval_steps": 1, "save_steps": 1, "logging_steps": 1}
    strategies = {"eval_strategy": "steps", "save_strategy": "steps", "load_best_model_at_end": True}
    arguments = make_arguments(folder, **steps, **strategies)
    return Trainer(
        model,
        arguments,
        train_dataset=rows,
        eval_dataset=rows,
        data_collator=collator,
        processing_class=processor,
        **kwargs,
    )


def accuracy(prediction):
    """Both are padded with -100 where batches differ in length."""
    labelled = prediction.label_ids != -100
    top = prediction.predictions.argmax(-1)
    return {"accuracy": (top == prediction.label_ids)[labelled].mean(), "size": labelled.sum()}


def test_only_labels_are_taken_for_labels():
    for model_class in (Bert4RecForMaskedLM, Bert4RecEnsembleForMaskedLM):
        assert find_labels(model_class) == ["labels"]


@pytest.mark.parametrize("kind", KINDS)
def test_it_evaluates_keeps_the_best_stops_early_and_predicts(processor, tmp_path, kind):
    stop = EarlyStoppingCallback(early_stopping_patience=1, early_stopping_threshold=100.0)
    trainer = make_stock_trainer(kind, processor, tmp_path, compute_metrics=accuracy, callbacks=[stop])
    trainer.train()
    evaluated = [entry for entry in trainer.state.log_history if "eval_loss" in entry]
    assert len(evaluated) == trainer.state.global_step == 2  # nothing gains 100
    assert all(np.isfinite(entry["eval_loss"]) and 0 <= entry["eval_accuracy"] <= 1 for entry in evaluated)
    assert trainer.state.best_model_checkpoint is not None
    metrics = trainer.evaluate()
    assert metrics["eval_size"] > 24
    predicted = trainer.predict(trainer.eval_dataset)
    assert predicted.predictions.shape[:2] == predicted.label_ids.shape
    assert predicted.predictions.shape[2] == processor.vocab_size
    assert np.isfinite(predicted.metrics["test_loss"])


@pytest.mark.parametrize("kind", ["masked", "causal"])
def test_without_metrics_there_is_a_loss_and_it_is_that_of_the_logits(processor, tmp_path, kind):
    trainer = make_stock_trainer(kind, processor, tmp_path)
    torch.manual_seed(0)
    loss = trainer.evaluate()["eval_loss"]
    torch.manual_seed(0)
    losses = []
    for batch in trainer.get_eval_dataloader():
        with torch.no_grad():
            output = trainer.model.eval()(**batch)
        expected = torch.nn.functional.cross_entropy(output.logits.flatten(0, 1), batch["labels"].flatten())
        assert_close(output.loss, expected)
        losses.append(output.loss.item())
    assert loss == pytest.approx(np.mean(losses), rel=1e-5)
