# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""The scripts, from their command lines; in this process, so that torch is loaded once."""

import csv
import datetime
import json
import shutil

import pyarrow.parquet as pq
import pytest
import yaml
from helpers import CODE, EXAMPLES, SMALL, run
from huggingface_hub import ModelCard
from transformers import AutoConfig

from bert4rec_hf import load_processor
from bert4rec_hf.cli import train


@pytest.fixture(scope="module")
def checkpoint(sample_dir, tmp_path_factory):
    """What train.py leaves behind, with validation, under the original's flags."""
    save_dir = tmp_path_factory.mktemp("exps") / "seed1"
    with pytest.MonkeyPatch.context() as monkeypatch:
        run(
            monkeypatch,
            "train",
            *(
                "--data_dir",
                sample_dir,
                "--meta_data_file",
                "meta_data.csv",
                "--profile_data_file",
                "profile_data.csv",
            ),
            *("--history_data_file", "history_data.csv", "--meta_data_plus_file", "meta_data_plus.csv", "--seed", 1),
            *("--max_length", 16, "--keyword_max_length", 3, "--learning_rate", "1.2e-4", "--weight_decay", "1e-2"),
            *("--epochs", 2, "--train_batch_size", 64, "--mlm_probability", 0.6, "--logging_steps", 2),
            *("--hidden_size", 16, "--num_layers", 1, "--num_head", 2, "--num_workers", 0, "--intermediate_size", 32),
            *("--dropout_prob", 0.1, "--warmup_ratio", 0.1, "--eps", "1e-12", "--save_dir", save_dir),
            *("--do_eval", "True", "--eval_batch_size", 64, "--eval_steps", 2, "--save_steps", 2),
        )
    return save_dir


def test_checkpoint_is_whole_at_the_root_of_save_dir(checkpoint):
    names = {path.name for path in checkpoint.iterdir() if path.is_file()}
    parts = {"config.json", "model.safetensors", "processor_config.json", "vocabulary.json", "README.md"}
    reports = {f"{name}.{ending}" for name in ("data", "evaluation") for ending in ("json", "png", "txt")}
    assert names == CODE | parts | reports | {"evaluation_users.parquet"}


def test_checkpoint_remembers_how_the_data_was_read(checkpoint):
    stored = json.loads((checkpoint / "processor_config.json").read_text())
    assert stored["data"]["keyword_max_length"] == 3 and stored["split"]["split"] == "leave_one_out"
    assert "data_dir" not in stored["data"]


def test_model_card_has_no_blanks_and_reads_back(checkpoint):
    card = ModelCard.load(checkpoint / "README.md")
    assert card.data.library_name == "bert4rec-hf"
    assert {result.metric_type for result in card.data.eval_results} >= {"recall@25", "ndcg@25"}
    assert "most popular" in card.text and "{{" not in card.content and str(checkpoint.parent) not in card.content


def test_evaluation_prints_a_page_and_writes_a_report(checkpoint, sample_dir, tmp_path, monkeypatch, capsys):
    reports = tmp_path / "reports" / "new"
    arguments = ["--model_dir", checkpoint, "--data_dir", sample_dir, "--k", 5, 10, "--output_dir", reports]
    run(monkeypatch, "evaluate", *arguments)
    (evaluation,) = json.loads((reports / "evaluation.json").read_text())
    printed = capsys.readouterr().out
    results = evaluation["windows"][0]["groups"]["all users"]["results"]
    assert list(results)[0] == "BERT4Rec" and len(results) == 7 and evaluation["model"] == checkpoint.name
    assert f"{results['BERT4Rec']['score@10']['mean']:.3f} ±" in printed
    assert "leave_one_out" in printed and "exact duplicate rows dropped" in printed
    page, _, tables = (reports / "evaluation.txt").read_text().partition("\n\nAll metrics")
    assert page in printed and "| novelty@5 " in tables and "novelty@5" not in printed
    assert (reports / "evaluation.png").read_bytes()[:4] == b"\x89PNG"
    run(monkeypatch, "evaluate", "--compare", reports, reports, "--output_dir", tmp_path / "compared")
    assert "+0.0000" in capsys.readouterr().out
    (window,) = json.loads((tmp_path / "compared" / "comparison.json").read_text())["windows"]
    assert window["metrics"]["score@10"]["p_value"] == 1
    run(monkeypatch, "evaluate", "--compare", reports, f"{reports},{reports}", reports)
    printed = capsys.readouterr().out
    assert printed.count("\nb: ") == 2 and f"b: {reports},{reports}\n" in printed


def test_a_quantile_of_time_becomes_the_checkpoints_cut_off(sample_dir, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "model"
    split = ["--split", "temporal", "--cutoff", "q0.8", "--targets", "last", "--validation_days", 7]
    run(
        monkeypatch,
        "train",
        "--data_dir",
        sample_dir,
        "--save_dir",
        folder,
        *split,
        *SMALL,
        "--max_steps",
        1,
        "--rivals",
    )
    report = json.loads((folder / "evaluation.json").read_text())
    report = report[0] if isinstance(report, list) else report
    cutoff = load_processor(folder).split["cutoff"]
    assert cutoff > "2022" and report["split"] == f"temporal, cut-off {cutoff}, 7 validation days, the last target"
    window = report["windows"][0]
    assert window["num_targets"] == window["num_users"] and "EASE" in report["rivals"]
    capsys.readouterr()
    run(monkeypatch, "evaluate", "--model_dir", folder, "--data_dir", sample_dir, "--k", 5, "--shuffle_histories")
    printed = capsys.readouterr().out
    assert f"cut-off {cutoff}, 7 validation days, the last target" in printed and "histories shuffled" in printed


def test_settings_that_suit_the_log_are_proposed_and_taken(sample_dir, tmp_path, monkeypatch, capsys):
    shared = ["--data_dir", sample_dir, "--max_steps", 1]
    run(monkeypatch, "train", *shared, "--save_dir", tmp_path / "plain")
    assert "settings that suit this log (--auto takes them)\n" in capsys.readouterr().out
    assert AutoConfig.from_pretrained(tmp_path / "plain").hidden_size == 128
    flags = ["--auto", "--hidden_size", 32, "--repeat_prior", False]
    run(monkeypatch, "train", *shared, "--save_dir", tmp_path / "auto", *flags)
    taken = capsys.readouterr().out.partition("settings that suit this log\n")[2]
    assert "--window random" in taken and "--hidden_size" not in taken  # a flag says otherwise
    # What flags rule out is not proposed
    for flags in (["--loss", "gbce"], ["--repeat_prior"], ["--causal"], ["--causal", "False"]):
        parts = train.parse(["--auto", "--data_dir", str(sample_dir), "--save_dir", "x", *flags])
        model_args = parts[train.ARGUMENTS.index(train.ModelArguments)]
        assert not model_args.exclude_seen_in_loss and model_args.is_causal == (
            "--causal" in flags[:1] and len(flags) < 2
        )
        assert model_args.loss == "cross_entropy" or not model_args.repeat_prior
    config = AutoConfig.from_pretrained(tmp_path / "auto")
    assert config.hidden_size == 32 and not config.repeat_prior and config.num_attention_heads == 2


@pytest.fixture(scope="module")
def origins(sample_dir, tmp_path_factory):
    """Checkpoints of two cut-offs, each with a report of its windows."""
    folders = []
    for cutoff in ("2022-03-20", "2022-04-01"):
        folders.append(tmp_path_factory.mktemp("origins") / cutoff)
        with pytest.MonkeyPatch.context() as monkeypatch:
            arguments = ["--split", "temporal", "--cutoff", cutoff, "--windows", "14D,14D", *SMALL, "--max_steps", 1]
            run(monkeypatch, "train", "--data_dir", sample_dir, "--save_dir", folders[-1], *arguments)
    return folders


def test_training_leaves_reports_and_a_card_with_both_pictures(origins):
    folder = origins[1]
    card = ModelCard.load(folder / "README.md").text
    assert "![By window](evaluation.png)" in card and "![What the log is like](data.png)" in card
    for words in (
        "| 2022-04-01..2022-04-14 |",
        "| score@25, users of all windows |",
        "does not safely beat",
        "LOSES to",
    ):
        assert words in card
    (evaluation,) = json.loads((folder / "evaluation.json").read_text())
    assert [window["name"] for window in evaluation["windows"]] == ["2022-04-01..2022-04-14", "2022-04-15..2022-04-28"]
    data = json.loads((folder / "data.json").read_text())
    assert [target["name"] for target in data["targets"]] == [window["name"] for window in evaluation["windows"]]
    assert all((folder / f"{name}.png").read_bytes()[:4] == b"\x89PNG" for name in ("data", "evaluation"))


def test_models_of_several_origins_are_evaluated_in_one_run(origins, sample_dir, tmp_path, monkeypatch, capsys):
    arguments = ["--data_dir", sample_dir, "--windows", "14D,14D", "--output_dir", tmp_path, "--num_rounds", 20]
    run(monkeypatch, "evaluate", "--model_dir", *origins, *arguments)
    printed = capsys.readouterr().out
    assert "Mean over the 2 origins" in printed
    both = json.loads((tmp_path / "evaluation.json").read_text())
    assert [report["model"] for report in both] == [folder.name for folder in origins]
    for report, folder in zip(both, origins):  # as when it was trained, and apart from the other
        (alone,) = json.loads((folder / "evaluation.json").read_text())
        assert report["split"] == alone["split"]
        for window, other in zip(report["windows"], alone["windows"]):
            score, same = (
                w["groups"]["all users"]["results"]["BERT4Rec"]["score@25"]["mean"] for w in (window, other)
            )
            assert window["name"] == other["name"] and score == pytest.approx(same)
    users = pq.read_table(tmp_path / "evaluation_users.parquet")
    assert len(set(users["split"].to_pylist())) == 2 and len(set(users["recommender"].to_pylist())) == 7


def test_simple_rules_are_evaluated_without_a_model(sample_dir, tmp_path, monkeypatch, capsys):
    arguments = ["--data_dir", sample_dir, "--split", "temporal", "--cutoff", "2022-04-01", "--history", "updated"]
    run(monkeypatch, "evaluate", *arguments, "--windows", "2W,2W", "--num_rounds", 0)
    printed = capsys.readouterr().out
    assert "the history updated" in printed and "own most frequent" in printed and "BERT4Rec" not in printed


def test_a_log_is_analyzed(sample_dir, tmp_path, monkeypatch, capsys):
    arguments = ["--data_dir", sample_dir, "--output_dir", tmp_path / "data", "--split", "temporal"]
    run(monkeypatch, "analyze", *arguments, "--cutoff", "2022-04-01", "--windows", "2W,2W")
    assert (tmp_path / "data" / "data.txt").read_text().strip() in capsys.readouterr().out
    report = json.loads((tmp_path / "data" / "data.json").read_text())
    assert [month["month"] for month in report["months"]] == ["2022-03", "2022-04"] and len(report["targets"]) == 2
    assert (tmp_path / "data" / "data.png").read_bytes()[:4] == b"\x89PNG"


def test_submission_has_25_ids_for_each_profile_in_the_files_order(checkpoint, sample_dir, tmp_path, monkeypatch):
    output_file = tmp_path / "submission.csv"
    run(monkeypatch, "predict", "--model_dir", checkpoint, "--data_dir", sample_dir, "--output_file", output_file)
    with open(output_file, encoding="utf-8") as written, open(sample_dir / "sample_submission.csv") as asked:
        rows, expected = list(csv.DictReader(written)), list(csv.DictReader(asked))
    assert [row["profile_id"] for row in rows] == [row["profile_id"] for row in expected]
    lists = [json.loads(row["predicted_list"]) for row in rows]
    assert all(len(set(items)) == 25 for items in lists)


def test_predictions_do_not_depend_on_ids_in_the_files(checkpoint, sample_dir, tmp_path, monkeypatch):
    """Ids are never derived again: more rows and albums in the files shift nothing."""
    changed = tmp_path / "data"
    shutil.copytree(sample_dir, changed)
    with open(changed / "history_data.csv", "a", encoding="utf-8") as file:
        file.write("1,20220301000000,20220301000000,,0,,N,N\n")  # an item that sorts before all others
    written = []
    for data_dir in (sample_dir, changed):
        output_file = tmp_path / f"{data_dir.name}.csv"
        run(monkeypatch, "predict", "--model_dir", checkpoint, "--data_dir", data_dir, "--output_file", output_file)
        written.append(output_file.read_text())
    assert written[0] == written[1]


def test_arguments_from_a_file_give_way_to_flags(sample_dir, tmp_path, monkeypatch, capsys):
    values = {"data_dir": str(sample_dir), "hidden_size": 16, "num_head": 2, "max_length": 16, "epochs": 1, "seed": 5}
    values |= {"item_features": "genre_mid", "do_eval": False, "save_dir": str(tmp_path / "unused")}
    values |= {"user_features": [], "k": 5, "split": "temporal", "cutoff": datetime.date(2022, 4, 1)}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values))
    run(monkeypatch, "train", tmp_path / "config.yaml", "--save_dir", tmp_path / "used", "--split", "none")
    assert (tmp_path / "used" / "model.safetensors").exists() and not (tmp_path / "unused").exists()
    config = json.loads((tmp_path / "used" / "config.json").read_text())
    assert config["hidden_size"] == 16 and [f["name"] for f in config["item_features"]] == ["genre_mid"]
    assert "None were measured" in (tmp_path / "used" / "README.md").read_text()


def test_settings_files_give_defaults_that_later_ones_and_flags_overrule(tmp_path):
    (tmp_path / "mine.yaml").write_text("hidden_size: 64\nnum_head: 4\nlr_scheduler_kwargs: {num_decay_steps: 3}\n")
    files = [str(EXAMPLES / "ai_ground.yaml"), str(tmp_path / "mine.yaml")]
    data, _, model, masking, args, _ = train.parse([*files, "--save_dir", "new", "--num_head", "2", "--epochs", "3"])
    assert (model.hidden_size, model.num_attention_heads, model.num_hidden_layers) == (64, 2, 12)
    assert (args.learning_rate, args.per_device_train_batch_size, args.num_train_epochs) == (1.2e-4, 280, 3)
    assert model.intermediate_size == 3072 and masking.mlm_probability == 0.6 and data.keyword_max_length == 20
    assert model.position_embedding_type == "absolute" and model.head_transform
    assert not model.norm_first and not model.head_item_features
    assert args.lr_scheduler_kwargs == {"num_decay_steps": 3}


def test_an_interrupted_run_is_resumed(sample_dir, tmp_path, monkeypatch):
    arguments = ["--data_dir", sample_dir, "--save_dir", tmp_path / "run", *SMALL, "--save_steps", 2]
    run(monkeypatch, "train", *arguments, "--max_steps", 4)
    for name in ("model.safetensors", "config.json"):
        (tmp_path / "run" / name).unlink()
    run(monkeypatch, "train", *arguments, "--max_steps", 4, "--resume")
    assert (tmp_path / "run" / "model.safetensors").exists()


LOG = "profile_id,log_time,album_id\n"


def bad_data(folder, file, content):
    (folder / file).write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize(
    "file, content, arguments, words",
    [
        ("history_data.csv", None, [], "history_data.csv: there is no such file"),
        ("history_data.csv", "profile_id,album_id\n1,2\n", [], "no column 'log_time', only profile_id, album_id"),
        ("history_data.csv", "", [], "history_data.csv: the file is empty"),
        ("history_data.csv", LOG, [], "history_data.csv: there are no rows"),
        ("history_data.csv", "profile_id;log_time;album_id\n1;2;3\n", [], "The delimiter does not seem to be ','"),
        (
            "history_data.csv",
            LOG.encode() + b"1,20220301000000,\xb0\xa1\n",
            [],
            "history_data.csv: the file is not UTF-8",
        ),
        ("history_data.csv", LOG + "1,noon,2\n", [], "history_data.csv, row 1: log_time is 'noon', not a number"),
        ("history_data.csv", LOG + ",20220301000000,2\n", [], "history_data.csv, row 1: profile_id is empty"),
        ("profile_data.csv", None, [], "profile_data.csv: there is no such file"),
        ("meta_data.csv", "album_id,title\n1,2\n", [], "item feature 'genre_mid' is no column of the item tables"),
        (None, None, ["--min_events", 10**6], "nobody is left"),
        (None, None, ["--hidden_size", 30, "--num_head", 4], "hidden_size (30) must be a multiple"),
        (None, None, ["--k", 0], "k is 0; it must be from 1 to"),
        (None, None, ["--k", 10**6], "k is 1000000; it must be from 1 to"),
        (None, None, ["--mlm_probability", 1.5], "mlm_probability is 1.5; it must be in [0, 1]"),
        (None, None, ["--max_length", 1], "max_position_embeddings is 1; an item and the MASK after it need 2"),
        (None, None, ["--split", "temporal"], "a temporal split needs --cutoff"),
        (None, None, ["--split", "temporal", "--cutoff", "2022-04-01", "--rivals"], "no validation rows"),
        (None, None, ["--split", "temporal", "--cutoff", "2030-01-01"], "no test rows"),
        (
            *(None, None, ["--split", "temporal", "--cutoff", "2022-04-01", "--windows", "1M,1M"]),
            "no test rows under the split temporal, cut-off 2022-04-01, 0 validation days in 2022-05-01..2022-05-31",
        ),
        (None, None, ["--k", 110, "--exclude_seen"], "has not seen"),
        (None, None, ["--train_batch_size", 0], "per_device_train_batch_size is 0; it must be at least 1"),
        (None, None, ["--num_layers", 0], "num_hidden_layers is 0"),
        (None, None, ["--early_stopping_patience", 2], "early_stopping_patience needs --do_eval"),
        (None, None, ["--split", "temporal", "--cutoff", "2022-04-01", "--do_eval"], "see --validation_days"),
        (None, None, ["--do_eval", "--eval_steps", 5, "--save_steps", 7], "must be a multiple of eval_steps"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2_and_writes_nothing(
    sample_dir, tmp_path, monkeypatch, capsys, file, content, arguments, words
):
    data_dir, save_dir = tmp_path / "data", tmp_path / "run"
    shutil.copytree(sample_dir, data_dir)
    if file is not None and content is None:
        (data_dir / file).unlink()
    elif file is not None:
        bad_data(data_dir, file, content)
    with pytest.raises(SystemExit) as error:
        run(monkeypatch, "train", "--data_dir", data_dir, "--save_dir", save_dir, *SMALL, *arguments)
    lines = capsys.readouterr().err.strip().splitlines()
    assert error.value.code == 2
    assert lines[-1].startswith("error: ") and words in lines[-1]
    assert not save_dir.exists()


def test_a_save_dir_that_holds_something_else_is_left_alone(sample_dir, tmp_path, monkeypatch, capsys):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(SystemExit) as error:
        run(monkeypatch, "train", "--data_dir", sample_dir, "--save_dir", tmp_path, *SMALL)
    assert error.value.code == 2 and "is not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    "script, arguments, words",
    [
        ("evaluate", ["--model_dir", "{empty}"], "holds no checkpoint"),
        ("predict", ["--model_dir", "{empty}"], "holds no checkpoint"),
        ("predict", ["--model_dir", "{checkpoint}", "--k", "0"], "k is 0"),
        ("predict", ["--model_dir", "{checkpoint}", "--submission_file", "x.csv"], "x.csv: there is no such file"),
        ("evaluate", ["--model_dir", "{mixed}"], "they are not of the same checkpoint"),
        ("evaluate", ["--model_dir", "{checkpoint}", "--split", "none"], "none are left to evaluate"),
        ("evaluate", ["--model-dir", "{checkpoint}", "--output_dir", "{file}/x"], "is no folder that can be"),
        ("evaluate", ["--model_dir", "{checkpoint}", "--windows", "1M"], "windows need a temporal split"),
        (
            "evaluate",
            ["--model_dir", "{checkpoint}", "--split", "temporal", "--cutoff", "2022-03-20"],
            "test rows are training rows of the model (leave_one_out)",
        ),
        ("evaluate", ["--model_dir", "{checkpoint}", "{checkpoint}"], "has the split of another model"),
        ("evaluate", ["--compare", "{empty}"], "compare takes two folders"),
        ("evaluate", ["--compare", "{empty}", "{empty}"], "has no evaluation_users.parquet"),
        ("analyze", ["--output_dir", "{file}"], "is no folder that can be written to"),
        ("predict", ["--model_dir", "{checkpoint}", "--output_file", "no/x.csv"], "cannot be written"),
        ("evaluate", ["{config}"], "there is no flag --learning"),
    ],
)
def test_bad_checkpoints_and_requests_are_refused(
    checkpoint, sample_dir, tmp_path, monkeypatch, capsys, script, arguments, words
):
    (tmp_path / "empty").mkdir()
    mixed = tmp_path / "mixed"
    shutil.copytree(checkpoint, mixed)
    other = load_processor(str(mixed))
    other.add_items([10**9])
    other.save_pretrained(mixed)
    (tmp_path / "config.yaml").write_text("learning: 3\n")
    places = {
        "empty": tmp_path / "empty",
        "mixed": mixed,
        "checkpoint": checkpoint,
        "config": tmp_path / "config.yaml",
        "file": tmp_path / "config.yaml",
    }
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as error:
        run(monkeypatch, script, *(argument.format(**places) for argument in arguments), "--data_dir", sample_dir)
    assert error.value.code == 2
    assert words in capsys.readouterr().err.strip().splitlines()[-1]
    assert not (tmp_path / "submission.csv").exists()
