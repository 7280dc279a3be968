# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""
Ranks the whole catalogue for the users of a log and prints how good the ranking is, beside popularity.

    python examples/evaluate_model.py --model_dir ./exps/seed1 --data_dir ./data --k 10 25 --output_file metrics.json

Columns, filters and split are those that the checkpoint was trained with, unless flags say otherwise.
"""

import json
from dataclasses import dataclass, field
from typing import Literal

from bert4rec_hf import (
    DataArguments,
    DataError,
    Split,
    check_output_file,
    evaluate,
    load_checkpoint,
    metrics_table,
    parse_arguments,
    read_interactions,
    run,
)


@dataclass
class EvaluationArguments:
    """What is evaluated, and how."""

    model_dir: str = field(metadata={"help": "Folder of the checkpoint, or its id on the Hub."})
    revision: str | None = field(default=None, metadata={"help": "Branch, tag or commit, where it is on the Hub."})
    subset: Literal["validation", "test"] = field(default="test", metadata={"help": "Which rows are the targets."})
    k: list[int] = field(default_factory=lambda: [10, 25], metadata={"help": "Lengths of the lists."})
    exclude_seen: bool = field(default=False, metadata={"help": "Leave out the items of a user's history."})
    recent_days: int = field(default=30, metadata={"help": 'Days of the baseline "popular in the last days".'})
    eval_batch_size: int = field(default=128, metadata={"help": "Users ranked at once."})
    output_file: str | None = field(default=None, metadata={"help": "JSON file for the figures."})


def main():
    args, data_args, split = parse_arguments(
        EvaluationArguments, DataArguments, Split, description=__doc__, checkpoint="model_dir"
    )
    check_output_file(args.output_file)
    model, processor = load_checkpoint(args.model_dir, args.revision)
    if split.split == "none":
        raise DataError(
            f"{args.model_dir} was trained on all rows, none are left to evaluate; give --split to do it all the same."
        )
    if vars(split) != processor.split:
        print(f"note: trained under another split ({Split(**processor.split)}); test rows may have been trained on.")
    interactions = read_interactions(data_args)
    evaluation = evaluate(
        model,
        processor,
        interactions,
        split,
        args.subset,
        args.k,
        args.exclude_seen,
        args.recent_days,
        args.eval_batch_size,
    )
    print(interactions.summary())
    print(
        f"{evaluation['num_users']} users, {evaluation['num_targets']} targets, "
        f"{evaluation['unknown_targets']:.1%} of them outside the vocabulary (misses); split {split}, {args.subset}"
        f"{', without seen items' if args.exclude_seen else ''}"
    )
    print(metrics_table(evaluation))
    if args.output_file:
        with open(args.output_file, "w", encoding="utf-8") as file:
            json.dump(evaluation, file, indent=2, ensure_ascii=False)


if __name__ == "__main__":
    run(main)
