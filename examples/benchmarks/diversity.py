# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""
What more diverse lists cost: recall@10 and NDCG@10 on the test rows of a checkpoint's split, beside the diversity of a
list (1 less the mean cosine of two of its items) and the number of values of a feature in it, for several settings of
`recommend`.

    python examples/benchmarks/diversity.py --model_dir ./exps/ml1m --data_dir ./ml-1m --feature genre_mid
"""

import argparse
import json
from functools import partial
from pathlib import Path

import numpy as np
import torch

from bert4rec_hf import RankingEvaluator, Split, encode_evaluation, load_checkpoint, read_interactions
from bert4rec_hf.data.interactions import DataArguments


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model_dir", required=True)
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--feature", required=True, help="an item feature of the model")
    parser.add_argument("--num_users", type=int, default=2000)
    parser.add_argument("--output_file", help="JSON file for the figures")
    args = parser.parse_args()

    model, processor = load_checkpoint(args.model_dir)
    interactions = read_interactions(DataArguments(args.data_dir).for_checkpoint(processor))
    rows = encode_evaluation(interactions, processor, Split(**processor.split))
    rows = rows.select(np.linspace(0, len(rows) - 1, min(args.num_users, len(rows))).astype(int))
    evaluator = RankingEvaluator(rows, processor, (10,), exclude_seen=True)
    values = model.feature_values(args.feature)
    settings = [{}, *({"diversity": share} for share in (0.1, 0.3, 0.5, 0.7)), {"max_per": {args.feature: 3}}]
    print(f"| setting | recall@10 | NDCG@10 | diversity | values of {args.feature} |\n|---|---|---|---|---|")
    figures = {}
    for kwargs in settings:
        ranked = evaluator.rank(partial(model.recommend, **kwargs))
        metrics = evaluator.metrics(ranked)
        vectors = model.unit_vectors(torch.from_numpy(ranked))
        cosines = (vectors @ vectors.mT).sum((1, 2)) - ranked.shape[1]
        diversity = 1 - (cosines / (ranked.shape[1] * (ranked.shape[1] - 1))).mean().item()
        distinct = np.mean([len({*row.tolist()} - {0}) for row in values[ranked].flatten(1)])
        name = json.dumps(kwargs) if kwargs else "the best items"
        figures[name] = {"recall@10": metrics["recall@10"], "ndcg@10": metrics["ndcg@10"], "diversity": diversity}
        figures[name]["values"] = float(distinct)
        print(f"| {name} | " + " | ".join(f"{value:.4g}" for value in figures[name].values()) + " |", flush=True)
    if args.output_file:
        Path(args.output_file).write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
