# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Flags, settings files and help of the commands, and how they fail."""

import os
import subprocess
import sys
from dataclasses import asdict, fields

import pytest
from helpers import SMALL
from transformers import TrainingArguments

from bert4rec_hf import Bert4RecConfig, DataError
from bert4rec_hf.cli import train
from bert4rec_hf.cli.arguments import ALIASES, CommandParser
from bert4rec_hf.cli.arguments import run as run_command
from bert4rec_hf.training.training_args import Bert4RecTrainingArguments


ORIGINAL = """
    --data_dir ./data --meta_data_file meta_data.csv --profile_data_file profile_data.csv
    --history_data_file history_data.csv --seed 1 --max_length 128 --keyword_max_length 20
    --learning_rate 1.2e-4 --weight_decay 1e-2 --epochs 100 --train_batch_size 280 --mlm_probability 0.6
    --logging_steps 100 --save_steps 500 --hidden_size 768 --num_layers 12 --num_head 8 --num_workers 4
    --intermediate_size 3072 --dropout_prob 0.1 --warmup_ratio 0.1 --eps 1e-12 --save_dir ./exps/seed1
""".split()


def test_every_field_of_the_config_and_of_training_arguments_is_a_flag():
    flags = CommandParser(train.ARGUMENTS, "").flags
    of_the_data = {*train.VOCABULARY_SETTINGS}
    names = {part.name for part in fields(TrainingArguments)} | {*Bert4RecConfig.__annotations__} - of_the_data
    assert {f"--{name}" for name in names} <= {*flags}


def test_the_originals_command_sets_the_fields_that_its_names_mean():
    data, _, model, masking, args, _ = train.parse(ORIGINAL)
    assert (args.output_dir, args.num_train_epochs, args.per_device_train_batch_size) == ("./exps/seed1", 100, 280)
    assert (args.warmup_steps, args.dataloader_num_workers, args.save_strategy, args.save_steps) == (
        0.1,
        4,
        "steps",
        500,
    )
    assert (model.num_hidden_layers, model.num_attention_heads, model.hidden_dropout_prob) == (12, 8, 0.1)
    assert (model.max_position_embeddings, model.layer_norm_eps, model.intermediate_size) == (128, 1e-12, 3072)
    assert (data.keyword_max_length, masking.mlm_probability, args.learning_rate) == (20, 0.6, 1.2e-4)


@pytest.mark.parametrize("spell", [lambda name: name, lambda name: name.replace("_", "-")])
def test_aliases_hold_in_files_and_on_the_command_line(tmp_path, spell):
    values = {"epochs": 3, "num_layers": 5, "save_dir": "new", "warmup_ratio": 0.25, "resume": True}
    (tmp_path / "short.yaml").write_text("\n".join(f"{spell(name)}: {value}" for name, value in values.items()))
    flags = [f"--{spell(name)}={value}" for name, value in values.items()]
    parts = train.parse(flags), train.parse([str(tmp_path / "short.yaml")])
    for _, _, model, _, args, _ in parts:
        assert model.num_hidden_layers == 5 and args.num_train_epochs == 3 and args.output_dir == "new"
        assert args.warmup_steps == 0.25 and args.resume_from_checkpoint is True
    assert asdict(parts[0][2]) == asdict(parts[1][2])


def test_a_flag_that_is_true_or_false_needs_no_value():
    flags = ["--save_dir", "new", "--gradient_checkpointing", "--push_to_hub", "--hub_private_repo", "--no_norm_first"]
    _, _, model, _, args, _ = train.parse([*flags, "--do_eval", "False", "--bf16=false"])
    assert args.gradient_checkpointing is args.hub_private_repo is args.push_to_hub is True
    assert model.norm_first is args.do_eval is args.bf16 is False


def test_no_alias_is_the_name_of_a_field():
    names = {part.name for arguments in train.ARGUMENTS for part in fields(arguments)}
    assert not names & ALIASES.keys() and {*ALIASES.values()} <= names


def test_the_defaults_of_flags_are_those_of_the_config():
    model = train.parse(["--save_dir", "new", "--hidden_size", "64"])[2]
    assert Bert4RecConfig(**asdict(model)).to_dict() == Bert4RecConfig(hidden_size=64).to_dict()
    assert Bert4RecConfig(hidden_size=64).intermediate_size == 256


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ("no", "epoch", False, None)),
        ({"save_steps": 7}, ("no", "steps", False, None)),
        ({"do_eval": True}, ("epoch", "epoch", True, "ndcg@10")),
        ({"do_eval": True, "eval_steps": 5, "k": [5]}, ("steps", "steps", True, "ndcg@5")),
        ({"do_eval": True, "metric_for_best_model": "recall@25"}, ("epoch", "epoch", True, "recall@25")),
        ({"save_strategy": "no"}, ("no", "no", False, None)),
    ],
)
def test_validation_decides_what_is_saved(given, expected):
    args = Bert4RecTrainingArguments("new", **given)
    kept = (args.load_best_model_at_end, args.metric_for_best_model)
    assert (args.eval_strategy, args.save_strategy, *kept) == expected
    if given.get("eval_steps"):
        assert args.save_steps == args.eval_steps == 5


def test_help_fits_two_screens_and_help_all_has_everything(capsys):
    for flag in ("--help", "-h", "--help-all"):
        with pytest.raises(SystemExit) as end:
            train.parse([flag])
        assert not end.value.code
    printed = capsys.readouterr().out
    short = printed.split("usage:")[1]
    assert len(short.strip().splitlines()) <= 48 and all(len(line) <= 119 for line in short.splitlines())
    everything = printed.split("usage:")[3]
    assert all(name in everything for name in ("--lr_scheduler_type", "--rope_theta", "--mask_replace_prob"))
    assert "--lr_scheduler_type" not in short and "--epochs" in short


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--epocs", "3"], "there is no flag --epocs; is it --epochs?"),
        (["--num_hiden_layers=3"], "there is no flag --num_hiden_layers; is it --num_hidden_layers?"),
        (["--zzzz"], "there is no flag --zzzz; see --help."),
        (["config.txt"], "'config.txt' belongs to no flag"),
        (["--epochs", "many"], "argument --num_train_epochs: invalid float value: 'many'"),
        (["--epochs"], "argument --num_train_epochs: expected one argument"),
        (["--window", "middle"], "argument --window: invalid choice: 'middle'"),
        (["--loss", "mse"], "argument --loss: invalid choice: 'mse'"),
        (["--do_eval", "perhaps"], "Truthy value expected: got perhaps"),
        (["--seed", "-1"], "seed is -1; it must be at least 0"),
        (["--seed", str(2**32)], "seed is 4294967296; it must be below 2**32"),
        (["--data_seed", str(2**40)], "data_seed is 1099511627776; it must be below 2**32"),
        (["--seed", "1.5"], "argument --seed: invalid int value: '1.5'"),
        (["--optim", "sgdd"], "sgdd"),
        (["--lr_scheduler_type", "sawtooth"], "sawtooth"),
        (["--learning_rate", "nan"], "learning_rate is nan; it must be at least 0"),
        (["--bf16", "--fp16"], "fp16 and bf16"),
        (["--resume", "--ema_decay", "1"], "ema_decay is 1.0; it must be in [0, 1)"),
        (["--hub_model_id", "user/name"], "need --push_to_hub"),
    ],
)
def test_mistakes_on_the_command_line_are_one_line_and_exit_code_2(flags, words, capsys):
    with pytest.raises(SystemExit) as end:
        run_command(lambda: train.main(["--save_dir", "never", *flags]))
    lines = capsys.readouterr().err.strip().splitlines()
    assert end.value.code == 2 and len(lines) == 1
    assert lines[0].startswith("error: ") and words in lines[0]
    assert not os.path.exists("never")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--report_to", "nonesuch"], "nonesuch is not supported, only"),
        (["--report_to", "comet_ml"], "comet"),
        (["--optim", "lomo"], "lomo"),
        (["--hub_strategy", "checkpoint"], "pushes pickles"),
        (["--lr_scheduler_type", "cosine_with_min_lr"], "one of min_lr or min_lr_rate should be set"),
        (["--lr_scheduler_kwargs", '{"num_cycle": 3}', "--lr_scheduler_type", "cosine"], "num_cycle"),
        (
            ["--do_eval", "--split", "leave_one_out", "--metric_for_best_model", "auc"],
            "must be one of recall@10, ndcg@10",
        ),
    ],
)
def test_what_is_not_there_is_one_line_and_replaces_nothing(sample_dir, tmp_path, monkeypatch, capsys, flags, words):
    monkeypatch.chdir(tmp_path)
    train.main(["--data_dir", str(sample_dir), "--save_dir", "run", "--split", "none", "--max_steps", "1", *SMALL])
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    (tmp_path / "run" / "runs").mkdir()  # what TensorBoard writes
    capsys.readouterr()
    arguments = ["--data_dir", str(sample_dir), "--save_dir", "run", "--overwrite", "--max_steps", "1", *SMALL, *flags]
    with pytest.raises(SystemExit) as end:
        run_command(lambda: train.main(arguments))
    assert end.value.code == 2 and words in capsys.readouterr().err.strip().splitlines()[-1].lower()
    if "lomo" not in flags:  # which is not missed until the first step
        assert before == {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}


def test_a_missing_folder_is_one_line():
    with pytest.raises(DataError, match="the following arguments are required: --output_dir"):
        train.parse([])


def test_a_reader_that_has_seen_enough_is_no_error():
    command = f"{sys.executable} -m bert4rec_hf train --help-all | head -1"
    shown = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert shown.stdout.startswith("usage") and not shown.stderr
