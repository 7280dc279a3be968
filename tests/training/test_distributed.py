# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Two processes on CPUs, as `torchrun --nproc_per_node 2 -m bert4rec_hf train` starts them."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import make_arguments, make_collator, make_model
from torch.testing import assert_close

from bert4rec_hf import Bert4RecTrainer, Split, encode_evaluation, encode_training, fit_processor, load_checkpoint
from bert4rec_hf.training.checkpoints import newest_whole_checkpoint


ROOT = Path(__file__).parents[2]
CODE = """
import json, sys
import torch
from bert4rec_hf import DataArguments, read_interactions
from bert4rec_hf.cli.arguments import run
sys.path.insert(0, sys.argv[1])
from test_distributed import make_trainer

def main():
    torch.set_num_threads(1)
    trainer = make_trainer(sys.argv[2], read_interactions(DataArguments(data_dir=sys.argv[3])), batch_size=16)
    trainer.train()
    metrics = trainer.evaluate()
    trainer.save_model()
    if trainer.is_world_process_zero():
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        print(json.dumps([trainer.args.world_size, losses, metrics]))

run(main)  # as the commands, it leaves the process group at its end
"""


def make_trainer(save_dir, interactions, batch_size):
    split = Split("leave_one_out")
    arguments = replace(interactions.arguments, number_features=["age"], time_intervals="attention")
    processor = fit_processor(replace(interactions, arguments=arguments), split)
    processor.set_vectors({"picture": np.random.default_rng(0).normal(size=(processor.vocab_size - 3, 8))})
    training = encode_training(interactions, processor, split)
    arguments = {"learning_rate": 1.0, "max_grad_norm": 0, "logging_steps": 1, "num_train_epochs": 2}
    return Bert4RecTrainer(
        make_model(processor, hidden_dropout_prob=0.0),
        make_arguments(
            save_dir, optim="sgd", lr_scheduler_type="constant", per_device_train_batch_size=batch_size, **arguments
        ),
        train_dataset=training.select(range(96)),  # whole batches: the rest of them would be filled up
        eval_dataset=encode_evaluation(interactions, processor, split),
        data_collator=make_collator(processor),
        processing_class=processor,
        k=[5],
    )


def torchrun(*arguments, device="cpu"):
    num_processes = "2" if device == "cpu" else str(torch.cuda.device_count())
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", num_processes]
    command += [*arguments]
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    environment |= {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
    result = subprocess.run([*map(str, command)], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_two_processes_train_as_one_with_twice_the_batch_and_evaluate_each_user_once(
    interactions, sample_dir, tmp_path
):
    (tmp_path / "train_twice.py").write_text(CODE)
    out = torchrun(tmp_path / "train_twice.py", Path(__file__).parent, tmp_path / "two", sample_dir)
    world_size, losses, metrics = json.loads(out.splitlines()[-1])
    assert world_size == 2
    trainer = make_trainer(tmp_path / "one", interactions, batch_size=32)
    trainer.train()
    expected = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert_close(losses, expected, atol=1e-4, rtol=1e-4)
    for one, two in zip(trainer.model.parameters(), load_checkpoint(str(tmp_path / "two"))[0].parameters()):
        assert_close(one, two, atol=1e-5, rtol=1e-4)
    assert len(trainer.eval_dataset) % 2 == 1  # or no user could be counted twice
    evaluated = trainer.evaluate()
    for name in ("eval_recall@5", "eval_ndcg@5", "eval_mrr@5"):
        assert metrics[name] == pytest.approx(evaluated[name], abs=1e-6)


def test_train_saves_and_says_what_it_did_once(sample_dir, tmp_path):
    out = torchrun(
        *("-m", "bert4rec_hf", "train", "--data_dir", sample_dir, "--save_dir", tmp_path / "run", "--do_eval"),
        *("--hidden_size", 16, "--num_head", 2, "--max_length", 16, "--epochs", 1, "--k", 10),
    )
    assert out.count("rows read from the log") == out.count("saved to") == out.count("recall@10 ") == 1
    assert {"README.md", "model.safetensors"} <= set(os.listdir(tmp_path / "run"))
    assert load_checkpoint(str(tmp_path / "run"))
    checkpoint = newest_whole_checkpoint(str(tmp_path / "run"))
    assert {"rng_state_0.pth", "rng_state_1.pth", "manifest.json"} <= set(os.listdir(checkpoint))
    assert "checkpoint.part" not in os.listdir(tmp_path / "run")
