# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""
Writes a submission: for each profile of a file, in the same order, or for all users of the log, the items recommended
after the whole history.

    python examples/predict.py --model_dir ./exps/seed1 --data_dir ./data --output_file submission.csv

Columns and filters are those that the checkpoint was trained with, unless flags override them. Of the tables only the
log and the profiles are read; the items are in the checkpoint.
"""

from dataclasses import dataclass, field

from bert4rec_hf import DataArguments, load_checkpoint, read_interactions, write_submission
from bert4rec_hf.cli.arguments import parse_arguments, run
from bert4rec_hf.evaluation.evaluator import check_k
from bert4rec_hf.files import check_output_file


@dataclass
class PredictionArguments:
    """The profiles, the model and the output file."""

    model_dir: str = field(metadata={"help": "Folder of the checkpoint, or its id on the Hub."})
    revision: str | None = field(default=None, metadata={"help": "Branch, tag or commit of a model on the Hub."})
    submission_file: str | None = field(
        default=None,
        metadata={
            "help": "File in data_dir that lists the profiles; default: sample_submission.csv if it is there, all "
            'users of the log otherwise ("none").'
        },
    )
    output_file: str = field(default="submission.csv", metadata={"help": "File to write."})
    k: int = field(default=25, metadata={"help": "Number of items per profile."})
    exclude_seen: bool = field(default=False, metadata={"help": "Leave out the items of a profile's history."})
    allow_fewer: bool = field(
        default=False, metadata={"help": "Write shorter lists where there are not k items to recommend."}
    )
    eval_batch_size: int = field(default=128, metadata={"help": "Profiles per batch."})


def main():
    args, data_args = parse_arguments(PredictionArguments, DataArguments, description=__doc__, checkpoint="model_dir")
    check_output_file(args.output_file)
    model, processor = load_checkpoint(args.model_dir, args.revision)
    check_k([args.k], processor, allow_fewer=args.allow_fewer)
    interactions = read_interactions(data_args.for_checkpoint(processor))
    counts = write_submission(
        model,
        processor,
        interactions,
        data_args.submission_path(args.submission_file),
        args.output_file,
        args.k,
        args.exclude_seen,
        args.eval_batch_size,
        args.allow_fewer,
    )
    interactions.counts.update(counts)
    print(interactions.summary())


if __name__ == "__main__":
    run(main)
