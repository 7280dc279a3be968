# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""examples/ensemble.py, from its command line."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from helpers import EXAMPLES, SMALL, run
from huggingface_hub import ModelCard
from transformers import pipeline

from bert4rec_hf import Bert4RecEnsembleForMaskedLM, load_checkpoint


QUICK = [
    *SMALL,
    "--max_steps",
    "6",
    "--save_steps",
    "2",
    "--min_events",
    "2",
    "--learning_rate",
    "0.02",
    "--k",
    "5",
    "10",
]
MEMBERS = """
- {}
- {hidden_size: 32, mlm_probability: 0.5, item_features: none}
- {seed: 9, norm_first: false, user_features: [age], keyword_max_length: 1}
"""


@pytest.fixture(scope="module")
def work_dir(sample_dir, tmp_path_factory):
    """A folder with ./exps, in which three members that differ were trained, and their ensemble."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "members.yaml").write_text(MEMBERS)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        arguments = ["--data_dir", sample_dir, "--save_dir", "exps", "--members", "members.yaml", *QUICK]
        run(monkeypatch, "ensemble", "train", *arguments)
    return folder


@pytest.fixture
def in_work_dir(work_dir, monkeypatch):
    monkeypatch.chdir(work_dir)


def test_members_differ_as_they_should_and_vote_as_one(work_dir):
    model, processor = load_checkpoint(str(work_dir / "exps" / "ensemble"))
    assert type(model) is Bert4RecEnsembleForMaskedLM
    assert [member.hidden_size for member in model.config.members] == [16, 32, 16]
    assert [member.norm_first for member in model.config.members] == [True, True, False]
    assert [len(member.item_features) for member in model.config.members] == [3, 0, 3]
    assert processor.user_feature_names == ["sex", "age"] and processor.data["item_features"]
    for number, member in enumerate(model.members, start=1):
        alone, _ = load_checkpoint(str(work_dir / "exps" / f"seed{number}"))
        assert all(torch.equal(a, b) for a, b in zip(member.parameters(), alone.parameters()))
    card = ModelCard.load(work_dir / "exps" / "ensemble" / "README.md")
    assert "mean probability of 3 members" in card.text and "mean of the members" in card.text
    assert 'model="exps/ensemble"' in card.text and str(work_dir) not in card.content and "{{" not in card.content
    results = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert results["ndcg@10"] > 0
    (report,) = json.loads((work_dir / "exps" / "ensemble" / "evaluation.json").read_text())
    assert report["members"] == [f"exps/seed{number}" for number in (1, 2, 3)]
    assert pipeline("item-recommendation", model=str(work_dir / "exps" / "ensemble"))({"history": []}, k=3)


def test_trained_again_nothing_is_and_other_flags_are_refused(in_work_dir, sample_dir, monkeypatch, capsys):
    before = {path: path.stat().st_mtime_ns for path in Path("exps").rglob("*.safetensors")}
    arguments = ["--data_dir", sample_dir, "--save_dir", "exps", "--members", "members.yaml"]
    for more, words in (
        (QUICK, "exps/ensemble is there already"),
        ([*QUICK, "--weight_decay", 0.5], "exps/seed1 has weight_decay 0.01, not 0.5"),
        ([*QUICK, "--num_members", 2], "num_members is 2; it must be at least 3"),
        ([*QUICK, "--push_to_hub"], "push_to_hub is not for members"),
        ([*QUICK, "--dropout_prob", 7], "has hidden_dropout_prob 0.1, not 7.0"),
    ):
        with pytest.raises(SystemExit) as error:
            run(monkeypatch, "ensemble", "train", *arguments, *more)
        assert error.value.code == 2 and words in capsys.readouterr().err.strip().splitlines()[-1]
    assert before == {path: path.stat().st_mtime_ns for path in Path("exps").rglob("*.safetensors")}


def test_numbers_mean_folders_and_each_member_is_reported(in_work_dir, sample_dir, tmp_path, monkeypatch, capsys):
    arguments = ["--data_dir", sample_dir, "--k", 5, 10, "--num_rounds", 50, "--output_dir", tmp_path / "report"]
    run(monkeypatch, "ensemble", "evaluate", "--model_dirs", "[1,2,3]", *arguments)
    printed = capsys.readouterr().out
    for name in ("the ensemble", "mean of the members", "exps/seed1", "exps/seed3", "most popular"):
        assert re.search(rf"^  {name} +0\.\d+ ±", printed, re.MULTILINE), name
    assert "Gain over mean of the members" in printed and "items in common" in printed
    (first,) = json.loads((tmp_path / "report" / "evaluation.json").read_text())
    run(monkeypatch, "ensemble", "evaluate", "--model_dirs", "1", "2", "3", *arguments)
    (again,) = json.loads((tmp_path / "report" / "evaluation.json").read_text())
    assert first == again
    (saved,) = json.loads(Path("exps/ensemble/evaluation.json").read_text())
    ndcg = [
        report["windows"][0]["groups"]["all users"]["results"]["BERT4Rec"]["ndcg@10"]["mean"]
        for report in (first, saved)
    ]
    assert ndcg[0] == pytest.approx(ndcg[1])
    run(monkeypatch, "evaluate", "--model_dir", "exps/ensemble", *arguments)  # which is a model like others
    (alone,) = json.loads((tmp_path / "report" / "evaluation.json").read_text())
    assert alone["windows"][0]["groups"]["all users"]["results"]["BERT4Rec"]["ndcg@10"]["mean"] == pytest.approx(
        ndcg[0]
    )


def test_weights_are_fitted_and_what_is_chosen_is_saved(in_work_dir, sample_dir, tmp_path, monkeypatch, capsys):
    arguments = ["--data_dir", sample_dir, "--k", 5, "--num_rounds", 0]
    models = ["--model_dirs", "exps/seed1", "exps/seed2", "exps/seed3", "--weights"]
    run(monkeypatch, "ensemble", "evaluate", *models, "fitted", *arguments, "--save_dir", tmp_path / "best")
    chosen = dict(re.findall(r"exps/seed(\d) (\d+)", re.search("weights by NDCG@5 .*", capsys.readouterr().out)[0]))
    model, _ = load_checkpoint(str(tmp_path / "best"))
    assert [str(int(weight)) for weight in model.config.weights] == list(chosen.values())
    assert len(model.members) == len(chosen)
    run(monkeypatch, "ensemble", "evaluate", *models, 1, 2, 3, *arguments, "--voting", "reciprocal_rank")
    for what, words in (
        (["--weights", 1, 2], "there are 3 members and 2 weights"),
        (["--weights", "much"], "weights are much; give numbers, or fitted"),
        (["--save_dir", "exps"], "exps is not empty"),
        (["--split", "none"], "none are left to evaluate"),
    ):
        with pytest.raises(SystemExit) as error:
            run(monkeypatch, "ensemble", "evaluate", *models[:-1], *what, *arguments)
        assert error.value.code == 2 and words in capsys.readouterr().err.strip().splitlines()[-1]


def test_nothing_trains_an_ensemble_further(in_work_dir, sample_dir, tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit) as error:
        arguments = ["--data_dir", sample_dir, "--save_dir", tmp_path / "further", "--init_from", "exps/ensemble"]
        run(monkeypatch, "train", *arguments)
    assert error.value.code == 2 and "exps/ensemble is an ensemble; go on from" in capsys.readouterr().err
    assert not (tmp_path / "further").exists()


def read(file):
    with open(file, encoding="utf-8-sig") as stream:
        return {row["profile_id"]: row for row in csv.DictReader(stream)}


def test_predictions_go_to_the_profiles_they_are_for(in_work_dir, sample_dir, tmp_path, monkeypatch):
    """Whatever the order of the profiles in their files: the original matched rows by their place."""
    shuffled = tmp_path / "shuffled"
    shutil.copytree(sample_dir, shuffled)
    for file in ("sample_submission.csv", "profile_data.csv"):
        head, *rows = (shuffled / file).read_text(encoding="utf-8-sig").splitlines()
        (shuffled / file).write_text("\n".join([head, *rows[::-1]]) + "\n", encoding="utf-8")
    written = []
    for data_dir in (sample_dir, shuffled):
        output_file = tmp_path / f"{data_dir.name}.csv"
        arguments = ["--data_dir", data_dir, "--output_file", output_file]
        run(monkeypatch, "ensemble", "predict", "--model_dirs", "[1,2,3]", *arguments)
        written.append(read(output_file))
    assert list(written[0]) == list(written[1])[::-1] == list(read(sample_dir / "sample_submission.csv"))
    assert written[0] == written[1]
    model, processor = load_checkpoint("exps/ensemble")
    profiles = read(sample_dir / "profile_data.csv")
    with open(sample_dir / "history_data.csv", encoding="utf-8-sig") as stream:
        log = list(csv.DictReader(stream))
    checked = 0
    for profile, row in list(written[0].items())[:20]:
        lines = {tuple(line.items()): line for line in log if line["profile_id"] == profile}  # without duplicates
        history = [int(line["album_id"]) for line in sorted(lines.values(), key=lambda line: int(line["log_time"]))]
        known = profiles.get(profile, {})
        inputs = processor([history], [{"sex": known.get("sex"), "age": known.get("age")}])
        expected = processor.decode(model.recommend(**inputs, k=25).item_ids)[0]
        assert {*json.loads(row["predicted_list"])} == {*expected}, profile
        checked += bool(history)
    assert checked > 5
    run(monkeypatch, "predict", "--model_dir", "exps/ensemble", *arguments)  # which is a model like others
    assert read(output_file) == written[0]


def test_a_killed_training_goes_on_where_it_was(sample_dir, tmp_path):
    def start():
        arguments = ["--data_dir", str(sample_dir), "--num_members", "2", "--max_steps", "60", "--save_steps", "5"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(EXAMPLES.parent)}
        return subprocess.Popen(
            [sys.executable, "-m", "bert4rec_hf", "ensemble", "train", *arguments, *SMALL, "--save_dir", "exps"],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def wait_for(pattern):
        until = time.monotonic() + 120
        while not (found := sorted(tmp_path.glob(pattern))) and time.monotonic() < until:
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.02)
        return found

    process = start()
    assert wait_for("exps/seed2/checkpoint-*/trainer_state.json")
    process.send_signal(signal.SIGKILL)
    process.wait()
    first = (tmp_path / "exps" / "seed1" / "model.safetensors").stat().st_mtime_ns
    steps = {int(path.name.rpartition("-")[2]) for path in tmp_path.glob("exps/seed2/checkpoint-*")}
    assert max(steps) < 60 and not (tmp_path / "exps" / "seed2" / "model.safetensors").exists()
    process = start()
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == 0, printed
    assert "member 1 of 2: exps/seed1, there already" in printed and "saved to exps/ensemble" in printed
    assert (tmp_path / "exps" / "seed1" / "model.safetensors").stat().st_mtime_ns == first
    state = json.loads((tmp_path / "exps" / "seed2" / "checkpoint-60" / "trainer_state.json").read_text())
    assert state["global_step"] == 60

    whole = tmp_path / "whole"  # as if nothing had happened
    flags = ["--data_dir", str(sample_dir), "--max_steps", "60", "--save_steps", "5", "--seed", "2", *SMALL]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(EXAMPLES.parent)}
    command = [sys.executable, "-m", "bert4rec_hf", "train", *flags, "--save_dir", str(whole)]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    for folder in (whole, tmp_path / "exps" / "seed2"):
        model, _ = load_checkpoint(str(folder))
        if folder == whole:
            expected = model
    for a, b in zip(expected.parameters(), model.parameters()):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (None, "members.yaml: No such file"),
        ("{a: 1}", "members.yaml: it must be a list with names and values for each member"),
        ("- {learning: 3}", "members.yaml: member 1 has 'learning', which is no argument of a member"),
        ("- {}\n- {save_dir: x}", "members.yaml: member 2 has 'save_dir'"),
        ("- {", "members.yaml: while parsing"),
        ("- {}\n- {learning_rate: -1}", "learning_rate is -1.0; it must be at least 0"),
    ],
)
def test_bad_members_are_refused_before_anything_is_trained(sample_dir, tmp_path, monkeypatch, capsys, members, words):
    monkeypatch.chdir(tmp_path)
    if members is not None:
        Path("members.yaml").write_text(members)
    with pytest.raises(SystemExit) as error:
        arguments = ["--data_dir", sample_dir, "--save_dir", "exps", "--members", "members.yaml", *QUICK]
        run(monkeypatch, "ensemble", "train", *arguments)
    assert error.value.code == 2 and words in capsys.readouterr().err.strip().splitlines()[-1]
    assert not Path("exps").exists()


def test_the_first_word_says_what_to_do(monkeypatch, capsys):
    for arguments in ([], ["vote"]):
        with pytest.raises(SystemExit) as error:
            run(monkeypatch, "ensemble", *arguments)
        assert error.value.code == 2 and "must be one of train, evaluate, predict" in capsys.readouterr().err
    run(monkeypatch, "ensemble", "--help")
    assert "[1,2,3]" in capsys.readouterr().out
