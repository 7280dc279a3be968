# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Columns of every kind from the tables to a trained, resumed, grown and voting checkpoint."""

import json
import os
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
import torch
from helpers import SMALL, run
from torch.testing import assert_close

from bert4rec_hf import load_checkpoint
from bert4rec_hf.training.checkpoints import write_manifest


FLAGS = [*SMALL, "--number_features", "age", "--vector_features", "picture", "--user_features", "sex", "age", "likes"]
FLAGS += ["--multi_value_separator", "|", "--causal", "--epochs", "2", "--exclude_seen", "--k", "5"]
FLAGS += ["--time_intervals", "attention", "--request_time"]


@pytest.fixture(scope="module")
def data_dir(sample_dir, tmp_path_factory):
    """The sample data with a vector of each second item, what profiles like, and an age that nobody else has."""
    folder = tmp_path_factory.mktemp("columns") / "data"
    shutil.copytree(sample_dir, folder)
    items = pa.csv.read_csv(folder / "meta_data.csv")
    vectors = np.random.default_rng(0).normal(size=(len(items), 6)).round(3).tolist()
    texts = ["" if n % 2 else str(vector) for n, vector in enumerate(vectors)]
    pa.csv.write_csv(items.append_column("picture", [texts]), folder / "meta_data.csv")
    profiles = pa.csv.read_csv(folder / "profile_data.csv")
    likes = [("노래|동화", "동화", "")[n % 3] for n in range(len(profiles))]
    pa.csv.write_csv(profiles.append_column("likes", [likes]), folder / "profile_data.csv")
    return folder


@pytest.fixture(scope="module")
def trained(data_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("columns") / "model"
    with pytest.MonkeyPatch.context() as patch:
        run(patch, "train", "--data_dir", data_dir, "--save_dir", folder, "--save_strategy", "epoch", *FLAGS)
    return folder


def test_the_checkpoint_knows_them_all(trained):
    model, processor = load_checkpoint(str(trained))
    assert processor.user_feature_names == ["sex", "age", "likes"]
    age, likes = processor.vocabulary["user_features"][1:]
    assert all(isinstance(value, (int, float)) for value in age["values"]) and likes["max_values"] == 2
    assert [feature["name"] for feature in model.config.vector_features] == ["picture"]
    has_vector = model.get_input_embeddings().vectors.any(1)
    assert 0.3 < has_vector[3:].float().mean() < 0.7 and not has_vector[:3].any()
    assert processor.data["number_features"] == ["age"] and processor.data["vector_features"] == ["picture"]
    assert model.config.time_intervals == processor.data["time_intervals"] == "attention"
    assert json.loads((trained / "evaluation.json").read_text(encoding="utf-8"))[0]["request_time"] is True
    assert '"request_time"' in (trained / "README.md").read_text(encoding="utf-8")
    assert "picture (6 numbers)" in (trained / "README.md").read_text(encoding="utf-8")
    assert "picture" in (trained / "data.txt").read_text(encoding="utf-8")


def test_resumed_is_undisturbed(trained, data_dir, tmp_path, monkeypatch):
    shutil.copytree(trained, tmp_path / "model")
    checkpoints = sorted(tmp_path.glob("model/checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    shutil.rmtree(checkpoints[-1])
    for file in tmp_path.glob("model/*.*"):
        os.remove(file)
    run(monkeypatch, "train", "--data_dir", data_dir, "--save_dir", tmp_path / "model", "--resume", *FLAGS)
    states = [load_checkpoint(str(folder))[0].state_dict() for folder in (trained, tmp_path / "model")]
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]), name


def figures_of(folder):
    report = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))[0]
    return report["windows"][0]["groups"]["all users"]["results"]["BERT4Rec"]


def test_evaluate_and_predict_need_no_item_table(trained, data_dir, tmp_path, monkeypatch, capsys):
    shutil.copytree(data_dir, tmp_path / "data")
    (tmp_path / "data" / "meta_data.csv").unlink()
    flags = ["--model_dir", trained, "--data_dir", tmp_path / "data"]
    output, figures = ["--save_dir", tmp_path / "evaluation", "--k", "5", "--exclude_seen"], []
    for more in ([], ["--request_time"]):
        run(monkeypatch, "evaluate", *flags, *output, *more)
        assert ("moment of the first target is known" in capsys.readouterr().out) == bool(more)
        figures.append(figures_of(tmp_path / "evaluation"))
    assert figures[0] != figures[1] == figures_of(trained)
    for more in ([], ["--request_time", "2022-05-01T20:00"], ["--request_time", "noon"]):
        output = ["--output_file", tmp_path / f"lists{len(more)}.csv", "--k", "5", *more]
        if more[1:] == ["noon"]:
            with pytest.raises(SystemExit, match="2"):
                run(monkeypatch, "predict", *flags, *output)
            assert "request_time: 'noon' is no time" in capsys.readouterr().err
        else:
            run(monkeypatch, "predict", *flags, *output)
    assert (tmp_path / "lists0.csv").read_text() != (tmp_path / "lists2.csv").read_text()


def append(file, **changes):
    """Its first row once more, changed."""
    table = pa.csv.read_csv(file)
    row = table.slice(0, 1).to_pylist()[0] | changes
    pa.csv.write_csv(pa.concat_tables([table, pa.Table.from_pylist([row], table.schema)]), file)


def test_it_grows_by_new_items_with_their_vectors(trained, data_dir, tmp_path, monkeypatch):
    data = tmp_path / "data"
    shutil.copytree(data_dir, data)
    append(data / "meta_data.csv", album_id=999_999, picture="[1, 2, 3, 4, 5, 7]")
    append(data / "history_data.csv", album_id=999_999, log_time=20220501000000)
    flags = ["--data_dir", data, "--save_dir", tmp_path / "grown", "--init_from", trained, "--split", "none"]
    run(monkeypatch, "train", *flags, "--epochs", "1", "--learning_rate", "0")
    before, after = load_checkpoint(str(trained)), load_checkpoint(str(tmp_path / "grown"))
    place = after[1].encode_items([999_999])[0]
    vectors = after[0].get_input_embeddings().vectors
    expected = np.array([1, 2, 3, 4, 5, 7]) - 22 / 6
    np.testing.assert_allclose(vectors[place].numpy(), expected / np.linalg.norm(expected), atol=1e-3)
    num_before = before[1].vocab_size
    assert torch.equal(vectors[:num_before], before[0].get_input_embeddings().vectors)
    users = [{"sex": "F", "age": 5, "likes": ["동화", "노래"]}, None]
    history = before[1].decode(torch.arange(3, 7))
    scores = [model.score(**processor([history] * 2, users)) for model, processor in (before, after)]
    assert_close(scores[1][:, 3:num_before].log_softmax(-1), scores[0][:, 3:].log_softmax(-1), atol=1e-4, rtol=0)


def test_a_run_of_a_version_without_times_goes_on(data_dir, tmp_path, monkeypatch, capsys):
    flags = ["--data_dir", data_dir, "--save_dir", tmp_path / "run", *SMALL, "--epochs", "1"]
    run(monkeypatch, "train", *flags)
    for file in tmp_path.glob("run/**/processor_config.json"):
        settings = json.loads(file.read_text(encoding="utf-8"))
        del settings["data"]["time_intervals"]
        file.write_text(json.dumps(settings), encoding="utf-8")
    for file in tmp_path.glob("run/**/manifest.json"):
        file.unlink()
        write_manifest(str(file.parent))
    run(monkeypatch, "train", *flags, "--resume")
    with pytest.raises(SystemExit):
        run(monkeypatch, "train", *flags, "--resume", "--time_intervals", "input")
    assert "was trained with time_intervals none, not input; choose another --save_dir." in capsys.readouterr().err


def test_a_model_cannot_begin_to_read_times_later(trained, data_dir, tmp_path, monkeypatch, capsys):
    flags = ["--data_dir", data_dir, "--save_dir", tmp_path / "other", "--init_from", trained]
    with pytest.raises(SystemExit, match="2"):
        run(monkeypatch, "train", *flags, "--time_intervals", "none")
    assert "was trained with time_intervals attention, not none; leave it out." in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_two_vote(trained, data_dir, tmp_path, monkeypatch):
    flags = ["--data_dir", data_dir, "--save_dir", tmp_path / "other", *FLAGS, "--seed", "2", "--user_features", "age"]
    run(monkeypatch, "train", *flags)
    members = ["--model_dirs", trained, tmp_path / "other"]
    flags = ["--data_dir", data_dir, "--save_dir", tmp_path / "vote", "--request_time"]
    run(monkeypatch, "ensemble", "evaluate", *members, *flags)
    assert json.loads((tmp_path / "vote" / "evaluation.json").read_text(encoding="utf-8"))[0]["request_time"] is True
    model, processor = load_checkpoint(str(tmp_path / "vote"))
    inputs = processor([[]], [{"age": 5, "likes": ["동화", "노래"]}])
    assert inputs["user_features"].shape == (1, 4)
    assert model.score(**inputs)[0, 3:].isfinite().all()
