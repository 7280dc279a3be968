# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""What all commands share: what they need, what they check before the work, and what they print anywhere."""

import ast
import csv
import json
import os
import shutil
import subprocess
import sys

import pytest
from helpers import SMALL, run

from bert4rec_hf import write_sample_data


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared") / "자료"
    write_sample_data(str(folder), num_profiles=60, num_albums=30, num_rows=1500)
    return folder


@pytest.fixture(scope="module")
def model_dir(data_dir):
    folder = data_dir.parent / "모델"
    with pytest.MonkeyPatch.context() as monkeypatch:
        flags = ["--data_dir", data_dir, "--save_dir", folder, *SMALL, "--epochs", 1, "--k", 10]
        run(monkeypatch, "train", *flags)
    return folder


@pytest.fixture
def log_alone(data_dir, tmp_path):
    """What a server may have: the log, and whom to recommend to."""
    for name in ("history_data.csv", "sample_submission.csv"):
        shutil.copy(data_dir / name, tmp_path)
    return tmp_path


def lists(path):
    with open(path, encoding="utf-8", newline="") as file:
        return {row["profile_id"]: ast.literal_eval(row["predicted_list"]) for row in csv.DictReader(file)}


def test_predict_and_evaluate_need_the_log_alone(data_dir, model_dir, log_alone, monkeypatch, capsys):
    shutil.copy(data_dir / "profile_data.csv", log_alone)
    for name, folder in (("all", data_dir), ("log and profiles", log_alone)):
        flags = ["--model_dir", model_dir, "--data_dir", folder, "--k", 10]
        run(monkeypatch, "predict", *flags, "--output_file", log_alone / f"{name}.csv")
        run(monkeypatch, "evaluate", *flags, "--output_dir", log_alone / name)
    assert (log_alone / "all.csv").read_text() == (log_alone / "log and profiles.csv").read_text()
    reports = [(log_alone / name / "evaluation.json").read_text() for name in ("all", "log and profiles")]
    assert reports[0] == reports[1]
    (log_alone / "profile_data.csv").unlink()
    capsys.readouterr()
    run(monkeypatch, "predict", *flags, "--output_file", log_alone / "alone.csv")
    assert "users whose sex is not read, taken as missing" in capsys.readouterr().out
    assert lists(log_alone / "alone.csv").keys() == lists(log_alone / "all.csv").keys()
    ensemble = ["--model_dirs", model_dir, "--data_dir", log_alone, "--k", 10]
    run(monkeypatch, "ensemble", "predict", *ensemble, "--output_file", log_alone / "voted.csv")
    assert lists(log_alone / "voted.csv") == lists(log_alone / "alone.csv")


def test_without_a_list_of_profiles_all_users_of_the_log_get_one(data_dir, model_dir, log_alone, monkeypatch):
    flags = ["--model_dir", model_dir, "--data_dir", log_alone, "--k", 3]
    run(monkeypatch, "predict", *flags, "--submission_file", "none", "--output_file", log_alone / "none.csv")
    (log_alone / "sample_submission.csv").unlink()
    run(monkeypatch, "predict", *flags, "--output_file", log_alone / "all.csv")
    with open(data_dir / "history_data.csv", encoding="utf-8") as file:
        users = {row["profile_id"] for row in csv.DictReader(file)}
    assert lists(log_alone / "all.csv").keys() == users and (log_alone / "history_data.csv").is_file()
    assert (log_alone / "all.csv").read_text() == (log_alone / "none.csv").read_text()


def test_a_profile_table_that_one_names_must_be_there(model_dir, log_alone, monkeypatch, capsys):
    flags = ["--model_dir", model_dir, "--data_dir", log_alone, "--profile_data_file", "profiles.csv", "--k", 5]
    with pytest.raises(SystemExit):
        run(monkeypatch, "predict", *flags)
    assert "profiles.csv: there is no such file" in capsys.readouterr().err


def test_allow_fewer_makes_lists_as_long_as_there_are_items(data_dir, model_dir, tmp_path, monkeypatch, capsys):
    flags = ["--model_dir", model_dir, "--data_dir", data_dir, "--exclude_seen", "--k", 29]
    for command, output in (("predict", "--output_file"), ("evaluate", "--output_dir")):
        with pytest.raises(SystemExit) as error:
            run(monkeypatch, command, *flags, output, tmp_path / "refused")
        said = capsys.readouterr().err
        assert error.value.code == 2 and "k is 29; it must be from 1 to" in said and "--allow_fewer" in said
        assert not (tmp_path / "refused").exists()
    run(monkeypatch, "predict", *flags, "--output_file", tmp_path / "short.csv", "--allow_fewer")
    run(monkeypatch, "evaluate", *flags, "--output_dir", tmp_path / "report", "--allow_fewer")
    vocabulary = json.loads((model_dir / "vocabulary.json").read_text(encoding="utf-8"))["item_ids"]
    seen = {}
    with open(data_dir / "history_data.csv", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            seen.setdefault(row["profile_id"], set()).add(int(row["album_id"]))
    short = lists(tmp_path / "short.csv")
    assert min(map(len, short.values())) < 29
    for user, items in short.items():
        unseen = set(vocabulary) - seen.get(user, set())
        assert len(items) == len(set(items)) == min(29, len(unseen)) and set(items) <= unseen
    (window,) = json.loads((tmp_path / "report" / "evaluation.json").read_text())[0]["windows"]
    results = window["groups"]["all users"]["results"]["BERT4Rec"]
    assert 0 < results["coverage@29"]["mean"] <= 1 and 0 <= results["recall@29"]["mean"] <= 1
    with pytest.raises(SystemExit):
        run(monkeypatch, "predict", *flags[:-1], 0, "--output_file", tmp_path / "none.csv", "--allow_fewer")
    assert "k is 0; it must be from 1" in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["ascii", "cp949"])
def test_a_print_never_ends_a_run(data_dir, model_dir, tmp_path, encoding):
    """Of a folder and a column with a Korean name: where they cannot be printed they are escaped."""
    environment = {**os.environ, "PYTHONIOENCODING": f"{encoding}:strict", "OMP_NUM_THREADS": "1"}

    def say(command, *flags):
        command = [sys.executable, "-m", "bert4rec_hf", command, "--data_dir", data_dir, *map(str, flags)]
        ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True)
        return ended.returncode, ended.stdout.decode(encoding), ended.stderr.decode(encoding)

    code, out, err = say("train", "--save_dir", "실험", *SMALL, "--epochs", 1, "--max_steps", 1, "--k", 5)
    assert code == 0, err
    said = "실험" if encoding == "cp949" else r"\uc2e4\ud5d8"
    assert out.splitlines()[-1] == f"saved to {said}"
    assert (tmp_path / "실험" / "README.md").is_file()
    code, _, err = say("predict", "--model_dir", model_dir, "--time_column", "시각", "--k", 5)
    assert code == 2 and err.splitlines()[-1].startswith("error: ") and "Traceback" not in err


@pytest.mark.parametrize("command", ["predict", "evaluate", "analyze"])
def test_what_cannot_be_written_is_known_before_the_work(data_dir, model_dir, tmp_path, monkeypatch, capsys, command):
    monkeypatch.setattr("bert4rec_hf.read_interactions", lambda *args: pytest.fail("the work has begun"))
    monkeypatch.setattr("bert4rec_hf.load_checkpoint", lambda *args: pytest.fail("the work has begun"))
    output = "--output_file" if command == "predict" else "--output_dir"
    flags = ["--data_dir", data_dir, *(["--model_dir", model_dir] if command != "analyze" else [])]
    (tmp_path / "file").write_text("")

    def refuse(*args, **kwargs):
        raise OSError(30, "Read-only file system")

    for path, broken in ((tmp_path / "file" / "x", False), ("m\udcff", False), (tmp_path / "new", True)):
        with monkeypatch.context() as disk, pytest.raises(SystemExit) as error:
            if broken:
                disk.setattr("bert4rec_hf.files.tempfile.TemporaryFile", refuse)
            run(monkeypatch, command, *flags, output, path)
        said = capsys.readouterr().err.splitlines()[-1]
        assert error.value.code == 2 and said.startswith("error: ") and str(path)[:-1] in said


def test_a_log_of_single_events_gets_a_hint(tmp_path, monkeypatch, capsys):
    (tmp_path / "history_data.csv").write_text(
        "profile_id,album_id,log_time\n" + "".join(f"{n},{n % 3},20220401\n" for n in range(9))
    )
    none = ["--item_features", "none", "--user_features", "none", "--meta_data_file", "none"]
    none += ["--profile_data_file", "none", "--meta_data_plus_file", "none"]
    flags = ["--data_dir", tmp_path, "--save_dir", tmp_path / "run", *none, *SMALL]
    with pytest.raises(SystemExit):
        run(monkeypatch, "train", *flags)
    assert "no user has the 3 events that it takes (--split none trains on all events)" in capsys.readouterr().err
    run(monkeypatch, "train", *flags, "--split", "none", "--epochs", 1)
    assert (tmp_path / "run" / "model.safetensors").is_file()


def test_the_list_of_profiles_is_not_overwritten(data_dir, model_dir, monkeypatch, capsys, tmp_path):
    shutil.copytree(data_dir, tmp_path / "data")
    flags = ["--model_dir", model_dir, "--data_dir", tmp_path / "data", "--k", 5]
    before = (tmp_path / "data" / "sample_submission.csv").read_bytes()
    with pytest.raises(SystemExit):
        run(monkeypatch, "predict", *flags, "--output_file", tmp_path / "data" / "sample_submission.csv")
    assert "lists the profiles; give another --output_file" in capsys.readouterr().err
    assert (tmp_path / "data" / "sample_submission.csv").read_bytes() == before
