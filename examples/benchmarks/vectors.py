# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""
A nearest-neighbour index (usearch, HNSW) over the vectors of a trained model, for a catalogue of a million items: its
recall@10 against the exact search of `recommend`, and the time of both for one user on one thread. The million items
are those of the model, each many times with a little noise; the users are real.

    pip install usearch
    python examples/benchmarks/vectors.py --model_dir ./exps/ml1m --data_dir ./ml-1m
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from usearch.index import Index

from bert4rec_hf import load_checkpoint, read_interactions
from bert4rec_hf.data.interactions import DataArguments
from bert4rec_hf.model.ranking_bert4rec import Projection, stream_top_k
from bert4rec_hf.serving.vectors import item_vectors, user_vectors


K, NUM_USERS, NOISE = 10, 500, 0.1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model_dir", required=True)
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--num_items", type=int, default=1_000_000)
    parser.add_argument("--output_file", help="JSON file for the figures")
    args = parser.parse_args()

    # 1. The vectors: inner products have the order of the recommendations
    model, processor = load_checkpoint(args.model_dir)
    interactions = read_interactions(DataArguments(args.data_dir).for_checkpoint(processor))
    items = np.stack(item_vectors(model, processor).with_format("numpy")["vector"][:])
    users = np.stack(user_vectors(model, processor, interactions).with_format("numpy")["vector"][:NUM_USERS])
    generator = np.random.default_rng(0)
    items = items[generator.integers(len(items), size=args.num_items)]
    items += NOISE * items.std(0) * generator.standard_normal(items.shape, dtype=np.float32)

    # 2. The index. With one more number, by which all items have the same length, the largest inner product is the
    # smallest distance (https://doi.org/10.1145/2645710.2645741): graphs find that far better.
    start = time.perf_counter()
    squares = (items**2).sum(1)
    extended = np.column_stack([items, np.sqrt(squares.max() - squares)])
    index = Index(ndim=extended.shape[1], metric="l2sq", dtype="f32", connectivity=32, expansion_add=128)
    index.add(np.arange(len(extended)), extended)
    queries = np.column_stack([users, np.zeros(len(users), users.dtype)])
    figures = {"items": len(items), "build_s": round(time.perf_counter() - start, 1)}
    print(f"{len(items):,} vectors of {items.shape[1]} numbers indexed in {figures['build_s']:.0f} s")

    # 3. Beside the exact search
    torch.set_num_threads(1)
    weight, bias, states = torch.from_numpy(items[:, :-1].copy()), torch.from_numpy(items[:, -1].copy()), users[:, :-1]
    start = time.perf_counter()
    exact = [stream_top_k(Projection(torch.from_numpy(state)[None], weight, bias), K)[1][0] for state in states]
    exact_ms = 1000 * (time.perf_counter() - start) / len(users)
    print(f"\n| search | recall@{K} | ms a user |\n|---|---|---|\n| exact | 1.000 | {exact_ms:.2f} |")
    for expansion in (64, 256, 1024, 4096):
        index.expansion_search = expansion
        start = time.perf_counter()
        found = [index.search(query, K, threads=1).keys for query in queries]
        milliseconds = 1000 * (time.perf_counter() - start) / len(users)
        recall = np.mean([len(np.intersect1d(a, b)) / K for a, b in zip(found, exact)])
        figures[f"expansion {expansion}"] = {"recall@10": round(float(recall), 4), "ms": round(milliseconds, 3)}
        print(f"| HNSW, {expansion} candidates | {recall:.3f} | {milliseconds:.2f} |", flush=True)
    if args.output_file:
        Path(args.output_file).write_text(json.dumps(figures | {"exact_ms": round(exact_ms, 2)}, indent=2))


if __name__ == "__main__":
    main()
