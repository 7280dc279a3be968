# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""What needs a GPU: `python -m pytest -m gpu`. Skipped where there is none."""

import copy
import os

import pytest
import torch
from helpers import labels_for, make_arguments, make_collator, make_model
from torch.testing import assert_close
from transformers import Trainer
from transformers.utils import is_flash_attn_2_available

from bert4rec_hf import Bert4RecTrainer, Split, encode_evaluation, encode_training, fit_processor, load_checkpoint


pytestmark = pytest.mark.gpu
DEVICE = os.environ.get("BERT4REC_HF_TEST_DEVICE", "cuda")  # "cpu" runs the tests themselves where there is no GPU
OPTIONS = [{}, {"is_causal": True}, {"repeat_prior": True}, {"loss": "gbce", "num_negatives": 9}]


def on_device(inputs):
    return {name: values.to(DEVICE) for name, values in inputs.items()}


def fit(trainer_class, interactions, tmp_path, **kwargs):
    split = Split("leave_one_out")
    processor = fit_processor(interactions, split)
    kwargs = {"use_cpu": DEVICE == "cpu", "num_train_epochs": 8, "learning_rate": 5e-3, "logging_steps": 1, **kwargs}
    datasets = {"train_dataset": encode_training(interactions, processor, split)}
    if trainer_class is Bert4RecTrainer:
        datasets["eval_dataset"] = encode_evaluation(interactions, processor, split)
    else:
        datasets["data_collator"] = make_collator(processor)
    trainer = trainer_class(
        make_model(processor, hidden_size=32),
        make_arguments(tmp_path, **kwargs),
        processing_class=processor,
        **datasets,
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert trainer.model.device.type == DEVICE and sum(losses[-5:]) < 0.95 * sum(losses[:5])
    return trainer


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_scores_and_gradients_are_those_of_the_cpu(processor, inputs, options):
    model = make_model(processor, hidden_dropout_prob=0.0, **options)
    other = copy.deepcopy(model).to(DEVICE)
    assert_close(other.eval().score(**on_device(inputs)).cpu(), model.eval().score(**inputs), atol=1e-4, rtol=1e-4)
    assert torch.equal(
        other.recommend(**on_device(inputs), k=3).item_ids.cpu(), model.recommend(**inputs, k=3).item_ids
    )
    if "loss" in options:  # other draws of negatives
        return
    for each, batch in ((model, inputs), (other, on_device(inputs))):
        each.train()(**batch, labels=labels_for(batch)).loss.backward()
    for one, two in zip(model.parameters(), other.parameters()):
        assert (one.grad is None) == (two.grad is None)
        assert one.grad is None or torch.allclose(one.grad, two.grad.cpu(), atol=1e-4)


@pytest.mark.parametrize("trainer_class", [Bert4RecTrainer, Trainer])
@pytest.mark.parametrize("kwargs", [{"bf16": True}, {"fp16": True}, {"torch_compile": True}], ids=str)
def test_it_trains_in_half_precision_and_compiled(trainer_class, kwargs, interactions, tmp_path):
    if DEVICE == "cpu" and "fp16" in kwargs:
        pytest.skip("GPUs only")
    trainer = fit(trainer_class, interactions, tmp_path, **kwargs)
    trainer.save_model()
    loaded, processor = load_checkpoint(str(tmp_path))
    for one, two in zip(trainer.accelerator.unwrap_model(trainer.model).parameters(), loaded.parameters()):
        assert torch.equal(one.cpu(), two)
    if trainer_class is Bert4RecTrainer:
        assert trainer.evaluate()["eval_recall@10"] > 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_weights_recommend(model, inputs, dtype):
    half = copy.deepcopy(model).to(DEVICE, dtype)
    scores, close = model.score(**inputs)[:, 3:], half.score(**on_device(inputs))[:, 3:].float().cpu()
    assert (scores - close).abs().max() < 0.1 * (scores.max() - scores.min())


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("implementation", ["flex_attention", "flash_attention_2"])
def test_fast_attention_agrees_with_sdpa(processor, inputs, implementation, is_causal):
    if implementation == "flash_attention_2" and not is_flash_attn_2_available():
        pytest.skip("needs flash-attn")
    model = make_model(processor, hidden_size=64, is_causal=is_causal).eval().to(DEVICE, torch.bfloat16)
    other = copy.deepcopy(model)
    other.set_attn_implementation(implementation)
    scores, close = (each.score(**on_device(inputs))[:, 3:].float() for each in (model, other))
    assert (scores - close).abs().max() < 0.05 * (scores.max() - scores.min())


def test_processes_over_nccl_train(sample_dir, tmp_path):
    from training.test_distributed import torchrun

    flags = ["--hidden_size", 16, "--num_head", 2, "--max_length", 16, "--epochs", 1, "--k", 10, "--do_eval"]
    torchrun(
        "-m", "bert4rec_hf", "train", "--data_dir", sample_dir, "--save_dir", tmp_path / "run", *flags, device=DEVICE
    )
    assert load_checkpoint(str(tmp_path / "run"))
