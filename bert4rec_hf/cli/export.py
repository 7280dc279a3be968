# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""
Exports a checkpoint to ONNX or OpenVINO, or its vectors to Parquet.

    bert4rec-hf export --model_dir ./exps/seed1 --format onnx
    python exps/seed1/onnx/recommend.py '{"history": [491, 920]}' --k 5

The folder holds the graph, from histories of any number and length to the log-probabilities of all items, the
vocabulary, and recommend.py, which needs numpy and onnxruntime (or openvino) only. `push` takes the folder along.
"""

import os
from dataclasses import dataclass, field
from typing import Literal

from ..data.encoding import encode_evaluation
from ..data.interactions import DataArguments, read_interactions
from ..data.splits import Split
from ..errors import DataError
from ..evaluation.evaluator import RankingEvaluator
from ..files import atomic_write, check_report_dir
from ..hub.load import load_checkpoint
from ..serving.export import INT8, METRIC, TOLERANCE, export_model
from ..serving.recommend import GRAPHS
from ..serving.vectors import item_vectors, user_vectors
from .arguments import parse_arguments
from .predict import ModelArguments


@dataclass
class ExportArguments:
    """The files to write."""

    format: Literal["onnx", "openvino", "parquet"] = field(
        default="onnx", metadata={"help": "A graph for ONNX Runtime or OpenVINO, or item vectors as Parquet."}
    )
    output_dir: str | None = field(
        default=None,
        metadata={"help": "Folder to write to; by default onnx, openvino or parquet, in the checkpoint's folder."},
    )
    k: int | None = field(
        default=None, metadata={"help": "The graph returns the k best items instead of all log-probabilities."}
    )
    exclude_seen: bool = field(default=False, metadata={"help": "The graph leaves out the items of a history."})
    int8: bool = field(
        default=False,
        metadata={
            "help": "Quantize an ONNX model too, and keep it if its NDCG@10 on the validation rows of the log is "
            "within 1%."
        },
    )
    user_vectors: bool = field(default=False, metadata={"help": "Write the vectors of the users of the log too."})
    eval_batch_size: int = field(default=128, metadata={"help": "Users per batch."})

    def __post_init__(self):
        if self.eval_batch_size < 1:
            raise DataError("eval_batch_size must be at least 1.")
        if self.format == "parquet" and (self.k is not None or self.exclude_seen or self.int8):
            raise DataError("k, exclude_seen and int8 are for the formats onnx and openvino.")
        if self.user_vectors and self.format != "parquet":
            raise DataError("user_vectors needs --format parquet.")


def main():
    """The command."""
    model_args, args, data_args, split = parse_arguments(
        ModelArguments, ExportArguments, DataArguments, Split, description=__doc__, checkpoint="model_dir"
    )
    parent = model_args.model_dir if os.path.isdir(model_args.model_dir) else "."
    output_dir = args.output_dir or os.path.join(parent, args.format)
    check_report_dir(output_dir)
    model, processor = load_checkpoint(model_args.model_dir, model_args.revision)
    interactions = None
    if args.int8 or args.user_vectors:
        interactions = read_interactions(data_args.for_checkpoint(processor))
    if args.format == "parquet":
        tables = {"items.parquet": item_vectors(model, processor)}
        if interactions is not None:
            tables["users.parquet"] = user_vectors(model, processor, interactions, args.eval_batch_size)
        with atomic_write(output_dir) as part:
            os.makedirs(part)
            for name, table in tables.items():
                table.to_parquet(os.path.join(part, name))
    else:
        evaluator = None
        if interactions is not None:
            rows = encode_evaluation(interactions, processor, split, "validation")
            evaluator = RankingEvaluator(rows, processor, (10,), batch_size=args.eval_batch_size, allow_fewer=True)
        ndcg = export_model(model, processor, output_dir, args.format, args.k, args.exclude_seen, evaluator)
        print(f"{GRAPHS[args.format]}: written")
        if ndcg:
            change = ndcg["int8"] / ndcg["float32"] - 1 if ndcg["float32"] else 0.0
            is_written = os.path.exists(os.path.join(output_dir, INT8))
            verdict = "written" if is_written else f"not written, it loses more than {TOLERANCE:.0%}"
            print(
                f"{INT8}: {verdict}; {METRIC} in validation {ndcg['int8']:.4f}, of float32 {ndcg['float32']:.4f} "
                f"({change:+.2%})"
            )
    print(f"exported to {output_dir}")
