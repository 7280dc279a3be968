# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""`bert4rec-hf nightly` over three nights, against a server that answers as the Hub does."""

import json
import os
import re
import subprocess
import sys

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pytest
from helpers import EXAMPLES, SMALL
from hub_server import HubServer
from huggingface_hub import ModelCard

from bert4rec_hf import write_sample_data


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    """A log that is a week longer each night."""
    whole = tmp_path_factory.mktemp("whole")
    write_sample_data(whole, num_profiles=300, num_albums=60, num_rows=24_000)
    log = pyarrow.csv.read_csv(whole / "history_data.csv")
    folders = []
    for last_day in (20220407, 20220414, 20220421):
        folder = tmp_path_factory.mktemp("night")
        for file in whole.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        day = pc.floor(pc.divide(pc.cast(log["log_time"], pa.float64()), 1e6))
        pyarrow.csv.write_csv(log.filter(pc.less_equal(day, last_day)), folder / "history_data.csv")
        folders.append(folder)
    return folders


def test_three_nights_of_which_one_is_not_pushed(nights, tmp_path):
    def night(*arguments, **variables):
        command = [sys.executable, "-m", "bert4rec_hf", "nightly", "--hub_model_id", "user/live", *map(str, arguments)]
        path = os.pathsep.join([str(EXAMPLES.parent), os.environ.get("PYTHONPATH", "")])
        environment = {
            **os.environ,
            **server.environment(tmp_path / "home"),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": path,
        }
        ended = subprocess.run(command, cwd=tmp_path, env=environment | variables, capture_output=True, text=True)
        return ended.returncode, (ended.stdout.strip().splitlines() or [""])[-1], ended

    with HubServer() as server:
        first = ["--data_dir", nights[0], *SMALL, "--hidden_size", 32, "--epochs", 15, "--train_batch_size", 16]
        code, said, ended = night(*first)
        assert code == 0 and "there was no live model" in said, ended.stderr
        repo = server.repos["model", "user/live"]
        live = [repo.branches["main"]]

        # Trained too fast for too short a time: worse for sure
        bad = ["--data_dir", nights[1], "--max_steps", 30, "--learning_rate", 3, "--warmup_ratio", 0]
        code, said, ended = night(*bad)
        assert code == 1 and "NOT pushed: worse for sure" in said and live[0] in said, ended.stdout + ended.stderr
        assert repo.branches["main"] == live[0] and (tmp_path / "nightly" / "2022-04-14" / "README.md").exists()

        code, said, ended = night("--data_dir", nights[2], "--epochs", 3)
        assert code == 0 and "pushed to" in said and said.endswith(f"--roll_back_to {live[0]}"), (
            ended.stdout + ended.stderr
        )
        live.append(repo.branches["main"])
        (line,) = re.findall(r".* users: ndcg@10 .*", ended.stdout)
        low = float(re.search(r"95% ([+-]\S+) to", line)[1])
        assert live[1] != live[0] and low > -0.1
        config = json.loads(server.files("user/live")["processor_config.json"])
        assert config["split"]["cutoff"] == "2022-04-15"
        card = ModelCard(server.files("user/live")["README.md"].decode())
        assert card.data.base_model is None and 'model="user/live"' in card.text

        code, said, ended = night("--data_dir", nights[2], "--epochs", 3)  # typed again: nothing to do
        assert code == 0 and "+0.0000, 95% +0.0000 to +0.0000" in ended.stdout, ended.stderr

        code, said, ended = night("--roll_back_to", live[0])
        assert code == 0 and said.startswith(f"user/live is as it was at {live[0]}"), ended.stderr
        old, now = repo.commits[live[0]], server.files("user/live")
        assert all(now[name] == old[name].data for name in ("model.safetensors", "vocabulary.json", "config.json"))

        code, said, ended = night("--roll_back_to", "0" * 40)
        assert code == 2 and "no such revision" in ended.stderr.strip().splitlines()[-1]
    code, said, ended = night("--data_dir", nights[2])
    assert code == 2 and "cannot be reached" in ended.stderr.strip().splitlines()[-1]
