# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""
Pushing and pulling, against a server that answers as the Hub does. What a client does runs in a process of its own:
where the Hub is, is read when huggingface_hub is imported.
"""

import json
import os
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
import torch
from helpers import CODE, WITHOUT_THE_PACKAGE, make_model
from hub_server import HubServer
from huggingface_hub import ModelCard
from safetensors.torch import save_file
from torch.testing import assert_close
from transformers import AutoModelForMaskedLM, AutoProcessor, pipeline

from bert4rec_hf import Bert4RecForMaskedLM, DataError, load_checkpoint


EXAMPLES = Path(__file__).parents[2] / "examples"
MODEL = {"config.json", "model.safetensors", *CODE}
PROCESSOR = {"processor_config.json", "vocabulary.json", *CODE}
SHARED = ["*.safetensors", "*.json", "*.md", "*.png", "*.py", ".gitattributes"]

START = """
import sys
import bert4rec_hf
from transformers import AutoModelForMaskedLM, AutoProcessor, TrainingArguments, pipeline
folder, data_dir = sys.argv[1:]
model, processor = AutoModelForMaskedLM.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
"""
PUSH_PARTS = """
processor.push_to_hub("user/parts")
model.push_to_hub("user/parts")
model.model.push_to_hub("user/encoder")
pipeline("item-recommendation", model=folder).push_to_hub("user/pipe", private=True)
bert4rec_hf.push_checkpoint(folder, "user/folder", revision="v2")
pulled = pipeline("item-recommendation", model="user/folder", revision="v2")  # no trust: the package is here
assert type(pulled) is bert4rec_hf.ItemRecommendationPipeline
assert type(AutoModelForMaskedLM.from_pretrained("user/pipe")) is bert4rec_hf.Bert4RecForMaskedLM
"""
TRAINER = """
interactions = bert4rec_hf.read_interactions(bert4rec_hf.DataArguments(data_dir=data_dir))
split = bert4rec_hf.Split(**processor.split)
arguments = TrainingArguments(
    "midway", max_steps=4, save_steps=2, eval_strategy="steps", eval_steps=2, push_to_hub=True, hub_always_push=True,
    hub_model_id="user/midway", report_to="none", use_cpu=True,
)
trainer = bert4rec_hf.Bert4RecTrainer(
    model, arguments, processing_class=processor,
    train_dataset=bert4rec_hf.encode_training(interactions, processor, split),
    eval_dataset=bert4rec_hf.encode_evaluation(interactions, processor, split, "validation"),
    data_collator=bert4rec_hf.DataCollatorForItemMasking(processor, max_length=16),
)
"""
PULL = """
import json, sys
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, AutoProcessor, pipeline
repos, users = json.loads(sys.argv[1]), json.loads(sys.argv[2])
results = {}
for name, revision in repos:
    where = {"trust_remote_code": True, "revision": revision}
    pipe = pipeline("item-recommendation", model=name, **where)
    results[name] = pipe(users, k=5)
    processor = AutoProcessor.from_pretrained(name, **where)
    model = AutoModelForMaskedLM.from_pretrained(name, **where)
    assert AutoConfig.from_pretrained(name, **where).to_dict() == model.config.to_dict()
    for user, items in zip(users, results[name]):
        inputs = processor([user["history"]], [user.get("profile")])
        item_ids = model.recommend(**inputs, k=5).item_ids
        assert processor.decode(item_ids)[0] == [item["item_id"] for item in items]
        if len(user["history"]) == 3:
            encoder = AutoModel.from_pretrained(name, **where)
            assert encoder(**inputs)[0].equal(model.model(**inputs)[0])
    pipe.save_pretrained(f"saved/{name}")
if repos[0][0] == "user/parts":
    inputs = processor([users[0]["history"]])
    encoders = [AutoModel.from_pretrained(f"user/{name}", trust_remote_code=True) for name in ("parts", "encoder")]
    assert encoders[0](**inputs)[0].equal(encoders[1](**inputs)[0])
    encoders[1].save_pretrained("saved/encoder")
    headless = AutoModelForMaskedLM.from_pretrained("saved/encoder", trust_remote_code=True)
    assert headless.model(**inputs)[0].equal(encoders[1](**inputs)[0])
print(json.dumps(results))
"""
RUN_COMMANDS = """
import json, sys
from bert4rec_hf.__main__ import main
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["bert4rec-hf", *arguments]
    try:
        main()
    except SystemExit as error:
        print("exit code", error.code, file=sys.stderr)
"""


def client(server, home, code, *arguments, check=True, **environment):
    """Runs Python as someone whose Hub is `server`; `None` takes a variable away."""
    home.mkdir(exist_ok=True)
    path = os.pathsep.join([str(EXAMPLES.parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, **server.environment(home), "OMP_NUM_THREADS": "1", "PYTHONPATH": path, **environment}
    environment = {name: value for name, value in environment.items() if value is not None}
    result = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], cwd=home, env=environment, capture_output=True, text=True
    )
    assert not check or result.returncode == 0, result.stderr
    return result


def run_commands(server, home, *commands, **environment):
    """The last line that each command says on stderr before its exit code, which is 2."""
    commands = [[*map(str, command)] for command in commands]
    lines = client(server, home, RUN_COMMANDS, json.dumps(commands), **environment).stderr.splitlines()
    ends = [number for number, line in enumerate(lines) if line == "exit code 2"]
    assert len(ends) == len(commands), lines
    return [lines[number - 1] for number in ends]


@pytest.fixture(scope="module")
def folder(fitted, tmp_path_factory):
    """A checkpoint, and what may lie beside it and is nobody's business."""
    folder = tmp_path_factory.mktemp("hub") / "folder"
    make_model(fitted[0], initializer_range=0.3).eval().save_pretrained(folder)
    fitted[0].save_pretrained(folder)
    (folder / "README.md").write_text("---\nlibrary_name: bert4rec-hf\n---\n# Mine\n")
    (folder / "checkpoint-5").mkdir()
    for name in ("training_args.bin", "optimizer.pt", ".env", "notes.txt", "checkpoint-5/model.safetensors"):
        (folder / name).write_text("secret")
    return folder


@pytest.fixture(scope="module")
def users(fitted):
    known, profile = fitted[0].vocabulary["item_ids"], {"sex": "F", "age": 5}
    return [{"history": known[:3], "profile": profile}, {"history": []}, {"history": [*known[5:40], 10**9]}]


@pytest.fixture(scope="module")
def hub(folder, sample_dir, tmp_path_factory):
    """A Hub with all that can be pushed, weights by LFS."""
    with HubServer(lfs=True) as server:
        code = START + PUSH_PARTS + TRAINER + 'trainer.train(); trainer.push_to_hub(license="mit")'
        client(server, tmp_path_factory.mktemp("pusher"), code, folder, sample_dir)
        yield server


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_pushed_is_a_whole_recommender_without_pickles(hub, folder):
    files = {name: set(hub.files(name)) for name in ("user/parts", "user/encoder", "user/pipe", "user/midway")}
    files["user/folder"] = set(hub.files("user/folder", "v2"))
    for name, names in files.items():
        assert names - {".gitattributes"} == MODEL | {"README.md"} | (PROCESSOR if name != "user/encoder" else set())
    for repo in hub.repos.values():
        for commit in repo.commits.values():
            assert all(any(fnmatch(name, pattern) for pattern in SHARED) and "/" not in name for name in commit)
            assert all(b"secret" not in blob.data for blob in commit.values())
    assert {repo.name for repo in hub.repos.values() if repo.private} == {"user/pipe"}
    assert hub.objects and set(hub.files("user/folder")) == {".gitattributes"}
    assert hub.files("user/folder", "v2")["model.safetensors"] == (folder / "model.safetensors").read_bytes()


def test_a_scanner_finds_no_pickle_in_what_is_pushed(hub, tmp_path):
    scanner = pytest.importorskip("picklescan.scanner")
    for repo in hub.repos.values():
        for sha, commit in repo.commits.items():
            for name, blob in commit.items():
                (tmp_path / repo.name / sha).mkdir(parents=True, exist_ok=True)
                (tmp_path / repo.name / sha / name).write_bytes(blob.data)
    found = scanner.scan_directory_path(tmp_path)
    assert (found.scanned_files, found.issues_count, found.scan_err) == (0, 0, False)
    torch.save({"a": torch.ones(1)}, tmp_path / "pytorch_model.bin")
    assert scanner.scan_directory_path(tmp_path).scanned_files == 1  # it would find one


def test_every_push_of_a_trainer_has_code_and_card(hub):
    commits = [set(commit) for commit in hub.repos["model", "user/midway"].commits.values() if "config.json" in commit]
    assert len(commits) >= 2 and all(commit >= MODEL | PROCESSOR | {"README.md"} for commit in commits)
    card = ModelCard(hub.files("user/midway")["README.md"].decode())
    assert card.data.library_name == "bert4rec-hf" and card.data.license == "mit"
    assert {result.metric_type for result in card.data.eval_results} == {
        f"{name}@10" for name in ("recall", "ndcg", "hit_rate", "mrr", "score")
    }
    assert 'model="user/midway"' in card.text and "of the validation rows" in card.text and "{{" not in card.content


def test_pulled_without_the_package_it_recommends_the_same(hub, folder, users, tmp_path):
    first = [sha for sha, files in hub.repos["model", "user/midway"].commits.items() if "config.json" in files][0]
    repos = [("user/parts", None), ("user/pipe", "main"), ("user/folder", "v2"), ("user/midway", first)]
    code = WITHOUT_THE_PACKAGE + PULL
    pulled = json.loads(client(hub, tmp_path / "home", code, json.dumps(repos), json.dumps(users)).stdout)
    expected = pipeline("item-recommendation", model=str(folder))(users, k=5)
    for name in ("user/parts", "user/pipe", "user/folder"):
        assert pulled[name] == expected
    # Saved again it still is whole, for those with the package ...
    for name in pulled:
        saved = tmp_path / "home" / "saved" / name
        assert {path.name for path in saved.iterdir()} == MODEL | PROCESSOR
        assert all((saved / file).read_bytes() == (folder / file).read_bytes() for file in CODE)
        assert pipeline("item-recommendation", model=str(saved))(users, k=5) == pulled[name]
    # ... and without it, and what was pulled is there when the Hub is not
    repos = [("user/parts", None), ("saved/user/midway", None)]
    offline = {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}
    again = client(hub, tmp_path / "home", code, json.dumps(repos), json.dumps(users), **offline)
    assert json.loads(again.stdout) == {"user/parts": expected, "saved/user/midway": pulled["user/midway"]}


def test_commands_take_an_id_and_a_revision(hub, folder, sample_dir, tmp_path):
    data = ["--data_dir", str(sample_dir)]
    pulled = ["predict", "--model_dir", "user/folder", "--revision", "v2", *data]
    pulled += ["--output_file", "pulled.csv"]
    local = ["predict", "--model_dir", str(folder), *data, "--output_file", "local.csv"]
    client(hub, tmp_path / "home", RUN_COMMANDS, json.dumps([pulled, local]))
    assert (tmp_path / "home" / "pulled.csv").read_text() == (tmp_path / "home" / "local.csv").read_text()


PUSH_DATA = """
import sys
from huggingface_hub import HfApi
HfApi().create_repo("user/logs", repo_type="dataset")
HfApi().upload_folder(repo_id="user/logs", folder_path=sys.argv[1], repo_type="dataset", path_in_repo=sys.argv[2])
"""


@pytest.mark.parametrize("place", ["", "2022/봄"])
def test_tables_are_read_from_a_data_set_on_the_hub(sample_dir, tmp_path, place):
    sizes = ["--hidden_size", "16", "--num_head", "2", "--max_length", "16", "--epochs", "1", "--k", "10"]
    there = f"hf://datasets/user/logs@main/{place}" if place else "hf://datasets/user/logs"
    commands = [
        ["train", "--data_dir", str(sample_dir), "--save_dir", "local", *sizes],
        ["train", "--data_dir", there, "--save_dir", "pulled", *sizes],
        ["predict", "--model_dir", "local", "--data_dir", str(sample_dir), "--output_file", "local.csv"],
        ["predict", "--model_dir", "pulled", "--data_dir", there, "--output_file", "pulled.csv"],
    ]
    bad = [
        ["hf://datasets/user/none", "no such repository on the Hub that the token may see"],
        ["hf://datasets/user/logs@v9", "the repository has no such revision"],
        ["hf://user/logs", "data on the Hub is at hf://datasets/user/name"],
        ["hf://datasets/user/logs/nowhere", "history_data.csv: there is no such file"],
    ]
    with HubServer() as server:
        client(server, tmp_path / "home", PUSH_DATA, str(sample_dir), place)
        client(server, tmp_path / "home", RUN_COMMANDS, json.dumps(commands[1::2] if place else commands))
        analyses = [["analyze", "--data_dir", name, "--output_dir", "report"] for name, _ in bad]
        for line, (name, words) in zip(run_commands(server, tmp_path / "home", *analyses), bad):
            assert line.startswith(f"error: {name}") and words in line
    home = tmp_path / "home"
    assert "user/logs" not in (home / "pulled" / "processor_config.json").read_text()
    if not place:
        assert (home / "pulled.csv").read_text() == (home / "local.csv").read_text()
        for name in ("vocabulary.json", "processor_config.json", "model.safetensors"):
            assert (home / "pulled" / name).read_bytes() == (home / "local" / name).read_bytes()
        offline = {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}
        again = [*commands[3][:-1], "again.csv"]
        client(server, home, RUN_COMMANDS, json.dumps([again]), **offline)
        assert (home / "again.csv").read_text() == (home / "local.csv").read_text()


def test_training_is_pushed_and_gone_on_with(sample_dir, users, tmp_path):
    """Weights inline: from data to a private repository's branch, and from there to more data."""
    sizes = ["--hidden_size", 16, "--num_head", 2, "--max_length", 16, "--epochs", 1, "--k", 10]
    to = ["--push_to_hub", "--hub_private_repo", "--hub_model_id"]
    train = ["train", "--data_dir", str(sample_dir), "--save_dir"]
    temporal = ["--split", "temporal", "--cutoff", "2022-03-15"]
    commands = [
        [*train, "one", *temporal, *sizes, *to, "user/one", "--hub_revision", "v1"],
        [*train, "two", "--init_from", "user/one", "--revision", "v1", "--split", "none", "--max_steps", 5],
        ["push", "--model_dir", "two", "--hub_model_id", "user/two"],
        ["push", "--model_dir", "two/checkpoint-5", "--hub_model_id", "user/bare"],
    ]
    with HubServer() as server:
        commands = [[*map(str, command)] for command in commands]
        client(server, tmp_path / "home", RUN_COMMANDS, json.dumps(commands))
        assert server.repos["model", "user/one"].private and set(server.files("user/one")) == {".gitattributes"}
        files = server.files("user/one", "v1")
        # What a card says to load is where it lies, here as there
        for name in ("user/two", "user/bare"):
            text = server.files(name)["README.md"].decode()
            assert text.count(f'"{name}"') == 5 and '"two' not in text and "{{" not in text
        assert '"user/' not in (tmp_path / "home" / "two" / "README.md").read_text()
    pictures = {"data.png", "evaluation.png"}
    assert set(files) - {".gitattributes"} == MODEL | PROCESSOR | pictures | {"README.md"}
    card = ModelCard(files["README.md"].decode())
    assert "most popular" in card.text and 'model="user/one"' in card.text
    one, two = (load_checkpoint(str(tmp_path / "home" / name))[1] for name in ("one", "two"))
    ids = one.vocabulary["item_ids"]
    assert two.vocabulary["item_ids"][: len(ids)] == ids and len(two.vocabulary["item_ids"]) > len(ids)
    assert two.split["split"] == "none" and two.data == one.data


def test_what_the_hub_refuses_is_told_plainly_and_nothing_is_lost(folder, sample_dir, tmp_path):
    before = contents(folder)
    push = ["push", "--model_dir", folder, "--hub_model_id"]
    predict = ["predict", "--data_dir", sample_dir, "--model_dir"]
    train = ["train", "--data_dir", sample_dir, "--save_dir", "run", "--push_to_hub", "--hub_model_id", "user/x"]
    with HubServer() as server:
        no_token = run_commands(server, tmp_path / "a", [*push, "user/name"], train, HF_TOKEN=None)
        assert all("error: user/" in line and "the Hub wants a valid token" in line for line in no_token)
        assert "run" not in os.listdir(tmp_path / "a")
        server.refuse_commits = True
        refused, no_repo, no_revision, bad_id, *odd = run_commands(
            server,
            tmp_path / "b",
            [*push, "user/name"],
            [*predict, "user/none"],
            [*predict, "user/name", "--revision", "v9"],
            [*predict, "./no/such/folder"],
            ["push", "--hub_model_id", "user/name"],
            ["push", "--hub_model_id", "user/name", "--model_dir", "user/name"],
            ["push", "--hub_model_id", "user/metric", "--metric"],
            ["push", "--hub_model_id", "user/ranking", "--metric", "--hub_revision", "v2"],
            ["push", "--hub_model_id", "user/name", "--model_dir", sample_dir],
            [*train[:-3], "--hub_model_id", "user/x"],
        )
    assert refused.startswith("error: user/name: the Hub refuses: ") and refused.endswith("Nothing here is lost.")
    assert "no such repository on the Hub that the token may see" in no_repo
    assert "the repository has no such revision" in no_revision
    assert "there is no such folder" in bad_id
    assert "give either --model_dir or --metric" in odd[0]
    assert "user/name: there is no such folder" in odd[1]
    assert "user/metric: the Space must be called ranking" in odd[2]
    assert "--hub_revision, --commit_message and --handler need --model_dir" in odd[3]
    assert "holds no checkpoint: no processor_config.json" in odd[4]
    assert "need --push_to_hub" in odd[5]
    nobody = {"HF_ENDPOINT": "http://127.0.0.1:9"}
    for line in run_commands(server, tmp_path / "c", [*push, "user/name"], [*predict, "user/none"], **nobody):
        assert line.startswith("error: user/") and "http://127.0.0.1:9 cannot be reached" in line
    assert contents(folder) == before


def test_the_metric_is_pushed_as_a_space_and_loaded_from_there(tmp_path):
    push = ["push", "--metric", "--hub_model_id", "user/ranking"]
    load = """
import evaluate
scores = evaluate.load("user/ranking").compute(predictions=[[3, 1, 2], [4, 5, 6]], references=[[1, 7], [4]], k=[1, 2])
assert (scores["recall@1"], scores["recall@2"], scores["mrr@2"]) == (0.5, 0.75, 0.75)
"""
    with HubServer() as server:
        client(server, tmp_path / "home", RUN_COMMANDS + load, json.dumps([push]))
        assert set(server.files("user/ranking", repo_type="space")) - {".gitattributes"} == {
            *("README.md", "app.py", "ranking.py", "requirements.txt")
        }
        assert server.repos["space", "user/ranking"].sdk == "gradio"


def test_a_hub_that_goes_away_does_not_stop_a_training(folder, sample_dir, tmp_path):
    away = "import huggingface_hub.constants as hub; hub.ENDPOINT = 'http://127.0.0.1:9'; trainer.train()"
    with HubServer() as server:
        result = client(server, tmp_path / "home", START + TRAINER + away, folder, sample_dir)
    assert result.stderr.count("A push failed, the training goes on. user/midway: the Hub at") == 2
    assert {"checkpoint-2", "checkpoint-4"} <= set(os.listdir(tmp_path / "home" / "midway"))
    assert not list((tmp_path / "home").rglob("training_args.bin"))  # a pickle


def broken(folder, tmp_path, config=None, weights=None, vocabulary=None):
    """A copy of a checkpoint with something wrong."""
    for name in ("config.json", "model.safetensors", "processor_config.json", "vocabulary.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    for name, change in (("config.json", config), ("vocabulary.json", vocabulary)):
        if change:
            values = json.loads((tmp_path / name).read_text(encoding="utf-8"))
            change(values)
            (tmp_path / name).write_text(json.dumps(values))
    if weights:
        tensors = Bert4RecForMaskedLM.from_pretrained(folder).state_dict()
        del tensors["decoder.weight"]
        weights(tensors)
        save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    return str(tmp_path)


@pytest.mark.parametrize(
    "wrong, words, words_of_auto",
    [
        ({"config": {"num_hidden_layers": 3}}, "model.layers.2", "model.layers.2.* is missing"),
        ({"config": {"num_hidden_layers": 1}}, "model.layers.1", "model.layers.1.* is unexpected"),
        ({"config": {"hidden_sise": 32}}, "hidden_sise: no such setting", "hidden_sise: no such setting"),
        ({"config": {"hidden_size": 32}}, r"is \(.*16.*\), not \(.*32", "mismatch"),
        ({"config": {"hidden_size": "16"}}, "hidden_size", "hidden_size"),
        ({"config": {"to_dict": 3}}, "to_dict: no such setting", "to_dict: no such setting"),
        ({"config": {"id2label": 3}}, "the config cannot be loaded", "no attribute 'items'|Field 'id2label'"),
        ({"config": {"vocab_size": 10**15}}, "vocab_size is 10+; it must be", "vocab_size is 10+"),
        ({"config": {"num_hidden_layers": 10**9}}, "num_hidden_layers is 10+; it must be", "num_hidden_layers is"),
        ({"config": {"max_position_embeddings": 10**12}}, "max_position_embeddings is 10+", "max_position_embed"),
        (
            {"config": {"user_features": [{"name": "age", "num_values": 10**15}]}},
            "num_values of user",
            "num_values of",
        ),
        ({"config": {"vocabulary_hash": "0" * 16}}, "not of the same checkpoint", None),
        ({"weights": "model.layers.0.mlp.up_proj.weight"}, "up_proj.weight is missing", "up_proj.weight is missing"),
        ({"weights": "decoder.bias"}, "decoder.bias is missing", "decoder.bias is missing"),
        ({"weights": "model.embeddings.item_embeddings.item_features"}, "item_features is missing", "item_features"),
    ],
)
def test_a_checkpoint_whose_parts_do_not_fit_is_refused_before_it_computes(
    folder, tmp_path, wrong, words, words_of_auto
):
    config = (lambda values: values.update(wrong["config"])) if "config" in wrong else None
    weights = (lambda tensors: tensors.pop(wrong["weights"])) if "weights" in wrong else None
    path = broken(folder, tmp_path, config, weights)
    with pytest.raises(DataError, match=words) as error:
        load_checkpoint(path)
    assert "\n" not in str(error.value)
    if words_of_auto:
        with pytest.raises(Exception, match=words_of_auto):
            AutoModelForMaskedLM.from_pretrained(path)
    with pytest.raises(Exception, match=words_of_auto or words):
        pipeline("item-recommendation", model=path)


@pytest.mark.parametrize(
    "file, place, value, words",
    [
        ("vocabulary", [], [1], "it must be item_ids and perhaps"),
        ("vocabulary", [], "x", "it must be item_ids and perhaps"),
        ("vocabulary", [], {}, "it must be item_ids and perhaps"),
        ("vocabulary", ["items"], [], "it must be item_ids and perhaps"),
        ("vocabulary", ["item_ids"], {"1": 1}, "item_ids must be all integers or all strings"),
        ("vocabulary", ["item_ids", 0], "x", "item_ids must be all integers or all strings"),
        ("vocabulary", ["item_ids", 0], [1], "item_ids must be all integers or all strings"),
        ("vocabulary", ["item_ids"], [5] * 120, "item_ids holds an id twice"),
        ("vocabulary", ["titles"], ["a"], "titles must be"),
        ("vocabulary", ["titles", 0], 7, "titles must be"),
        ("vocabulary", ["user_features"], None, "user_features must be a list of objects"),
        ("vocabulary", ["user_features", 0], {"name": "sex"}, "user_features must have name, values each"),
        ("vocabulary", ["user_features", 0, "name"], 1, "user_features must hold strings"),
        ("vocabulary", ["user_features", 0, "values"], ["F", "F"], "has a value twice"),
        ("vocabulary", ["item_features", 0], {"name": "a", "values": []}, "must have max_values, name, values"),
        ("vocabulary", ["item_features", 0, "max_values"], 0, "max_values of .* is 0"),
        ("vocabulary", ["item_feature_values"], None, "item_feature_values do not fit"),
        ("vocabulary", ["item_feature_values"], [], "item_feature_values do not fit"),
        ("vocabulary", ["item_feature_values", 0], [[1]], "must have a list of values for each item"),
        ("vocabulary", ["item_feature_values", 0, 0], 1, "must have a list of values for each item"),
        ("vocabulary", ["item_feature_values", 0, 0], [10**6], "must be from 1 to"),
        ("vocabulary", ["item_feature_values", 0, 0], [0], "must be from 1 to"),
        ("vocabulary", ["item_feature_values", 0, 0], [[1]], "must be from 1 to"),
        ("vocabulary", ["item_feature_values", 0, 0], [1] * 99, "max_values of .* is .*, an item has 99"),
        ("processor_config", [], [1], "the processor cannot be loaded"),
        ("processor_config", ["unknown_items"], "x", "unknown_items is 'x'"),
        ("processor_config", ["data"], [1], r"data is \[1\]; it must hold names and values"),
        ("config", ["hidden_act"], "nope", "hidden_act is 'nope'; it must be one of"),
        ("config", ["mask_token_id"], 0, "pad_token_id, mask_token_id and unk_token_id are 0, 0"),
        ("config", ["pad_token_id"], -1, "they must be different ids below vocab_size"),
        ("config", ["layer_norm_eps"], float("nan"), "layer_norm_eps is nan"),
        ("config", ["initializer_range"], -1.0, "initializer_range is -1"),
    ],
)
def test_files_that_hold_something_else_are_refused_in_one_line(folder, tmp_path, file, place, value, words):
    """Whether or not the config has the hash of the vocabulary."""
    path = broken(folder, tmp_path, config=lambda values: values.update(vocabulary_hash=None))
    values = whole = {"": json.loads((tmp_path / f"{file}.json").read_text(encoding="utf-8"))}
    *keys, last = ["", *place]
    for key in keys:
        values = values[key]
    values[last] = value
    (tmp_path / f"{file}.json").write_text(json.dumps(whole[""]))
    with pytest.raises(DataError, match=words) as error:
        load_checkpoint(path)
    assert "\n" not in str(error.value)


def test_truncated_weights_and_another_vocabulary_are_refused(folder, tmp_path):
    path = broken(folder, tmp_path, vocabulary=lambda values: values["item_ids"].reverse())
    for load in (load_checkpoint, lambda path: pipeline("item-recommendation", model=path)):
        with pytest.raises(ValueError, match="not of the same checkpoint"):
            load(path)
    path = broken(folder, tmp_path)
    weights = (folder / "model.safetensors").read_bytes()
    for end in (len(weights) - 1, len(weights) // 2, 100, 8, 0):
        (tmp_path / "model.safetensors").write_bytes(weights[:end])
        with pytest.raises(DataError, match="model.safetensors cannot be read"):
            load_checkpoint(path)
        with pytest.raises(Exception, match="header"):
            AutoModelForMaskedLM.from_pretrained(path)


def test_what_others_hang_on_a_config_does_not_keep_it_from_loading(folder, tmp_path):
    model, processor = load_checkpoint(str(folder))
    model.config.use_cache = False
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    again, _ = load_checkpoint(str(tmp_path))
    inputs = AutoProcessor.from_pretrained(tmp_path)([processor.vocabulary["item_ids"][:4]])
    assert_close(again.score(**inputs), model.score(**inputs))
    assert torch.isfinite(again.score(**inputs)[:, 3:]).all()


LEFTOVERS = """
import json, sys
import torch, bert4rec_hf
from transformers import AutoModelForMaskedLM, pipeline
folder = sys.argv[1]
model, processor = bert4rec_hf.load_checkpoint(folder)

def push(number, size, how):
    with torch.no_grad():
        model.get_input_embeddings().weight.fill_(number)
    if how == "push_to_hub":
        processor.push_to_hub("user/many")
        model.push_to_hub("user/many", max_shard_size=size)
    elif how == "pipeline":
        pipe = pipeline("item-recommendation", model=model, processor=processor)
        pipe.push_to_hub("user/many", max_shard_size=size)
    elif how == "save_pretrained":
        model.save_pretrained("mine", max_shard_size=size, push_to_hub=True, repo_id="user/many")
    else:
        model.save_pretrained(f"mine{number}", max_shard_size=size)
        processor.save_pretrained(f"mine{number}")
        bert4rec_hf.push_checkpoint(f"mine{number}", "user/many")
    for loaded in (AutoModelForMaskedLM.from_pretrained("user/many"), bert4rec_hf.load_checkpoint("user/many")[0]):
        assert round(loaded.get_input_embeddings().weight[5, 0].item()) == number, (number, size, how)

ways = ("push_to_hub", "push_checkpoint", "pipeline", "save_pretrained")
steps = [(size, how) for how in ways for size in ("9GB", "6KB", "12KB", "9GB")]
for number, (size, how) in enumerate([*steps, ("6KB", "push_to_hub")], start=1):
    push(number, size, how)
"""


def test_a_push_deletes_what_it_replaces_in_the_same_commit(folder, tmp_path):
    with HubServer() as server:
        client(server, tmp_path / "home", LEFTOVERS, folder)
        commits = [set(commit) for commit in server.repos["model", "user/many"].commits.values()]
        with_weights = [commit for commit in commits if any(name.startswith(("model.", "model-")) for name in commit)]
        for commit in with_weights:  # never both, also in between
            shards = {name for name in commit if fnmatch(name, "model-*.safetensors")}
            assert bool(shards) != ("model.safetensors" in commit)
            assert bool(shards) == ("model.safetensors.index.json" in commit)
            assert len({name.partition("-of-")[2] for name in shards}) <= 1
        assert len({len(commit) for commit in with_weights}) >= 3
        # Going back to the first commit that was whole
        first = next(sha for sha, commit in server.repos["model", "user/many"].commits.items() if MODEL <= set(commit))
        flags = ["--hub_model_id", "user/many", "--roll_back_to", first]
        nightly = ["nightly", *flags]
        assert "is as it was" in client(server, tmp_path / "home", RUN_COMMANDS, json.dumps([nightly])).stdout
        files = server.files("user/many")
        assert set(files) == set(server.files("user/many", first)) and "model.safetensors" in files
        assert files["model.safetensors"] == server.files("user/many", first)["model.safetensors"]


def test_plots_of_an_earlier_card_are_deleted_with_it(folder, tmp_path):
    code = "import sys, bert4rec_hf\nfor folder in sys.argv[1:]: bert4rec_hf.push_checkpoint(folder, 'user/plots')"
    plotted, bare = (Path(shutil.copytree(folder, tmp_path / name)) for name in ("plotted", "bare"))
    (plotted / "evaluation.png").write_bytes(b"\x89PNG")
    (bare / "README.md").unlink()
    with HubServer() as server:
        client(server, tmp_path / "home", code, plotted, bare)
        assert {"README.md", "evaluation.png"} <= set(server.files("user/plots"))
        client(server, tmp_path / "home", code, folder)
        assert set(server.files("user/plots")) - {".gitattributes"} == MODEL | PROCESSOR | {"README.md"}


EXPORT = {f"onnx/{name}" for name in ("model.onnx", "model.onnx.data", "vocabulary.json", "recommend.py")}


def test_exports_and_a_handler_are_pushed_and_leave_with_the_weights(folder, users, tmp_path):
    exported = Path(shutil.copytree(folder, tmp_path / "exported"))
    (exported / "onnx").mkdir()
    for name in (*EXPORT, "onnx/secret.bin"):
        (exported / name).write_text("made of these weights")
    push = ["push", "--model_dir", exported, "--hub_model_id", "user/served"]
    handle = """
import json, sys
from huggingface_hub import snapshot_download
folder = snapshot_download("user/served")
sys.path.insert(0, folder)
from handler import EndpointHandler
handler = EndpointHandler(folder)
users = json.loads(sys.argv[1])
wishes = {"k": 3, "exclude_seen": True}
print(json.dumps([handler({"inputs": users[0]}), handler({"inputs": users, "parameters": wishes})]))
"""
    with HubServer() as server:
        home = tmp_path / "home"
        client(server, home, RUN_COMMANDS, json.dumps([[*map(str, push), "--handler"]]))
        pushed = set(server.files("user/served")) - {".gitattributes"}
        assert pushed == MODEL | PROCESSOR | EXPORT | {"README.md", "handler.py", "requirements.txt"}
        lists = json.loads(
            client(server, home, WITHOUT_THE_PACKAGE + handle, json.dumps(users)).stdout.splitlines()[-1]
        )
        pipe = pipeline("item-recommendation", model=str(folder))
        assert lists == [pipe(users[0]), pipe(users, k=3, exclude_seen=True)]
        # New weights: an export of the old ones is neither pushed nor left there.
        again = """
import os, shutil, sys
from bert4rec_hf import DataError, push_checkpoint
folder = sys.argv[1]
os.utime(os.path.join(folder, "onnx", "model.onnx"), (1, 1))
try:
    push_checkpoint(folder, "user/served")
except DataError as error:
    assert "model.onnx is older than the weights; export again" in str(error), error
shutil.rmtree(os.path.join(folder, "onnx"))
push_checkpoint(folder, "user/served")
"""
        client(server, home, again, exported)
        assert not EXPORT & set(server.files("user/served"))


def test_the_page_is_pushed_as_a_space(tmp_path):
    pytest.importorskip("gradio")
    push = ["demo", "--model_dir", "user/a", "user/b", "--hub_space_id", "user/try"]
    with HubServer() as server:
        client(server, tmp_path / "home", RUN_COMMANDS, json.dumps([push]))
        files = server.files("user/try", repo_type="space")
        assert set(files) - {".gitattributes"} == {"README.md", "app.py", "models.txt", "requirements.txt"}
        assert files["models.txt"] == b"user/a\nuser/b\n" and b'models: ["user/a", "user/b"]' in files["README.md"]
        assert server.repos["space", "user/try"].sdk == "gradio"
