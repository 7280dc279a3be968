# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""
How well it recommends, row by row of the tables in README.md: trained by train.py with each seed, ranked once.

    python examples/benchmarks/quality.py --table ml-1m --data_dir ./ml-1m --save_dir ./exps/quality

Leave-one-out, the whole catalogue without the items of the history, the checkpoint chosen on the validation rows. What
is finished is not run again and what was interrupted goes on, so a table can be made bit by bit (`--rows`, `--seeds`).
The row's mean over its seeds and users has a 95% interval over users; its lead over the row it is compared with is of
the same users and seeds. All of it goes to a JSON file (`--output_file`), where rows of other runs stay.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from bert4rec_hf import DataError, as_flags, run
from bert4rec_hf.bootstrap import interval, resampled_means
from bert4rec_hf.evaluation import MODEL


HERE = Path(__file__).parent
METRICS = ("recall@10", "ndcg@10")  # with one target a user, recall is the hit rate
NO_FEATURES = {"item_features": "none", "user_features": "none"}

# Of each table what all rows have, and the rows: what else they have, and which other they are compared with.
TABLES = {}


def finished(folder: Path) -> bool:
    return (folder / "evaluation_users.parquet").exists()


def train(flags: dict, folder: Path) -> float:
    """Seconds of a run, or of what was left of it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, HERE.parent / "train.py", *as_flags(flags), "--save_dir", folder, "--resume"]
    start = time.perf_counter()
    with open(f"{folder}.log", "a", encoding="utf-8") as log:
        if subprocess.run([*map(str, command)], stdout=log, stderr=log).returncode:
            raise DataError(f"{folder}.log says why this run failed.")
    return time.perf_counter() - start


def users_of(folder: Path) -> np.ndarray:
    """The figures of each user, `(num_users, num_metrics)`."""
    table = pq.read_table(folder / "evaluation_users.parquet", columns=["recommender", "user", *METRICS])
    table = table.filter(pc.equal(pc.cast(table["recommender"], "string"), MODEL)).sort_by("user")
    return np.stack([table[name].to_numpy() for name in METRICS], axis=1)


def with_interval(values: np.ndarray) -> list[dict]:
    """Mean and 95% interval of each column of `(num_users, num_metrics)`."""
    means = values.mean(0)
    return [
        {"mean": round(float(mean), 5), "interval": [round(float(low), 5), round(float(high), 5)]}
        for mean, low, high in zip(means, *interval(means, resampled_means(values)))
    ]


def summarize(table: str, row: str, seeds: list[int], save_dir: Path) -> dict | None:
    """A row's figures, of the seeds that are finished."""
    folders = {seed: save_dir / table / f"{row}-{seed}" for seed in seeds}
    values = {seed: users_of(folder) for seed, folder in folders.items() if finished(folder)}
    if not values:
        return None
    config = json.loads((folders[next(iter(values))] / "config.json").read_text(encoding="utf-8"))
    seconds = [json.loads(Path(f"{folders[seed]}.seconds.json").read_text()) for seed in values]
    means = np.stack([of_seed.mean(0) for of_seed in values.values()])
    result = {
        "table": table,
        "row": row,
        "flags": {**TABLES[table]["all"], **TABLES[table]["rows"][row][0]},
        "seeds": [*values],
        "users": len(values[next(iter(values))]),
        "by_seed": {name: [round(float(mean), 5) for mean in of_metric] for name, of_metric in zip(METRICS, means.T)},
        "results": dict(zip(METRICS, with_interval(np.mean([*values.values()], axis=0)))),
        "seconds": seconds,  # of each seed those of its legs, if it was interrupted
        "sizes": {name: config[name] for name in ("vocab_size", "hidden_size", "num_hidden_layers")},
        "machine": torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} cores",
        "versions": {name: version(name) for name in ("torch", "transformers", "datasets", "bert4rec_hf")},
        "python": platform.python_version(),
        "date": str(date.today()),
    }
    other = TABLES[table]["rows"][row][1]
    if other:
        pairs = [
            values[seed] - users_of(save_dir / table / f"{other}-{seed}")
            for seed in values
            if finished(save_dir / table / f"{other}-{seed}")
        ]
        if pairs:
            result["against"] = {"row": other, **dict(zip(METRICS, with_interval(np.mean(pairs, axis=0))))}
    return result


def show(results: list[dict]):
    print("| row | seeds | HR@10 | NDCG@10 | minutes | NDCG@10 over |")
    print("|---|---:|---:|---:|---:|---|")
    for result in results:
        cells = []
        for name in METRICS:
            figure, spread = result["results"][name], np.std(result["by_seed"][name], ddof=1)
            of_users = f" ({figure['interval'][0]:.4f} to {figure['interval'][1]:.4f})"
            cells.append(f"{figure['mean']:.4f}" + (f" ± {spread:.4f}" if len(result["seeds"]) > 1 else of_users))
        lead = ""
        if "against" in result:
            figure = result["against"]["ndcg@10"]
            low, high = figure["interval"]
            share = figure["mean"] / (result["results"]["ndcg@10"]["mean"] - figure["mean"])
            lead = f"{result['against']['row']}: {figure['mean']:+.4f} ({low:+.4f} to {high:+.4f}), {share:+.1%}"
        minutes = np.mean([sum(legs) for legs in result["seconds"]]) / 60
        print(f"| {result['row']} | {len(result['seeds'])} | {' | '.join(cells)} | {minutes:.0f} | {lead} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", required=True, choices=[*TABLES])
    parser.add_argument("--data_dir", required=True, help="The data set as the four tables of train.py.")
    parser.add_argument("--save_dir", required=True, type=Path, help="Folder of the trained models.")
    parser.add_argument("--rows", nargs="+", help="Some of the table's rows.")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--output_file", type=Path, help="JSON of all rows; those of this run are replaced.")
    args = parser.parse_args()
    table = TABLES[args.table]
    if unknown := {*(args.rows or [])} - {*table["rows"]}:
        raise DataError(f"{args.table} has no row {sorted(unknown)[0]!r}; it has {', '.join(table['rows'])}.")
    results = []
    for row in args.rows or table["rows"]:
        flags = {**table["all"], **table["rows"][row][0], "data_dir": args.data_dir}
        for seed in args.seeds:
            folder = args.save_dir / args.table / f"{row}-{seed}"
            if not finished(folder):
                print(f"{row}, seed {seed}: see {folder}.log", flush=True)
                legs = Path(f"{folder}.seconds.json")
                before = json.loads(legs.read_text()) if legs.exists() else []
                legs.write_text(json.dumps([*before, round(train({**flags, "seed": seed}, folder))]))
        results.append(summarize(args.table, row, args.seeds, args.save_dir))
    show(results)
    if args.output_file:
        old = json.loads(args.output_file.read_text(encoding="utf-8")) if args.output_file.exists() else []
        new = {(result["table"], result["row"]) for result in results}
        kept = [result for result in old if (result["table"], result["row"]) not in new]
        args.output_file.write_text(json.dumps(kept + results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    run(main)
