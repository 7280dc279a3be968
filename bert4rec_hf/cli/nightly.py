# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""
Nightly training on new events: continues training the live model of a Hub repository, tests the old and the new model
on the newest days, and pushes the new one unless it is significantly worse. Other flags are those of train.

    bert4rec-hf nightly --hub_model_id user/name --data_dir ./data --epochs 3

Roll back to an earlier commit:

    bert4rec-hf nightly --hub_model_id user/name --roll_back_to 8f3a1c2
"""

import os
import sys
from dataclasses import dataclass, field

import numpy as np
from huggingface_hub import HfApi
from huggingface_hub.errors import RepositoryNotFoundError
from transformers.utils import CONFIG_NAME

from ..data.interactions import read_interactions
from ..data.splits import Split
from ..errors import DataError, hub_errors
from ..evaluation.comparison import compare
from ..evaluation.reports import read_users
from ..evaluation.windows import evaluate
from ..hub.load import find_checkpoint, load_checkpoint
from ..hub.push import push_checkpoint
from ..training.training_args import Bert4RecTrainingArguments
from . import train
from .arguments import parse_arguments


@dataclass
class NightlyArguments:
    """The live model, and the test for replacing it."""

    _argument_group_name = "Nightly"

    hub_model_id: str = field(metadata={"help": "Repository of the live model, user/name; created in the first run."})
    save_dir: str = field(
        default="nightly", metadata={"help": "Parent folder of the runs; each has a subfolder named by its last day."}
    )
    hub_revision: str = field(default="main", metadata={"help": "Branch that is live."})
    test_days: int = field(default=7, metadata={"help": "Number of newest days on which both are tested."})
    num_rounds: int = field(default=1000, metadata={"help": "Samples of the bootstrap over users."})
    roll_back_to: str | None = field(
        default=None, metadata={"help": "Do not train; make this earlier commit live again."}
    )

    def __post_init__(self):
        if self.test_days < 1 or self.num_rounds < 1:
            raise DataError("test_days and num_rounds must be at least 1.")


def main(flags: list[str] | None = None):
    """The command. Exit code 1: the live model is kept."""
    args, other_flags = parse_arguments(NightlyArguments, description=__doc__, args=flags, rest=True)
    target = {"repo_id": args.hub_model_id, "revision": None if args.hub_revision == "main" else args.hub_revision}
    if args.roll_back_to:
        folder = find_checkpoint(args.hub_model_id, args.roll_back_to)
        load_checkpoint(folder)  # a broken checkpoint must not go live
        commit = push_checkpoint(folder, **target, commit_message=f"Roll back to {args.roll_back_to}")
        return print(f"{args.hub_model_id} is as it was at {args.roll_back_to} (commit {commit.oid})")

    # 1. The live model, and the newest days
    sha = live_commit(args.hub_model_id, args.hub_revision)
    live = find_checkpoint(args.hub_model_id, sha) if sha else None
    init_flags = other_flags + (["--init_from", live] if live else [])
    data_args = train.parse([*init_flags, "--save_dir", args.save_dir])[0]
    interactions = read_interactions(data_args)
    last_day = np.datetime64(int(interactions.day.max()), "D")
    split = Split("temporal", str(last_day - args.test_days + 1))
    folder = os.path.join(args.save_dir, str(last_day))

    # 2. Continue training on the events before them
    split_flags = ["--split", "temporal", "--cutoff", split.cutoff, "--targets", split.targets]
    train_flags = [*init_flags, *split_flags, "--save_dir", folder, "--resume"]
    arguments = train.parse(train_flags)
    if not os.path.exists(os.path.join(folder, "README.md")):  # the last file of a training
        train.train_locked(*arguments)
    if live is None:
        commit = push_checkpoint(folder, **target, commit_message=f"Night of {last_day}: the first")
        return print(f"pushed to {commit.repo_url}, commit {commit.oid}; there was no live model to compare with")

    # 3. The same users, the same days, both models
    training = arguments[train.ARGUMENTS.index(Bert4RecTrainingArguments)]
    settings = {"k": training.k, "exclude_seen": training.exclude_seen, "num_rounds": 0}
    settings["request_time"] = training.request_time
    before = evaluate(*load_checkpoint(live), interactions, split, **settings)
    (window,) = compare(before.users, read_users(folder), num_rounds=args.num_rounds)
    metric = f"ndcg@{training.k[0]}"
    figures = window["metrics"][metric]
    lead = figures["difference"]
    print(
        f"{split.cutoff} to {last_day}, {window['num_users']:,} users: {metric} {figures['b']['mean']:.4f}, live "
        f"{figures['a']['mean']:.4f}; {lead['mean']:+.4f}, 95% {lead['low']:+.4f} to {lead['high']:+.4f}"
    )
    if lead["high"] < 0:
        print(f"NOT pushed: worse for sure. {args.hub_model_id} stays at commit {sha}; the new model is in {folder}.")
        sys.exit(1)
    message = f"Night of {last_day}: {metric} {lead['mean']:+.4f} ({lead['low']:+.4f} to {lead['high']:+.4f})"
    commit = push_checkpoint(folder, **target, commit_message=message)
    print(f"pushed to {commit.repo_url}, commit {commit.oid}; back with --roll_back_to {sha}")


def live_commit(repo_id: str, revision: str) -> str | None:
    """
    The commit of the model that is live, or `None` if the repository is not there or holds none.

    Raises:
        `DataError`: if the Hub cannot be reached or refuses.
    """
    with hub_errors(repo_id):
        try:
            info = HfApi().model_info(repo_id, revision=revision)
        except RepositoryNotFoundError:
            return None
    return info.sha if any(file.rfilename == CONFIG_NAME for file in info.siblings) else None
