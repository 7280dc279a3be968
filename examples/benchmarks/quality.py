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

from bert4rec_hf import DataError, run
from bert4rec_hf.bootstrap import interval, resampled_means
from bert4rec_hf.evaluation import MODEL


HERE = Path(__file__).parent
PACKAGES = ("torch", "transformers", "datasets", "bert4rec_hf")
METRICS = ("recall@10", "ndcg@10")  # with one target a user, recall is the hit rate
NO_FEATURES = " --item_features none --user_features none"
KEYWORDS = " --item_features keyword_name --user_features none"
ALL_FEATURES = " --item_features genre_mid country keyword_name --user_features sex age"
INPUT_ONLY = " --head_item_features False"

# Of each table the flags of all rows; of its rows their own, and which other row they are compared with.
SHARED = "--do_eval --exclude_seen --k 10"
TABLES = {
    "ml-1m": (
        SHARED + NO_FEATURES + " --min_events 5 --max_length 200 --train_batch_size 32 --eval_steps 756",
        {
            "masked": ("--epochs 48 --learning_rate 3e-3 --dropout_prob 0.1", None),
            "causal": (
                "--causal --epochs 16 --learning_rate 2e-3 --dropout_prob 0.3 --window random",
                "masked",
            ),
        },
    ),
    "beauty": (
        SHARED + " --max_length 50 --train_batch_size 64 --learning_rate 2e-3 --dropout_prob 0.4 --eval_steps 700",
        {
            "causal": ("--causal --epochs 12" + KEYWORDS, "causal_no_features"),
            "causal_no_features": ("--causal --epochs 12" + NO_FEATURES, None),
            "masked": ("--mlm_probability 0.4 --epochs 16" + KEYWORDS, "masked_no_features"),
            "masked_no_features": ("--mlm_probability 0.4 --epochs 16" + NO_FEATURES, None),
        },
    ),
    "lastfm": (
        SHARED + " --max_length 50 --hidden_size 64 --num_head 2 --dropout_prob 0.3 --train_batch_size 16"
        " --learning_rate 2e-3 --epochs 15 --eval_steps 207 --keyword_max_length 100",
        {
            "causal": ("--causal" + KEYWORDS, "causal_no_features"),
            "causal_input": ("--causal" + KEYWORDS + INPUT_ONLY, "causal_no_features"),
            "causal_no_features": ("--causal" + NO_FEATURES, None),
            "masked": ("--mlm_probability 0.3" + KEYWORDS, "masked_no_features"),
            "masked_no_features": ("--mlm_probability 0.3" + NO_FEATURES, None),
        },
    ),
    "ml-100k": (
        SHARED + NO_FEATURES + " --min_events 5 --max_length 100 --hidden_size 64 --num_head 2 --dropout_prob 0.2"
        " --train_batch_size 16 --learning_rate 2e-3 --epochs 30 --eval_steps 177 --mlm_probability 0.4",
        {
            "masked": ("", None),
            "untied": ("--tie_word_embeddings False", "masked"),
            "mask_0.15": ("--mlm_probability 0.15", "masked"),
            "mask_0.6": ("--mlm_probability 0.6", "masked"),
            "layers_1": ("--num_layers 1", "masked"),
            "layers_4": ("--num_layers 4", "masked"),
            "features_input": (ALL_FEATURES + INPUT_ONLY, "masked"),
            "features": (ALL_FEATURES, "masked"),
        },
    ),
}


def flags_of(table: str, row: str) -> str:
    shared, rows = TABLES[table]
    return f"{shared} {rows[row][0]}".strip()


def finished(folder: Path) -> bool:
    return (folder / "evaluation_users.parquet").exists()


def legs_of(folder: Path, flags: str) -> list[dict]:
    """What a run took until now: one leg, or those between its interruptions."""
    file = Path(f"{folder}.json")
    if not file.exists():
        return []
    record = json.loads(file.read_text())
    if record["flags"] != flags:
        raise DataError(f"{folder} was trained with other flags than this row has now; move it away.")
    return record["legs"]


def train(flags: str, data_dir: str, seed: int, folder: Path):
    """Runs train.py, or what is left of its run; how long that took on how many cores goes to a file beside it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    legs = legs_of(folder, flags)
    where = ["--data_dir", data_dir, "--seed", str(seed), "--save_dir", str(folder), "--resume"]
    start = time.perf_counter()
    try:
        with open(f"{folder}.log", "a", encoding="utf-8") as log:
            command = [sys.executable, str(HERE.parent / "train.py"), *flags.split(), *where]
            if subprocess.run(command, stdout=log, stderr=log).returncode:
                raise DataError(f"{folder}.log says why this run failed.")
    finally:
        leg = {"seconds": round(time.perf_counter() - start), "threads": torch.get_num_threads()}
        leg |= {"date": str(date.today()), "versions": {name: version(name) for name in PACKAGES}}
        Path(f"{folder}.json").write_text(json.dumps({"flags": flags, "legs": [*legs, leg]}))


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
    flags = flags_of(table, row)
    folders = {seed: save_dir / table / f"{row}-{seed}" for seed in seeds}
    values = {seed: users_of(folder) for seed, folder in folders.items() if finished(folder)}
    if not values:
        return None
    config = json.loads((folders[next(iter(values))] / "config.json").read_text(encoding="utf-8"))
    means = np.stack([of_seed.mean(0) for of_seed in values.values()])
    result = {
        "table": table,
        "row": row,
        "flags": flags,
        "seeds": [*values],
        "users": len(values[next(iter(values))]),
        "by_seed": {name: [round(float(mean), 5) for mean in of_metric] for name, of_metric in zip(METRICS, means.T)},
        "results": dict(zip(METRICS, with_interval(np.mean([*values.values()], axis=0)))),
        "legs": [legs_of(folders[seed], flags) for seed in values],
        "sizes": {name: config[name] for name in ("vocab_size", "hidden_size", "num_hidden_layers")},
        "machine": torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} cores",
        "python": platform.python_version(),
    }
    other = TABLES[table][1][row][1]
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
    print("| row | seeds | HR@10 | NDCG@10 | minutes x cores | NDCG@10 over |")
    print("|---|---:|---:|---:|---:|---|")
    for result in results:
        cells = []
        for name in METRICS:
            figure, of_seeds = result["results"][name], result["by_seed"][name]
            if len(of_seeds) > 1:
                spread = f"± {np.std(of_seeds, ddof=1):.4f}"
            else:
                spread = f"({figure['interval'][0]:.4f} to {figure['interval'][1]:.4f})"
            cells.append(f"{figure['mean']:.4f} {spread}")
        lead = ""
        if "against" in result:
            figure = result["against"]["ndcg@10"]
            low, high = figure["interval"]
            share = figure["mean"] / (result["results"]["ndcg@10"]["mean"] - figure["mean"])
            lead = f"{result['against']['row']}: {figure['mean']:+.4f} ({low:+.4f} to {high:+.4f}), {share:+.1%}"
        legs = [leg for legs in result["legs"] for leg in legs]
        minutes = sum(leg["seconds"] * leg["threads"] for leg in legs) / 60 / len(result["seeds"])
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
    rows = args.rows or [*TABLES[args.table][1]]
    if unknown := {*rows} - {*TABLES[args.table][1]}:
        raise DataError(f"{args.table} has no row {sorted(unknown)[0]!r}; it has {', '.join(TABLES[args.table][1])}.")
    for seed in args.seeds:
        for row in rows:
            folder = args.save_dir / args.table / f"{row}-{seed}"
            if not finished(folder):
                print(f"{row}, seed {seed}: see {folder}.log", flush=True)
                train(flags_of(args.table, row), args.data_dir, seed, folder)
    results = [summarize(args.table, row, args.seeds, args.save_dir) for row in rows]
    show(results)
    if args.output_file:
        old = json.loads(args.output_file.read_text(encoding="utf-8")) if args.output_file.exists() else []
        new = {(result["table"], result["row"]) for result in results}
        kept = [result for result in old if (result["table"], result["row"]) not in new]
        lines = ",\n".join(json.dumps(result) for result in kept + results)
        args.output_file.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    run(main)
