# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""
Ranks the whole catalogue for the users of a log and evaluates the lists, compared with simple rules.

    python examples/evaluate_model.py --model_dir ./exps/seed1 --data_dir ./data --k 10 25 --output_dir ./reports/seed1

In consecutive windows after the cut-off, for one model or for several with different cut-offs:

    python examples/evaluate_model.py --model_dir ./exps/march ./exps/april --data_dir ./data --windows 1M,1M,1M

Two runs, user by user:

    python examples/evaluate_model.py --compare ./reports/seed1 ./reports/seed2

Columns, filters and split are those that the checkpoint was trained with, unless flags override them. Without a model,
only the simple rules are evaluated. The output is evaluation.txt, .json and .png, and evaluation_users.parquet with
the figures of each user.
"""

import json
import os
from dataclasses import dataclass, field
from typing import Literal

from bert4rec_hf import (
    DataArguments,
    DataError,
    Split,
    compare,
    evaluate,
    fit_processor,
    load_checkpoint,
    parse_windows,
    read_interactions,
)
from bert4rec_hf.cli.arguments import parse_arguments, run
from bert4rec_hf.evaluation.reports import comparison_text, evaluation_text, read_users, write_evaluation_report
from bert4rec_hf.files import atomic_write, check_report_dir


@dataclass
class EvaluationArguments:
    """The models to evaluate, and the settings."""

    model_dir: list[str] = field(
        default_factory=list, metadata={"help": "Folder or Hub id of one or several checkpoints."}
    )
    revision: str | None = field(default=None, metadata={"help": "Branch, tag or commit of a model on the Hub."})
    subset: Literal["validation", "test"] = field(default="test", metadata={"help": "Which rows are the targets."})
    windows: str | None = field(
        default=None, metadata={"help": "Windows of a temporal split, from the cut-off on, as in 1M,1M or 14D,14D."}
    )
    history: Literal["frozen", "updated"] = field(
        default="frozen", metadata={"help": "End histories at the cut-off (frozen) or before each window (updated)."}
    )
    k: list[int] = field(default_factory=lambda: [10, 25], metadata={"help": "Lengths of the lists."})
    exclude_seen: bool = field(default=False, metadata={"help": "Leave out the items of a user's history."})
    allow_fewer: bool = field(
        default=False, metadata={"help": "Take shorter lists where there are not k items to recommend."}
    )
    recent_days: int = field(default=30, metadata={"help": 'Days of the baseline "popular in the last days".'})
    num_rounds: int = field(default=1000, metadata={"help": "Number of bootstrap samples; 0 for no intervals."})
    eval_batch_size: int = field(default=128, metadata={"help": "Users per batch."})
    compare: list[str] = field(default_factory=list, metadata={"help": "Two folders written with --output_dir."})
    output_dir: str | None = field(default=None, metadata={"help": "Folder of the report."})

    def __post_init__(self):
        if self.compare and (len(self.compare) != 2 or self.model_dir):
            raise DataError("compare takes two folders of reports, and no model.")
        if self.num_rounds < 0 or self.eval_batch_size < 1:
            raise DataError("num_rounds must be at least 0 and eval_batch_size at least 1.")


def main():
    args, data_args, split = parse_arguments(
        EvaluationArguments, DataArguments, Split, description=__doc__, checkpoint="model_dir"
    )
    check_report_dir(args.output_dir)
    if args.compare:
        return compare_runs(args)
    checkpoints = [load_checkpoint(name, args.revision) for name in args.model_dir] or [(None, None)]
    trained = [Split(**processor.split) if processor and processor.split else split for _, processor in checkpoints]
    # Each model uses its own split, unless flags set another one.
    splits = trained if trained[0] == split else [split] * len(trained)
    names = args.model_dir or ["the log"]
    for name, split in zip(names, splits):
        if split.split == "none":
            raise DataError(f"{name}: all rows train, none are left to evaluate; give --split.")
        if splits.count(split) > 1:
            raise DataError(f"{name} has the split of another model; evaluate each apart and use --compare.")
    if args.model_dir:
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
            args.recent_days,
            args.eval_batch_size,
            windows=parse_windows(args.windows, split),
            update_history=args.history == "updated",
            num_rounds=args.num_rounds,
            allow_fewer=args.allow_fewer,
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


def compare_runs(args: EvaluationArguments):
    a, b = args.compare
    results = compare(read_users(a), read_users(b), args.num_rounds)
    print(comparison_text(results, a, b))
    if args.output_dir:
        os.makedirs(args.output_dir, exist_ok=True)
        path = os.path.join(args.output_dir, "comparison.json")
        with atomic_write(path) as part, open(part, "w", encoding="utf-8") as file:
            json.dump({"a": a, "b": b, "windows": results}, file, indent=1, ensure_ascii=False)


if __name__ == "__main__":
    run(main)
