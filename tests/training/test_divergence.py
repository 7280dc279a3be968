# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""A training that diverges stops at the step, and what was finite stays."""

import numpy as np
import pytest
import torch
from helpers import SMALL, make_arguments, make_collator, make_model, run
from transformers import TrainerCallback

from bert4rec_hf import Bert4RecEnsembleForMaskedLM, Bert4RecTrainer, encode_evaluation, encode_training
from bert4rec_hf.training.checkpoints import checkpoint_problem, checkpoints_of


def test_a_learning_rate_out_of_bounds_is_one_line_and_exit_code_2(sample_dir, tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit) as end:
        arguments = ["--data_dir", sample_dir, "--save_dir", tmp_path / "run", *SMALL]
        run(monkeypatch, "train", *arguments, "--learning_rate", "1e30", "--epochs", 3)
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert end.value.code == 2 and last.startswith("error: step ") and "has diverged" in last and "1e+30" in last
    assert not (tmp_path / "run" / "README.md").exists()


class Poison(TrainerCallback):
    """Makes a weight NaN after a step, as an overflow in the optimizer does."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, model=None, **kwargs):
        if state.global_step == self.step:
            with torch.no_grad():
                model.decoder.bias[7] = torch.nan


@pytest.mark.parametrize("step", [4, 5, 8])  # where it is saved, where it is not, and the last
@pytest.mark.parametrize("with_evaluation", [False, True])
def test_the_last_finite_checkpoint_stays(interactions, fitted, tmp_path, step, with_evaluation):
    processor, split = fitted
    strategy = {"eval_strategy": "steps", "eval_steps": 2} if with_evaluation else {}
    trainer = Bert4RecTrainer(
        make_model(processor),
        make_arguments(tmp_path, max_steps=8, save_strategy="steps", save_steps=2, **strategy),
        make_collator(processor),
        train_dataset=encode_training(interactions, processor, split),
        eval_dataset=encode_evaluation(interactions, processor, split, "validation"),
        processing_class=processor,
        callbacks=[Poison(step)],
    )
    before = (step - 1) // 2 * 2
    found = step + step % 2  # when it is evaluated or saved, if not in the loss before
    with pytest.raises(FloatingPointError, match=rf"step {found}: .* has diverged.*checkpoint-{before}\."):
        trainer.train()
    checkpoints = checkpoints_of(str(tmp_path))
    assert checkpoints[-1].endswith(f"checkpoint-{before}") and checkpoint_problem(checkpoints[-1]) is None
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize("voting", [None, "probability", "log_probability", "reciprocal_rank"])
def test_a_model_whose_weights_are_not_finite_recommends_nothing(fitted, voting):
    processor = fitted[0]
    model, other = make_model(processor).eval(), make_model(processor).eval()
    with torch.no_grad():
        model.decoder.bias[9] = torch.nan
    if voting is not None:
        model = Bert4RecEnsembleForMaskedLM.from_members([other, model], processor, voting).eval()
    inputs = processor([processor.vocabulary["item_ids"][:3], []])
    with pytest.raises(FloatingPointError, match="not finite"):
        model.recommend(**inputs, k=3)
    assert np.isfinite(other.recommend(**inputs, k=3).scores.numpy()).all()
