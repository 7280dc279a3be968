# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""A checkpoint's objective decides which batches are made for it, and the other kind is refused."""

import pytest
import torch
from datasets import Dataset
from helpers import make_arguments, make_model
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import AutoProcessor, Trainer

from bert4rec_hf import Bert4RecEnsembleForMaskedLM, Bert4RecProcessor, DataCollatorForItemMasking, DataError


PLAIN = Bert4RecProcessor({"item_ids": list(range(30))})


def make_batch(histories, seed=0, **kwargs):
    collator = DataCollatorForItemMasking(PLAIN, max_length=12, seed=seed, **kwargs)
    collator.set_epoch(0)
    return collator([{"input_ids": history, "row": row} for row, history in enumerate(histories)])


HISTORIES = st.lists(st.lists(st.integers(3, 32), min_size=1, max_size=20), min_size=1, max_size=6)
CAUSAL_MODEL, MASKED_MODEL = (make_model(PLAIN, is_causal=is_causal) for is_causal in (True, False))


@settings(max_examples=80, deadline=None)
@example(histories=[[3, 3, 3]], seed=96, probability=0.9, window="last", repeats=False, random=0.2)
@given(
    histories=HISTORIES,
    seed=st.integers(0, 99),
    probability=st.sampled_from([0.0, 0.2, 0.6, 0.9]),
    window=st.sampled_from(["last", "random"]),
    repeats=st.booleans(),
    random=st.sampled_from([0.0, 0.2]),
)
def test_batches_of_the_right_kind_are_always_taken(histories, seed, probability, window, repeats, random):
    """Also of children who watch the same again and again."""
    if repeats:
        histories = [[history[0]] * len(history) for history in histories]
    kwargs = {"mlm_probability": probability, "window": window, "seed": seed}
    kwargs |= {"mask_replace_prob": 1 - random, "random_replace_prob": random / 2}
    for last_items in (1, 3):
        batch = make_batch(histories, mlm=True, last_items=last_items, last_item_probability=0.3, **kwargs)
        assert MASKED_MODEL(**batch).loss.isfinite()
    assert CAUSAL_MODEL(**make_batch(histories, mlm=False, **kwargs)).loss.isfinite()


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("kwargs", [{}, {"mlm_probability": 0.6}, {"last_items": 4, "last_item_probability": 0.4}])
def test_masked_batches_are_refused_by_a_causal_model(kwargs, train):
    generator = torch.Generator().manual_seed(0)
    histories = [torch.randint(3, 33, (n,), generator=generator).tolist() for n in range(3, 15)]
    with pytest.raises(ValueError, match=r"the model is causal, and the items are masked .* mlm=False"):
        CAUSAL_MODEL.train(train)(**make_batch(histories, mlm=True, **kwargs))


@pytest.mark.parametrize("kwargs", [{}, {"mlm_probability": 0.0}, {"window": "random"}])
def test_causal_batches_are_refused_by_a_model_of_masked_items(kwargs):
    generator = torch.Generator().manual_seed(0)
    histories = [torch.randint(3, 33, (n,), generator=generator).tolist() for n in range(3, 15)]
    with pytest.raises(ValueError, match=r"predicts masked items, .* mlm=True"):
        MASKED_MODEL(**make_batch(histories, mlm=False, **kwargs))


def test_inputs_as_labels_are_refused_by_a_causal_model():
    input_ids = torch.randint(3, 33, (8, 10), generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="the labels are the inputs themselves"):
        CAUSAL_MODEL(input_ids=input_ids, labels=input_ids)
    padded = input_ids.clone()
    padded[0, 5:] = 0
    with pytest.raises(ValueError, match="the labels are the inputs themselves"):
        CAUSAL_MODEL(input_ids=padded, labels=padded.masked_fill(padded == 0, -100))


@pytest.mark.parametrize("is_causal", [True, False])
def test_labels_of_ones_own_are_taken(is_causal):
    """The last item alone, or something else at every position."""
    model = CAUSAL_MODEL if is_causal else MASKED_MODEL
    input_ids, labels = torch.randint(3, 33, (2, 8, 10), generator=torch.Generator().manual_seed(0))
    assert model(input_ids=input_ids, labels=labels).loss.isfinite()
    labels[:, :-1] = -100
    assert model(input_ids=input_ids, labels=labels).loss.isfinite()


@pytest.mark.parametrize("is_causal", [True, False])
def test_the_processor_of_a_checkpoint_makes_its_batches_under_the_stock_trainer(tmp_path, is_causal):
    make_model(PLAIN, is_causal=is_causal).save_pretrained(tmp_path)
    PLAIN.save_pretrained(tmp_path)
    processor = AutoProcessor.from_pretrained(tmp_path)
    collator = DataCollatorForItemMasking(processor, max_length=12)
    assert processor.is_causal == is_causal and collator.mlm == (not is_causal)
    processor.save_pretrained(tmp_path / "alone")
    assert "is_causal" not in (tmp_path / "alone" / "processor_config.json").read_text()
    assert AutoProcessor.from_pretrained(tmp_path / "alone").is_causal is False

    rows = Dataset.from_list([{"input_ids": [3 + (u + n) % 30 for n in range(8)]} for u in range(30)])
    model = make_model(PLAIN, is_causal=is_causal, hidden_size=32)
    arguments = make_arguments(tmp_path, max_steps=150, learning_rate=1e-2, per_device_train_batch_size=30)
    Trainer(model, arguments, train_dataset=rows, data_collator=collator, processing_class=processor).train()
    histories = torch.tensor([[3 + (u + n) % 30 for n in range(7)] for u in range(30)])
    found = model.eval().recommend(histories, k=1).item_ids[:, 0] == (histories[:, -1] - 3 + 1) % 30 + 3
    assert found.float().mean() > 0.9

    wrong = DataCollatorForItemMasking(processor, max_length=12, mlm=is_causal)
    trainer = Trainer(model, arguments, train_dataset=rows, data_collator=wrong, processing_class=processor)
    with pytest.raises(ValueError, match="make batches with DataCollatorForItemMasking"):
        trainer.train()


def test_an_ensemble_of_both_kinds_has_no_batches_of_its_own(tmp_path):
    members = [make_model(PLAIN, is_causal=is_causal) for is_causal in (True, False)]
    Bert4RecEnsembleForMaskedLM.from_members(members, PLAIN).save_pretrained(tmp_path)
    PLAIN.save_pretrained(tmp_path)
    processor = AutoProcessor.from_pretrained(tmp_path)
    assert processor.is_causal is None
    with pytest.raises(DataError, match="masked and causal members"):
        DataCollatorForItemMasking(processor)
    assert DataCollatorForItemMasking(processor, mlm=False).mlm is False
    Bert4RecEnsembleForMaskedLM.from_members(members[:1], PLAIN).save_pretrained(tmp_path)
    assert AutoProcessor.from_pretrained(tmp_path).is_causal is True
