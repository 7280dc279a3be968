# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from helpers import make_processor, model_of, run

from bert4rec_hf import DataArguments, DataError, load_checkpoint, read_interactions
from bert4rec_hf.data.encoding import encode_histories
from bert4rec_hf.evaluation.evaluator import recommend_all
from bert4rec_hf.serving.vectors import item_vectors, user_vectors


def test_tables_of_vectors_have_the_order_of_the_recommendations(trained, sample_dir, tmp_path, monkeypatch):
    flags = ["--model_dir", trained, "--data_dir", sample_dir, "--format", "parquet", "--output_dir", tmp_path / "new"]
    run(monkeypatch, "export", *flags, "--user_vectors")
    items, users = (pq.read_table(tmp_path / "new" / f"{name}.parquet") for name in ("items", "users"))
    model, processor = load_checkpoint(str(trained))
    assert items["item_id"].to_pylist() == processor.vocabulary["item_ids"]
    assert items["title"].to_pylist() == processor.vocabulary["titles"]
    interactions = read_interactions(DataArguments(data_dir=str(sample_dir)).for_checkpoint(processor))
    assert users["profile_id"].to_pylist() == interactions.user_ids.to_pylist()
    vectors = [np.stack(table["vector"].to_numpy()) for table in (users, items)]
    rows = encode_histories(interactions, processor, np.arange(len(interactions.user_ids)))
    expected = recommend_all(model.recommend, rows, processor, 5) - 3
    assert np.array_equal(np.argsort(-(vectors[0] @ vectors[1].T), axis=1)[:, :5], expected)


@pytest.mark.parametrize("kind", ["prior", "ensemble"])
def test_models_without_vectors_are_refused_in_one_line(kind, trained, sample_dir):
    processor = make_processor()
    model = model_of(processor, kind)
    with pytest.raises(DataError, match="has no vectors"):
        item_vectors(model, processor)
    interactions = read_interactions(DataArguments(data_dir=str(sample_dir)))
    with pytest.raises(DataError, match="has no vectors"):
        user_vectors(model, processor, interactions)


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--format", "parquet", "--int8"], "k, exclude_seen and int8 are for the formats onnx and openvino"),
        (["--user_vectors"], "user_vectors needs --format parquet"),
        (["--format", "openvino", "--int8"], "int8 needs the format onnx"),
        (["--k", "0"], "k is 0; it must be from 1 to"),
        (["--format", "tflite"], "--format"),
        (["--output_dir", "model.safetensors"], "cannot be made"),
    ],
)
def test_what_cannot_be_exported_is_one_line(flags, words, trained, sample_dir, monkeypatch, capsys):
    monkeypatch.chdir(trained)
    with pytest.raises(SystemExit) as error:
        run(monkeypatch, "export", "--model_dir", trained, "--data_dir", sample_dir, *flags)
    lines = capsys.readouterr().err.strip().splitlines()
    assert error.value.code == 2 and lines[-1].startswith("error: ") and words in lines[-1]
    assert not (trained / "onnx" / "model.onnx").exists() and not (trained / "openvino").exists()


def test_without_the_extra_it_is_told_what_to_install(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "transformers.exporters.exporter_onnx", None)
    with pytest.raises(SystemExit) as error:
        run(monkeypatch, "export", "--model_dir", trained, "--output_dir", tmp_path / "new")
    assert error.value.code == 2 and "pip install bert4rec-hf[export]" in capsys.readouterr().err
    assert not [*(tmp_path / "new").glob("*")]


def test_lists_of_a_submission_may_be_limited(trained, sample_dir, tmp_path, monkeypatch, capsys):
    flags = ["--model_dir", trained, "--data_dir", sample_dir, "--output_file", tmp_path / "lists.csv", "--k", "4"]
    run(monkeypatch, "predict", *flags, "--max_per", "genre_mid=1")
    _, processor = load_checkpoint(str(trained))
    genres = dict(zip(processor.vocabulary["item_ids"], processor.vocabulary["item_feature_values"][0]))
    lines = (tmp_path / "lists.csv").read_text().splitlines()[1:]
    for line in lines:
        found = [genres[int(item)] for item in line.split("[")[1].split("]")[0].split(", ")]
        assert len({*map(tuple, found)} - {()}) == sum(map(bool, found))
    for wrong, words in (("genre_mid", "as in genre_mid=3"), ("colour=1", "no item feature 'colour'")):
        with pytest.raises(SystemExit):
            run(monkeypatch, "predict", *flags, "--max_per", wrong)
        assert words in capsys.readouterr().err


@pytest.mark.parametrize("exclude_seen", [False, True])
def test_several_threads_rank_as_one(trained, sample_dir, exclude_seen):
    model, processor = load_checkpoint(str(trained))
    interactions = read_interactions(DataArguments(data_dir=str(sample_dir)).for_checkpoint(processor))
    rows = encode_histories(interactions, processor, np.arange(len(interactions.user_ids)))
    ranked = {}
    for num_threads in (1, 3):
        torch.set_num_threads(num_threads)
        try:
            ranked[num_threads] = recommend_all(model.recommend, rows, processor, 10, exclude_seen, batch_size=16)
            assert torch.get_num_threads() == num_threads
        finally:
            torch.set_num_threads(1)
    assert np.array_equal(ranked[1], ranked[3])
