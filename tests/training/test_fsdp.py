# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Sharded by FSDP2 as `_no_split_modules` says, on one process and on two."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import is_before, make_model
from torch.testing import assert_close

from bert4rec_hf import Bert4RecProcessor
from bert4rec_hf.cli.arguments import run


PROCESSOR = Bert4RecProcessor(
    {
        "item_ids": [*range(50)],
        "item_features": [{"name": "genre", "max_values": 2, "values": ["a", "b", "c"]}],
        "item_feature_values": [[[1 + n % 3, 1 + (n + 1) % 3][: n % 3] for n in range(50)]],
    }
)
OPTIONS = [
    {"is_causal": is_causal, "tie_word_embeddings": tied, "repeat_prior": repeats}
    for is_causal, tied, repeats in itertools.product([False, True], repeat=3)
]
HISTORIES = torch.randint(3, 53, (4, 8), generator=torch.Generator().manual_seed(0))
LABELS = HISTORIES.roll(3, 1).index_fill(1, torch.arange(0, 8, 2), -100)


def shard(model):
    from torch.distributed.fsdp import fully_shard

    for module in model.modules():
        if type(module).__name__.removeprefix("FSDP") in model._no_split_modules:
            fully_shard(module)
    return fully_shard(model)


def train_and_recommend(model, rows, recommend_first):
    """What is recommended before, and after two steps on `rows` of a batch that is the same for all."""
    lists = [model.eval().recommend(HISTORIES, k=5).scores] if recommend_first else []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(2):
        model.train()
        model(input_ids=HISTORIES[rows], labels=LABELS[rows]).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        lists += [model.eval().recommend(HISTORIES, k=5).scores, model.score(HISTORIES)]
    return lists


def main():
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    for options in OPTIONS:
        for recommend_first in (False, True):
            model = shard(make_model(PROCESSOR, hidden_dropout_prob=0.0, **options))
            rows = slice(rank * 4 // size, (rank + 1) * 4 // size)
            lists = train_and_recommend(model, rows, recommend_first)
            alone = make_model(PROCESSOR, hidden_dropout_prob=0.0, **options)
            assert_close(lists, train_and_recommend(alone, slice(0, 4), recommend_first), atol=1e-4, rtol=1e-4)
    print("alike")


@pytest.mark.skipif(is_before("torch", "2.7"), reason="torch 2.6 shards on GPUs only")
@pytest.mark.parametrize("num_processes", [1, 2])
def test_sharded_it_trains_and_recommends_as_whole(num_processes):
    """Tied and untied, masked and causal, with and without a repeat prior; recommending before training, too."""
    tests = str(Path(__file__).parents[1])
    path = os.pathsep.join([str(Path(tests).parent), tests, os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(num_processes)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""}
    result = subprocess.run([*command, __file__], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.count("alike") == num_processes


if __name__ == "__main__":
    run(main)
