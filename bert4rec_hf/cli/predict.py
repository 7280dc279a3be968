# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""
Writes a submission: for each profile of a file, in the same order, or for all users of the log, the items recommended
after the whole history.

    bert4rec-hf predict --model_dir ./exps/seed1 --data_dir ./data --output_file submission.csv

Columns and filters are those that the checkpoint was trained with, unless flags override them. Of the tables only the
log and the profiles are read; the items are in the checkpoint.
"""

from dataclasses import dataclass, field

from ..data.interactions import DataArguments, Interactions, read_interactions
from ..errors import DataError
from ..evaluation.evaluator import check_k, write_submission
from ..files import check_output_file
from ..hub.load import load_checkpoint
from ..model.vocabulary_bert4rec import to_seconds
from .arguments import ListArguments, parse_arguments


@dataclass
class ModelArguments:
    """The model."""

    model_dir: str = field(metadata={"help": "Folder of the checkpoint, or its id on the Hub."})
    revision: str | None = field(default=None, metadata={"help": "Branch, tag or commit of a model on the Hub."})


@dataclass
class PredictionArguments(ListArguments):
    """The profiles, their lists and the output file."""

    submission_file: str | None = field(
        default=None,
        metadata={
            "help": "File in data_dir that lists the profiles; default: sample_submission.csv if it is there, all "
            'users of the log otherwise ("none").'
        },
    )
    output_file: str = field(default="submission.csv", metadata={"help": "File to write."})
    k: int = field(default=25, metadata={"help": "Number of items per profile."})
    request_time: str | None = field(
        default=None,
        metadata={"help": "The moment to recommend for, such as 2022-05-01T20:00, for a model that reads times."},
    )
    max_per: list[str] = field(
        default_factory=list,
        metadata={"help": "At most so many items of one value of a feature in a list, as in genre_mid=3."},
    )
    diversity: float = field(
        default=0.0, metadata={"help": "From 0, the best items, to 1, the most different ones; needs pyversity."}
    )

    def __post_init__(self):
        super().__post_init__()
        limits = [part.rpartition("=") for part in self.max_per]
        if not all(name and number.isdecimal() for name, _, number in limits):
            raise DataError(
                f"max_per is {' '.join(self.max_per)}; it must be features and numbers, as in genre_mid=3."
            )
        try:
            self.request_seconds = to_seconds(self.request_time)
        except ValueError as error:
            raise DataError(f"request_time: {error}") from None
        self.limits = {name: int(number) for name, _, number in limits}


def main():
    """The command."""
    model_args, args, data_args = parse_arguments(
        ModelArguments, PredictionArguments, DataArguments, description=__doc__, checkpoint="model_dir"
    )
    check_output_file(args.output_file)
    model, processor = load_checkpoint(model_args.model_dir, model_args.revision)
    check_k([args.k], processor, allow_fewer=args.allow_fewer)
    predict(model, processor, read_interactions(data_args.for_checkpoint(processor)), args)


def predict(model, processor, interactions: Interactions, args: PredictionArguments):
    """Writes the submission, and prints what was read and written."""
    interactions.counts |= write_submission(
        model,
        processor,
        interactions,
        interactions.arguments.submission_path(args.submission_file),
        args.output_file,
        args.k,
        args.exclude_seen,
        args.eval_batch_size,
        args.allow_fewer,
        args.limits,
        args.diversity,
        args.request_seconds,
    )
    print(interactions.summary())
