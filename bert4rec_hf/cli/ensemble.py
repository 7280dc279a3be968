# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""
Ensembles: trains the members, evaluates the gain from voting, saves them as one model, and recommends.

    bert4rec-hf ensemble train --data_dir ./data --save_dir ./exps --num_members 5
    bert4rec-hf ensemble evaluate --model_dirs [1,2,3,4,5] --data_dir ./data
    bert4rec-hf ensemble predict --model_dirs [1,2,3,4,5] --data_dir ./data --output_file submission.csv

ensemble train takes the flags of train too, for all members; --members is a YAML file with a list of the flags of each
member, as in "- {mlm_probability: 0.5, hidden_size: 256}". The members are saved in ./exps/seed1, ./exps/seed2 and so
on, the ensemble in ./exps/ensemble. An interrupted run resumes when it is started again. [1,2,3] means ./exps/seed1 to
./exps/seed3; folders and ids on the Hub work too, or the folder of an ensemble. evaluate --save_dir ./best saves the
evaluated ensemble.
"""

import json
import os
import re
import sys
from dataclasses import dataclass, field, fields
from typing import Literal

from ..data.encoding import encode_evaluation
from ..data.interactions import DataArguments, read_interactions
from ..data.splits import Split, parse_windows
from ..errors import DataError
from ..evaluation.evaluator import check_k
from ..evaluation.reports import ensemble_text, write_evaluation_report
from ..evaluation.selection import select_members
from ..evaluation.windows import evaluate
from ..files import atomic_write, check_output_file, check_report_dir, directory_lock
from ..hub.card import write_model_card
from ..hub.load import load_ensemble
from ..training.checkpoints import check_save_dir
from . import train
from .arguments import ALIASES, ListArguments, as_flags, parse_arguments, read_settings
from .evaluate import EvaluationArguments
from .predict import PredictionArguments, predict


RECORD = "members.json"
# Prefixes of the arguments that do not change a model.
HARMLESS = (
    "output_dir",
    "data_dir",
    "resume",
    "overwrite",
    "dataloader",
    "log",
    "per_device_eval",
    "report_to",
    "run_",
)
HARMLESS += ("project", "trackio", "disable_tqdm", "hub_", "license", "rivals")


@dataclass
class VotingArguments:
    """How the members vote."""

    voting: Literal["probability", "log_probability", "reciprocal_rank"] | None = field(
        default=None, metadata={"help": "What to average; by default the ensemble's own setting, or the probability."}
    )
    weights: list[str] = field(
        default_factory=list,
        metadata={"help": 'One number per member, or "fitted" on the validation rows; default: equal.'},
    )

    def __post_init__(self):
        if self.weights != ["fitted"]:
            try:
                self.weights = [float(weight) for weight in self.weights]
            except ValueError:
                raise DataError(f"weights are {' '.join(self.weights)}; give numbers, or fitted.") from None


@dataclass
class MembersArguments:
    """The number of members, and how they differ."""

    save_dir: str = field(metadata={"help": "Folder of the members and of the ensemble."})
    num_members: int | None = field(default=None, metadata={"help": "Number of members; default: as --members, or 5."})
    members: str | None = field(default=None, metadata={"help": "YAML file with a list of flags of each member."})


@dataclass
class ModelArguments:
    """The models."""

    model_dirs: list[str] = field(
        metadata={"help": "Folders or Hub ids, [1,2,3] for exps/seed1 to exps/seed3, or one ensemble."}
    )


@dataclass
class SavingArguments:
    """The folder of the ensemble."""

    save_dir: str | None = field(default=None, metadata={"help": "New or empty folder to save the ensemble in."})


def train_members(flags: list[str]):
    """Trains the members that are not there yet, and saves the ensemble."""
    args, voting, flags = parse_arguments(
        MembersArguments, VotingArguments, description=__doc__, args=flags, rest=True
    )
    overrides = read_overrides(args.members)
    num_members = args.num_members or len(overrides) or 5
    if num_members < max(len(overrides), 1):
        raise DataError(f"num_members is {num_members}; it must be at least {max(len(overrides), 1)}.")
    members = {}
    for number in range(1, num_members + 1):
        own = overrides[number - 1] if number <= len(overrides) else {}
        name = os.path.join(args.save_dir, f"seed{number}")
        members[name] = flags + as_flags({"seed": number, **own, "output_dir": name, "resume": True})
    settings = {name: settings_of(member) for name, member in members.items()}
    with directory_lock(args.save_dir):
        check_record(args.save_dir, settings)
        for number, (name, member) in enumerate(members.items(), start=1):
            is_there = os.path.exists(os.path.join(name, "README.md"))  # the last file of a training
            print(f"member {number} of {num_members}: {name}{', there already' if is_there else ''}")
            if not is_there:
                train.main(member)
        ensemble = os.path.join(args.save_dir, "ensemble")
        if os.path.exists(ensemble):
            raise DataError(
                f"{ensemble} is there already; save another one by evaluate --model_dirs ... --save_dir DIR."
            )
        shared = settings[os.path.join(args.save_dir, "seed1")]
        shared["eval_batch_size"] = shared["per_device_eval_batch_size"]
        names = ("data_dir", "k", "windows", "exclude_seen", "request_time", "eval_batch_size")
        shared = {name: shared[name] for name in names}
        how = {name: value for name, value in {**shared, **vars(voting)}.items() if value != []}
        evaluate_members(["--model_dirs", *members, *as_flags(how), "--save_dir", ensemble])


def read_overrides(file: str | None) -> list[dict]:
    """The flags of each member from a file."""
    if file is None:
        return []
    overrides = read_settings(file)
    if not isinstance(overrides, list) or not all(isinstance(override, dict) for override in overrides):
        raise DataError(f"{file}: it must be a list with names and values for each member, as in '- {{seed: 7}}'.")
    known = {part.name for arguments in train.ARGUMENTS for part in fields(arguments)}
    known = (known | ALIASES.keys()) - {"output_dir", "save_dir", "resume_from_checkpoint", "resume", "overwrite"}
    for number, override in enumerate(overrides, start=1):
        if strange := sorted(set(override) - known):
            raise DataError(f"{file}: member {number} has {strange[0]!r}, which is no argument of a member.")
    return overrides


def settings_of(flags: list[str]) -> dict:
    """The arguments of a member, checked as train checks them."""
    settings = {field.name: getattr(part, field.name) for part in train.parse(flags) for field in fields(part)}
    settings = {
        name: value for name, value in settings.items() if isinstance(value, (str, int, float, list, type(None)))
    }
    if settings["push_to_hub"]:
        raise DataError("push_to_hub is not for members; push the ensemble by bert4rec-hf push when it is there.")
    return settings


def check_record(save_dir: str, settings: dict[str, dict]):
    """Checks that existing members have the given settings, and records the settings of all members."""
    check_report_dir(save_dir)
    path = os.path.join(save_dir, RECORD)
    before = read_settings(path) if os.path.exists(path) else {}
    settings = {
        name: {flag: value for flag, value in now.items() if not flag.startswith(HARMLESS)}
        for name, now in settings.items()
    }
    for name, now in settings.items():
        then = before.get(os.path.basename(name))
        if then is None and os.path.isdir(name) and os.listdir(name):
            raise DataError(f"{name} exists, but is not a member trained by this command; choose another --save_dir.")
        for flag, value in now.items() if then else ():
            if flag in then and then[flag] != value:
                raise DataError(f"{name} has {flag} {then.get(flag)}, not {value}; choose another --save_dir.")
    os.makedirs(save_dir, exist_ok=True)
    record = before | {os.path.basename(name): now for name, now in settings.items()}
    with atomic_write(path) as part, open(part, "w", encoding="utf-8") as file:
        json.dump(record, file, indent=1, ensure_ascii=False)


def load_members(
    names: list[str],
    voting: VotingArguments,
    data_args: DataArguments,
    split: Split,
    k: list[int],
    args: ListArguments,
    request_time: bool = False,
):
    """The ensemble, its processor, the log, and the names of the members; weights are fitted for the first of `k`."""
    fitted = voting.weights == ["fitted"]
    ensemble, processor = load_ensemble(names, voting.voting, None if fitted else voting.weights or None)
    if len(names) < len(ensemble.members):
        names = [f"member {number}" for number in range(1, len(ensemble.members) + 1)]
    interactions = read_interactions(data_args.for_checkpoint(processor))
    if fitted:
        dataset = encode_evaluation(interactions, processor, split, "validation", request_time=request_time)
        check_k(k, processor, dataset, args.exclude_seen, args.allow_fewer)
        counts, reached = select_members(
            ensemble,
            processor,
            dataset,
            k[0],
            args.exclude_seen,
            batch_size=args.eval_batch_size,
            allow_fewer=args.allow_fewer,
        )
        chosen = counts.nonzero()[0]
        ensemble = ensemble.subset(chosen, counts[chosen].astype(float).tolist())
        print(f"weights by NDCG@{k[0]} of {len(dataset):,} validation users ({reached:.4f}): ", end="")
        print(", ".join(f"{names[number]} {counts[number]}" for number in chosen))
        names = [names[number] for number in chosen]
    return ensemble, processor, interactions, names


def evaluate_members(flags: list[str]):
    """Evaluates the ensemble and its members, and saves it if asked to."""
    parts = (ModelArguments, VotingArguments, EvaluationArguments, SavingArguments, DataArguments, Split)
    models, voting, args, saving, data_args, split = parse_arguments(
        *parts, description=__doc__, checkpoint="model_dirs", args=with_folders(flags), merge=True
    )
    check_report_dir(args.output_dir)
    if saving.save_dir:
        check_save_dir(saving.save_dir, resume=False)
    if split.split == "none":
        raise DataError("all rows train, none are left to evaluate; give --split.")
    settings = (voting, data_args, split, args.k, args, args.request_time)
    ensemble, processor, interactions, names = load_members(models.model_dirs, *settings)
    evaluation = evaluate(
        ensemble,
        processor,
        interactions,
        split,
        args.subset,
        args.k,
        args.exclude_seen,
        batch_size=args.eval_batch_size,
        windows=parse_windows(args.windows, split.of(interactions)),
        num_rounds=args.num_rounds,
        allow_fewer=args.allow_fewer,
        rivals=args.rivals,
        shuffle_histories=args.shuffle_histories,
        request_time=args.request_time,
        members={name: ensemble.subset([number]) for number, name in enumerate(names)},
    )
    print(interactions.summary())
    print(ensemble_text(evaluation.report))
    if args.output_dir:
        write_evaluation_report(args.output_dir, [evaluation])
    if saving.save_dir:
        with atomic_write(saving.save_dir) as part:
            ensemble.save_pretrained(part)
            processor.save_pretrained(part)
            write_evaluation_report(part, [evaluation])
            write_model_card(part, ensemble, processor, evaluation=evaluation.report, model_id=saving.save_dir)
        print(f"saved to {saving.save_dir}")


def predict_by_members(flags: list[str]):
    """Writes what the ensemble recommends."""
    parts = (ModelArguments, VotingArguments, PredictionArguments, DataArguments, Split)
    models, voting, args, data_args, split = parse_arguments(
        *parts, description=__doc__, checkpoint="model_dirs", args=with_folders(flags), merge=True
    )
    check_output_file(args.output_file)
    ensemble, processor, interactions, _ = load_members(models.model_dirs, voting, data_args, split, [args.k], args)
    predict(ensemble, processor, interactions, args)


def with_folders(flags: list[str]) -> list[str]:
    """The flags with `[1,2,3]`, as one argument or several, replaced by folders."""
    if "--model_dirs" not in flags:
        return flags
    first = last = flags.index("--model_dirs") + 1
    while last < len(flags) and re.fullmatch(r"\[?[\d, ]+\]?|[\[\]]", flags[last]):
        last += 1
    folders = [f"exps/seed{number}" for number in re.findall(r"\d+", " ".join(flags[first:last]))]
    return flags[:first] + folders + flags[last:]


COMMANDS = {"train": train_members, "evaluate": evaluate_members, "predict": predict_by_members}


def main():
    """The command; its first argument is one of `COMMANDS`."""
    command = sys.argv[1] if len(sys.argv) > 1 else "none"
    if command in ("-h", "--help"):
        print(__doc__)
    elif command not in COMMANDS:
        raise DataError(f"the first argument is {command}; it must be one of {', '.join(COMMANDS)}.")
    else:
        COMMANDS[command](sys.argv[2:])
