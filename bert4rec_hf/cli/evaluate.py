# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""
Ranks the whole catalogue for the users of a log and evaluates the lists, compared with simple rules.

    bert4rec-hf evaluate --model_dir ./exps/seed1 --data_dir ./data --k 10 25 --output_dir ./reports/seed1

In consecutive windows after the cut-off, for one model or for several with different cut-offs:

    bert4rec-hf evaluate --model_dir ./exps/march ./exps/april --data_dir ./data --windows 1M,1M,1M

Runs with a first one, user by user, each of one seed or of several:

    bert4rec-hf evaluate --compare ./reports/seed1 ./reports/seed2
    bert4rec-hf evaluate --compare ./base/seed1,./base/seed2 ./wider/seed1,./wider/seed2 ./deeper/seed1

Columns, filters and split are those that the checkpoint was trained with, unless flags override them. Without a model,
only the simple rules are evaluated. The output is evaluation.txt, .json and .png, and evaluation_users.parquet with
the figures of each user.
"""

import json
import os
from dataclasses import dataclass, field
from typing import Literal

from ..data.encoding import fit_processor
from ..data.interactions import DataArguments, read_interactions
from ..data.splits import Split, parse_windows
from ..errors import DataError
from ..evaluation.comparison import compare
from ..evaluation.reports import comparison_text, evaluation_text, read_users, write_evaluation_report
from ..evaluation.windows import evaluate
from ..files import atomic_write, check_report_dir
from ..hub.load import load_checkpoint
from .arguments import ListArguments, parse_arguments


@dataclass
class EvaluationArguments(ListArguments):
    """The targets, the lists and the report."""

    k: list[int] = field(default_factory=lambda: [10, 25], metadata={"help": "Lengths of the lists."})
    subset: Literal["validation", "test"] = field(default="test", metadata={"help": "Which rows are the targets."})
    windows: str | None = field(
        default=None, metadata={"help": "Windows of a temporal split, from the cut-off on, as in 1M,1M or 14D,14D."}
    )
    rivals: bool = field(
        default=False, metadata={"help": "Compare with ItemKNN, EASE and ALS too, tuned on the validation rows."}
    )
    shuffle_histories: bool = field(
        default=False, metadata={"help": "Rank shuffled histories too: what the model has learnt from the order."}
    )
    request_time: bool = field(
        default=False, metadata={"help": "A model that reads times knows the moment of a user's first target."}
    )
    num_rounds: int = field(default=1000, metadata={"help": "Number of bootstrap samples; 0 for no intervals."})
    output_dir: str | None = field(default=None, metadata={"help": "Folder of the report."})

    def __post_init__(self):
        super().__post_init__()
        if self.num_rounds < 0:
            raise DataError("num_rounds must be at least 0.")


@dataclass
class ModelArguments:
    """The models to evaluate, or the reports to compare."""

    model_dir: list[str] = field(
        default_factory=list, metadata={"help": "Folder or Hub id of one or several checkpoints."}
    )
    revision: str | None = field(default=None, metadata={"help": "Branch, tag or commit of a model on the Hub."})
    history: Literal["frozen", "updated"] = field(
        default="frozen", metadata={"help": "End histories at the cut-off (frozen) or before each window (updated)."}
    )
    recent_days: int = field(default=30, metadata={"help": 'Days of the baseline "popular in the last days".'})
    compare: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Folders written with --output_dir: those after the first are compared with it. The folders of a "
            "run's seeds are joined by commas."
        },
    )

    def __post_init__(self):
        if self.compare and (len(self.compare) < 2 or self.model_dir):
            raise DataError("compare takes two folders of reports or more, and no model.")


def main():
    """The command."""
    models, args, data_args, split = parse_arguments(
        ModelArguments, EvaluationArguments, DataArguments, Split, description=__doc__, checkpoint="model_dir"
    )
    check_report_dir(args.output_dir)
    if models.compare:
        return compare_runs(models.compare, args)
    checkpoints = [load_checkpoint(name, models.revision) for name in models.model_dir] or [(None, None)]
    trained = [Split(**processor.split) if processor and processor.split else split for _, processor in checkpoints]
    # Each model uses its own split, unless flags set another one.
    splits = trained if trained[0] == split else [split] * len(trained)
    names = models.model_dir or ["the log"]
    for name, split in zip(names, splits):
        if split.split == "none":
            raise DataError(f"{name}: all rows train, none are left to evaluate; give --split.")
        if splits.count(split) > 1:
            raise DataError(f"{name} has the split of another model; evaluate each apart and use --compare.")
    if models.model_dir:
        data_args = data_args.for_checkpoint(checkpoints[0][1])
    interactions = read_interactions(data_args)
    evaluations = []
    for name, split, (model, processor) in zip(names, splits, checkpoints):
        evaluation = evaluate(
            model,
            processor or fit_processor(interactions, split),
            interactions,
            split,
            args.subset,
            args.k,
            args.exclude_seen,
            models.recent_days,
            args.eval_batch_size,
            windows=parse_windows(args.windows, split.of(interactions)),
            update_history=models.history == "updated",
            num_rounds=args.num_rounds,
            allow_fewer=args.allow_fewer,
            rivals=args.rivals,
            shuffle_histories=args.shuffle_histories,
            request_time=args.request_time,
        )
        if model is not None:
            evaluation.report["model"] = os.path.basename(os.path.normpath(name))
        evaluations.append(evaluation)
    print(interactions.summary())
    if args.output_dir:
        print(write_evaluation_report(args.output_dir, evaluations))
        print(f"written to {args.output_dir}")
    else:
        print(evaluation_text([evaluation.report for evaluation in evaluations]))


def compare_runs(runs: list[str], args: EvaluationArguments):
    """Prints the differences of runs from the first, user by user, and writes them."""
    tables = [[read_users(folder) for folder in run.split(",")] for run in runs]
    results = compare(*tables, num_rounds=args.num_rounds)
    print(comparison_text(results, runs))
    if args.output_dir:
        os.makedirs(args.output_dir, exist_ok=True)
        path = os.path.join(args.output_dir, "comparison.json")
        with atomic_write(path) as part, open(part, "w", encoding="utf-8") as file:
            json.dump({"runs": runs, "windows": results}, file, indent=1, ensure_ascii=False)
