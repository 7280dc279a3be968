# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""
Statistics of a log, before training on it: activity, repeats, drift of catalogue and preferences, and the share of the
test rows that training cannot know.

    bert4rec-hf analyze --data_dir ./data --split temporal --cutoff 2022-04-01 --output_dir ./reports/data

Prints a report, and writes it to --output_dir as text, JSON and a plot (data.txt, data.json, data.png).
"""

from dataclasses import dataclass, field

from ..data.interactions import DataArguments, read_interactions
from ..data.splits import Split, parse_windows
from ..evaluation.analysis import analyze
from ..evaluation.reports import write_data_report
from ..files import check_report_dir
from .arguments import parse_arguments


@dataclass
class AnalysisArguments:
    """The folder of the report, and the windows of the test rows."""

    output_dir: str = field(metadata={"help": "Folder of the report."})
    windows: str | None = field(
        default=None, metadata={"help": "Windows of a temporal split, from the cut-off on, as in 1M,1M or 14D,14D."}
    )


def main():
    """The command."""
    args, data_args, split = parse_arguments(AnalysisArguments, DataArguments, Split, description=__doc__)
    check_report_dir(args.output_dir)
    interactions = read_interactions(data_args)
    windows = parse_windows(args.windows, split.of(interactions))
    report = analyze(interactions, split, windows)
    print(interactions.summary())
    print(write_data_report(args.output_dir, report))
    print(f"written to {args.output_dir}")
