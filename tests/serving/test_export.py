# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers import KINDS, make_processor, make_processor_of_every_kind, model_of, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from bert4rec_hf import (
    Bert4RecConfig,
    Bert4RecEnsembleForMaskedLM,
    Bert4RecForMaskedLM,
    DataError,
    ItemRecommendationPipeline,
    RankingEvaluator,
)
from bert4rec_hf.serving import export
from bert4rec_hf.serving.export import ExportedModel, export_model
from bert4rec_hf.serving.recommend import Recommender


for needed in ("onnx", "onnxscript", "onnxruntime", "openvino", "transformers.exporters"):
    pytest.importorskip(needed)


ITEMS = st.sampled_from([f"i{n}" for n in range(50)] + ["new", "newer"])
USERS = st.lists(
    st.fixed_dictionaries(
        {"history": st.lists(ITEMS, max_size=30)},  # the model reads at most 15
        optional={
            "profile": st.fixed_dictionaries({}, optional={"sex": st.sampled_from("FMX"), "age": st.integers(3, 9)}),
            "candidates": st.lists(ITEMS, min_size=1, max_size=9).filter(
                lambda items: not {*items} <= {"new", "newer"}
            ),
            "exclude": st.lists(ITEMS, max_size=9),
        },
    ),
    min_size=1,
    max_size=5,
)


@pytest.fixture(scope="module", params=[*KINDS, "untied", "ensemble"])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def processor():
    return make_processor()


def make(processor, kind):
    if kind != "untied":
        return model_of(processor, kind)
    config = Bert4RecConfig(
        **processor.config_kwargs(),
        **{"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 16},
        **{"tie_word_embeddings": False, "head_item_features": False, "norm_first": True, "initializer_range": 0.3},
        position_embedding_type="rope",
    )
    model = Bert4RecForMaskedLM(config).eval()
    model.set_item_features(processor.item_features())
    return model


@pytest.fixture(scope="module", params=["onnx", "openvino"])
def exported(request, kind, processor, tmp_path_factory):
    """The pipeline of a model, and the folder it was exported to."""
    torch.manual_seed(0)
    model, folder = make(processor, kind), tmp_path_factory.mktemp("exported")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    export_model(model, processor, str(folder), request.param)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])  # a copy was exported
    return ItemRecommendationPipeline(model=model, processor=processor), str(folder)


def assert_alike(lists, expected, tolerance=1e-4):
    """Equal but for items within the tolerance of each other."""
    for items, others in zip(lists, expected, strict=True):
        scores, other_scores = ([item["score"] for item in rows] for rows in (items, others))
        np.testing.assert_allclose(scores, other_scores, atol=tolerance, rtol=0)
        assert [item["rank"] for item in items] == [item["rank"] for item in others]
        by_id = {item["item_id"]: item for item in others}
        for place, item in enumerate(items):
            other = by_id.get(item["item_id"], {"score": scores[-1], "title": item["title"]})
            assert abs(item["score"] - other["score"]) <= tolerance and item["title"] == other["title"]
            assert abs(other_scores[place] - other["score"]) <= 2 * tolerance


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(users=USERS, k=st.integers(1, 60), exclude_seen=st.booleans())
def test_what_is_exported_recommends_as_the_model(exported, users, k, exclude_seen):
    pipe, folder = exported
    recommend = RUNNERS.setdefault(folder, Recommender(folder, num_threads=1))
    lists = recommend(users, k=k, exclude_seen=exclude_seen)
    expected = pipe(users, k=k, exclude_seen=exclude_seen, batch_size=len(users))
    assert_alike(lists, expected)
    assert_alike([recommend(users[0], k=k)], [pipe(users[0], k=k)])


RUNNERS = {}


@pytest.mark.parametrize("export_format, kind", [("onnx", "causal"), ("onnx", "masked"), ("openvino", "causal")])
def test_features_of_every_kind_are_exported(export_format, kind, tmp_path):
    processor = make_processor_of_every_kind()
    model = model_of(processor, kind)
    export_model(model, processor, str(tmp_path), export_format)
    users = [
        {
            "history": ["i1", "other", "i4"],
            "profile": {"sex": "F", "age": 6, "likes": ["노래", "동화"]},
            "times": [1_700_000_000, None, "2023-11-15T00:00"],
            "request_time": "2023-11-15T12:00:00+09:00",
        },
        {"history": [], "profile": {"likes": "노래", "age": None}, "request_time": 1_700_000_000},
        {"history": ["i3"] * 20, "times": [1_700_000_000 + 60 * n**3 for n in range(20)]},
    ]
    expected = ItemRecommendationPipeline(model=model, processor=processor)(users, k=7, batch_size=3)
    recommend = Recommender(str(tmp_path))
    assert_alike(recommend(users, k=7), expected)
    without = [{name: value for name, value in user.items() if "time" not in name} for user in users]
    assert recommend(without, k=7)[0] != expected[0]  # the times count
    history = torch.tensor([[0, 4, 7], [5, 6, 0]])
    moments = torch.tensor([[0, 1_600_000_000, 1_600_000_100, 0], [1_500_000_000, 1_500_009_000, 0, 1_600_000_000]])
    exported = ExportedModel(str(tmp_path))
    assert_close(
        exported.score(history, timestamps=moments), model.score(history, timestamps=moments), atol=1e-4, rtol=0
    )
    assert_close(exported.score(history), model.score(history), atol=1e-4, rtol=0)


def test_scores_are_the_models_own_and_filters_work(exported):
    pipe, folder = exported
    model = ExportedModel(folder)
    for rows, length in ((1, 1), (3, 15), (2, 16), (4, 40)):
        input_ids = torch.randint(3, 53, (rows, length))
        input_ids[0, : length // 2] = 0
        features = torch.randint(0, 3, (rows, 2))
        assert_close(
            model.score(input_ids, None, features), pipe.model.score(input_ids, None, features), atol=1e-4, rtol=0
        )
        wishes = {"k": 4, "candidate_ids": torch.arange(3, 20), "exclude_ids": torch.tensor([5])}
        lists = [one.recommend(input_ids, None, features, **wishes).item_ids for one in (model, pipe.model)]
        assert torch.equal(*lists)
    right = torch.tensor([[5, 9, 7, 0, 0]])
    assert_close(model.score(right), pipe.model.score(right), atol=1e-4, rtol=0)


def test_a_graph_may_return_lists(processor, tmp_path):
    model = model_of(processor, "prior")
    export_model(model, processor, str(tmp_path), k=7, exclude_seen=True)
    recommend, pipe = Recommender(str(tmp_path)), ItemRecommendationPipeline(model=model, processor=processor)
    users = [{"history": ["i1", "i4"]}, {"history": []}, {"history": ["i3"] * 20}]
    assert_alike(recommend(users, k=7), pipe(users, k=7, exclude_seen=True))
    assert_alike(recommend(users, k=3), pipe(users, k=3, exclude_seen=True))
    for kwargs, user in (({"k": 8}, {}), ({"exclude_seen": True}, {}), ({}, {"candidates": ["i1"]})):
        with pytest.raises(ValueError, match="exported with lists of 7 items"):
            recommend({"history": [], **user}, **({"k": 5} | kwargs))
    with pytest.raises(ValueError, match="the graph returns lists"):
        ExportedModel(str(tmp_path)).score(torch.tensor([[3]]))


def test_the_runner_needs_numpy_and_onnxruntime_alone(processor, tmp_path):
    model = model_of(processor, "masked")
    folder = tmp_path / "onnx"
    export_model(model, processor, str(folder))
    assert {path.name for path in folder.iterdir()} == {
        *("model.onnx", "model.onnx.data", "vocabulary.json", "processor_config.json", "config.json"),
        *("recommend.py", "vocabulary_bert4rec.py"),
    }
    hide = "import os, runpy, sys\nfor name in sys.argv.pop(1).split(','): sys.modules[name] = None\n"
    run_it = "sys.argv.pop(0)\nsys.path.insert(0, os.path.dirname(sys.argv[0]))\n"
    run_it += "runpy.run_path(sys.argv[0], run_name='__main__')"
    names = "torch,transformers,bert4rec_hf,datasets,pyarrow,huggingface_hub,onnx,safetensors"
    user = '{"history": ["i1", "i4"], "profile": {"sex": "F", "age": 7.0}}'
    command = [os.environ.get("RUNNER_PYTHON", sys.executable), "-c", hide + run_it, names]
    command += [str(folder / "recommend.py"), user, "--k", "4"]
    out = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    pipe = ItemRecommendationPipeline(model=model, processor=processor)
    assert_alike([json.loads(out)], [pipe({"history": ["i1", "i4"], "profile": {"sex": "F", "age": 7}}, k=4)])


def test_bad_users_are_refused_in_one_line(processor, tmp_path):
    processor.unknown_items = "error"
    export_model(model_of(processor, "masked"), processor, str(tmp_path))
    processor.unknown_items = "skip"
    recommend = Recommender(str(tmp_path))
    for user, words in (
        ("i1", "a user is"),
        ({"history": "i1"}, "history is 'i1'; it must be a list"),
        ({"history": None}, "a user is"),
        ({"history": [], "exclud": ["i1"]}, "a user is"),
        ({"history": [], "candidates": "i1"}, "candidates is 'i1'; it must be a list"),
        ({"history": [], "profile": "F"}, "profile is 'F'; it must be a dict"),
        ({"history": [["i1"]]}, "item ids are numbers or texts"),
        ({"history": [3]}, "item id 3 is a int"),
        ({"history": ["new"]}, "item 'new' is not in the vocabulary"),
    ):
        with pytest.raises(ValueError, match=words):
            recommend([user])
    with pytest.raises(ValueError, match="k is 0"):
        recommend({"history": []}, k=0)
    assert recommend([]) == []
    recommend.unknown_items = "skip"
    assert len(recommend({"history": [], "candidates": ["i1", "new"]})) == 1
    with pytest.raises(ValueError, match="holds no exported model"):
        (tmp_path / "model.onnx").unlink()
        Recommender(str(tmp_path))


def test_what_cannot_be_exported_is_refused_and_nothing_written(processor, tmp_path, monkeypatch):
    model, folder = model_of(processor, "masked"), tmp_path / "out"
    members = [model, model_of(processor, "causal")]
    ranks = Bert4RecEnsembleForMaskedLM.from_members(members, processor, voting="reciprocal_rank")
    for arguments, words in (
        ((ranks, processor, str(folder)), "reciprocal ranks cannot be exported"),
        ((model, processor, str(folder), "tflite"), "must be one of onnx, openvino"),
        ((model, processor, str(folder), "onnx", 51), "k is 51"),
    ):
        with pytest.raises(DataError, match=words):
            export_model(*arguments)
    assert not folder.exists()

    def fail(*args, **kwargs):
        raise DataError("no")

    monkeypatch.setattr(export, "_save_graphs", fail)
    with pytest.raises(DataError, match="no"):
        export_model(model, processor, str(folder))
    assert not folder.exists()


class Judge:
    """An evaluator that finds a part of the NDCG in an int8 model."""

    def __init__(self, part):
        self.part, self.calls = part, 0

    def __call__(self, model):
        assert model.recommend(torch.tensor([[4, 5]]), k=3).item_ids.shape == (1, 3)
        self.calls += 1
        return {"ndcg@10": 0.5 * (1 if self.calls == 1 else self.part)}


@pytest.mark.parametrize("part, k", [(0.985, None), (0.991, None), (0.991, 7)])
def test_int8_is_kept_if_its_lists_are_as_good(processor, tmp_path, part, k):
    model = model_of(processor, "masked")
    ndcg = export_model(model, processor, str(tmp_path), k=k, int8_evaluator=Judge(part))
    assert ndcg == {"float32": 0.5, "int8": 0.5 * part}
    kept = {path.name for path in tmp_path.iterdir() if "int8" in path.name}
    assert kept == ({"model_int8.onnx", "model_int8.onnx.data"} if part > 0.99 else set())
    if kept:
        Recommender(str(tmp_path), "model_int8.onnx")({"history": ["i1"]}, k=3)
        files = [(tmp_path / f"{name}.onnx.data").stat().st_size for name in ("model", "model_int8")]
        assert files[1] < 1.5 * files[0]
        export_model(model, processor, str(tmp_path))  # of later weights, say
        assert not any("int8" in path.name for path in tmp_path.iterdir())


def test_the_command_exports_and_measures(sample_dir, trained, tmp_path, monkeypatch, capsys):
    run(monkeypatch, "export", "--model_dir", trained, "--data_dir", sample_dir, "--int8")
    out = capsys.readouterr().out
    assert "model.onnx: written" in out and "ndcg@10 in validation 0." in out
    spec = importlib.util.spec_from_file_location("exported_recommend", trained / "onnx" / "recommend.py")
    monkeypatch.syspath_prepend(str(trained / "onnx"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    item = json.loads((trained / "vocabulary.json").read_text())["item_ids"][0]
    assert len(module.Recommender()({"history": [item]}, k=5)) == 5


def test_ranking_metrics_of_an_exported_model(processor, tmp_path):
    model = model_of(processor, "causal")
    export_model(model, processor, str(tmp_path))
    rows = [{"input_ids": [3, 4, 5 + n], "user_features": [1, 2], "relevant": [n + 3, 9]} for n in range(30)]
    evaluator = RankingEvaluator(rows, processor, (5,))
    assert evaluator(ExportedModel(str(tmp_path))) == pytest.approx(evaluator(model), abs=1e-6)
