# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""
How well it recommends, row by row of the tables in README.md: trained by train.py with each seed, ranked once.

    python examples/benchmarks/quality.py --table ml-1m --data_dir ./ml-1m --save_dir ./exps/quality

The whole catalogue is ranked, the checkpoint is chosen on the validation rows. What is finished is not run again and
what was interrupted goes on, so a table can be made bit by bit (`--rows`, `--seeds`). The row's mean over its seeds
and users has a 95% interval over users; its lead over the rows, and over the simple rules, that it is compared with is
of the same users and seeds. All of it goes to a JSON file (`--output_file`), where rows of other runs stay, and each
user's figures to a folder beside it: a run that is there is not trained again, on another machine either.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import torch

from bert4rec_hf import DataError
from bert4rec_hf.cli.arguments import run
from bert4rec_hf.evaluation.bootstrap import interval, resampled_means
from bert4rec_hf.evaluation.windows import MODEL


HERE = Path(__file__).parent
PACKAGES = ("torch", "transformers", "datasets", "bert4rec_hf")
NO_FEATURES = " --item_features none --user_features none"
ALL_FEATURES = " --item_features genre_mid country keyword_name --user_features sex age"
# A model of model2vec: that of the wheel of wordllama 0.4, see README.md.
TEXT = " --text_model ./wordllama"
INPUT_ONLY = " --head_item_features False"
# A row whose flags begin so has no models but those of the row that is named, which vote.
VOTE = "the seeds vote of "
# A row that is compared with another so is compared on the users that have a row in the table of profiles.
PROFILED = ", users with a profile"
AHEAD = (
    "--hidden_size 16 --num_head 2 --max_length 300 --mlm_probability 0.8 --last_item_probability 0.5 --last_items 100"
    " --window random --dropout_prob 0.3 --learning_rate 2e-3 --weight_decay 0.1 --epochs 20 --eval_steps 152"
)
ORIGINAL = (
    "--hidden_size 64 --num_head 2 --max_length 128 --mlm_probability 0.6 --last_item_probability 0 --norm_first False"
    " --position_embedding_type absolute --head_transform True --head_item_features False --learning_rate 1e-3"
    " --epochs 40 --eval_steps 152"
)

CHILDREN = (
    "--hidden_size 64 --num_head 2 --max_length 128 --mlm_probability 0.8 --last_item_probability 0.2 --last_items 50"
    " --window random --dropout_prob 0.3 --learning_rate 2e-3 --weight_decay 0.1 --epochs 40 --eval_steps 300"
)


def months_ahead(ours: str, cutoff: str, windows: str, rows: dict) -> tuple[str, dict]:
    """Ours, without what makes it ours, the original's recipe, and `rows`, by what they add to ours."""
    with_prior = f"{ours} --repeat_prior"
    shared = f"--do_eval --k 25 --split temporal --validation_days 28 --windows {windows} --cutoff {cutoff}"
    return shared, {
        "repeat_prior": (with_prior, "original_votes"),
        "repeat_prior_votes": (f"{VOTE}repeat_prior --k 25 --windows {windows}", "original_votes"),
        "no_prior": (ours, "repeat_prior"),
        "no_profiles": (f"{with_prior} --user_features none", "repeat_prior"),
        **{row: (f"{with_prior} {flags}", other) for row, (flags, other) in rows.items()},
        "original": (ORIGINAL, None),
        "original_votes": (f"{VOTE}original --k 25 --windows {windows}", None),
    }


# What the original's authors said that they had learnt.
LESSONS = {
    "masked": ("", None),
    "untied": ("--tie_word_embeddings False", "masked"),
    "mask_0.15": ("--mlm_probability 0.15", "masked"),
    "mask_0.6": ("--mlm_probability 0.6", "masked"),
    "layers_1": ("--num_layers 1", "masked"),
    "layers_4": ("--num_layers 4", "masked"),
}
OWN = "own most frequent"
RULES = ("most popular", "popular in the last 30 days", OWN, f"{OWN}, then popular", "Markov chain")
# Of the rows of months ahead those in the picture.
DRAWN = ("repeat_prior", "further", "no_prior", "original_votes")

# Of each table the flags of all rows; of its rows their own, and which other row they are compared with.
SHARED = "--do_eval --exclude_seen --k 10"
AUTO = "--auto --do_eval --k 10"
TABLES = {
    "ml-1m": (
        f"{AUTO} --min_events 5",
        {
            "causal": (NO_FEATURES, None),
            "features": ("", "causal"),
            "features_vote": (f"{VOTE}features --k 10 --exclude_seen", "features"),
            "masked": (f"--causal False{NO_FEATURES}", "causal"),
            "times": (f"--time_intervals input --request_time{NO_FEATURES}", "causal"),
            "features_8_epochs": ("--epochs 8", None),
            "text_8_epochs": (f"--epochs 8 --text_features title genre_mid keyword_name{TEXT}", "features_8_epochs"),
        },
    ),
    "ml-1m-time": (
        f"{AUTO} --split temporal --cutoff q0.9 --targets last --validation_days 25{NO_FEATURES} --rivals",
        {"causal": ("", None), "masked": ("--causal False", "causal")},
    ),
    "beauty": (
        f"{AUTO} --user_features none",
        {
            "causal": ("--item_features keyword_name", "causal_no_features"),
            "causal_no_features": ("--item_features none", None),
            "masked": ("--causal False --item_features keyword_name", "causal"),
            "text": (f"--item_features keyword_name --text_features keyword_name{TEXT}", "causal"),
        },
    ),
    "lastfm": (
        f"{AUTO} --user_features none",
        {
            "causal": ("--item_features keyword_name", "causal_no_features"),
            "causal_no_features": ("--item_features none", None),
        },
    ),
    "ml-100k": (
        SHARED + NO_FEATURES + " --min_events 5 --max_length 100 --hidden_size 64 --num_head 2 --dropout_prob 0.2"
        " --train_batch_size 16 --learning_rate 2e-3 --epochs 30 --eval_steps 177 --mlm_probability 0.4",
        LESSONS
        | {
            "features_input": (ALL_FEATURES + INPUT_ONLY, "masked"),
            "features": (ALL_FEATURES, "masked"),
            # With the ages of u.user in the table of profiles, not bands of them
            "age": (ALL_FEATURES, None),
            "age_as_number": (f"{ALL_FEATURES} --number_features age", "age"),
            "repeat_prior": ("--repeat_prior", "masked"),
        },
    ),
    "beauty-lessons": (
        SHARED + NO_FEATURES + " --max_length 50 --hidden_size 64 --num_head 2 --dropout_prob 0.2"
        " --train_batch_size 64 --learning_rate 2e-3 --epochs 16 --eval_steps 1400 --mlm_probability 0.4",
        LESSONS,
    ),
    **{
        f"journey-{day}": months_ahead(
            AHEAD,
            day,
            "1M,1M,1M,1M",
            {"profiles": ("--user_features age income home size kids_count", "no_profiles" + PROFILED)},
        )
        for day in ("2017-04-01", "2017-05-01")
    },
    "children": months_ahead(
        CHILDREN, "2022-05-01", "1M,1M,1M", {"further": ("--mlm_probability 0.9", "original_votes")}
    ),
}


def flags_of(table: str, row: str) -> str:
    shared, rows = TABLES[table]
    return rows[row][0] if rows[row][0].startswith(VOTE) else f"{shared} {rows[row][0]}".strip()


def runs_of(table: str, row: str, seeds: list[int]) -> list[int]:
    """Whose folders a row has: a seed's each, or one, 0, where all seeds vote."""
    return [0] if flags_of(table, row).startswith(VOTE) else seeds


def metrics_of(table: str) -> tuple[str, ...]:
    # With one target a user, recall is the hit rate.
    return ("score@25", "ndcg@25") if "--windows" in TABLES[table][0] else ("recall@10", "ndcg@10")


@dataclass
class Runs:
    """The runs of a table: the folders of what is trained, and beside the output file what is kept of each."""

    table: str
    save_dir: Path
    output_file: Path | None

    def folder(self, row: str, seed: int) -> Path:
        return self.save_dir / self.table / f"{row}-{seed}"

    def kept(self, row: str, seed: int) -> Path:
        folder = self.save_dir if self.output_file is None else self.output_file.with_suffix("")
        return folder / f"{self.table}-{row}-{seed}.parquet"

    def is_here(self, row: str, seed: int) -> bool:
        return (self.folder(row, seed) / "evaluation_users.parquet").exists()

    def finished(self, row: str, seed: int) -> bool:
        return self.is_here(row, seed) or self.kept(row, seed).exists()

    def keep(self, row: str, seed: int):
        """Keeps the users' figures, without their ids, with what the run was and took."""
        if not self.is_here(row, seed) or self.kept(row, seed).exists():
            return
        folder, flags = self.folder(row, seed), flags_of(self.table, row)
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config = config.get("members", [config])[0]
        run = {
            "flags": flags,
            "legs": legs_of(folder, flags),
            "sizes": {name: config.get(name) for name in ("vocab_size", "hidden_size", "num_hidden_layers")},
            "machine": torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} cores",
            "python": platform.python_version(),
        }
        tables = []
        for recommender in (MODEL, *(RULES if "--windows" in flags else ())):
            users = self.users(row, seed, recommender)
            columns = {"window": [name for name, of in users.items() for _ in of]}
            columns["recommender"] = [recommender] * len(columns["window"])
            values = np.concatenate([*users.values()]).astype(np.float32)
            tables.append(pa.table(columns | dict(zip(metrics_of(self.table), values.T))))
        file = self.kept(row, seed)
        file.parent.mkdir(parents=True, exist_ok=True)
        table = pa.concat_tables(tables).replace_schema_metadata({"run": json.dumps(run)})
        pq.write_table(table, file, compression="zstd")

    def run(self, row: str, seed: int) -> dict:
        """What a finished run was and took."""
        file = self.kept(row, seed)
        run = json.loads(pq.read_schema(file).metadata[b"run"])
        if run["flags"] != flags_of(self.table, row):
            raise DataError(f"{file} was trained with other flags than this row has now; move it away.")
        return run

    def users(
        self, row: str, seed: int, recommender: str = MODEL, only: pa.ChunkedArray | None = None
    ) -> dict[str, np.ndarray]:
        """Of each window the figures of each user, or only of some, `(num_users, num_metrics)`."""
        metrics, folder = metrics_of(self.table), self.folder(row, seed)
        if self.is_here(row, seed):
            columns = ["recommender", "window", "user", *metrics]
            users = pq.read_table(folder / "evaluation_users.parquet", columns=columns).sort_by("user")
            if only is not None:
                users = users.filter(pc.is_in(pc.cast(users["user"], "string"), pc.cast(only, "string")))
        elif only is None:
            users = pq.read_table(self.kept(row, seed))
        else:
            raise DataError(f"{folder} is needed: what is kept of it is without the users' ids.")
        users = users.filter(pc.equal(pc.cast(users["recommender"], "string"), recommender))
        names = np.array(pc.cast(users["window"], "string").to_pylist())
        values = np.stack([users[metric].to_numpy() for metric in metrics], axis=1).astype(np.float64)
        return {str(name): values[names == name] for name in np.unique(names)}


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
    if flags.startswith(VOTE):
        row, *rest = flags.removeprefix(VOTE).split()
        voters = sorted(folder.parent.glob(f"{row}-[0-9]*/evaluation.json"))
        if not voters:
            raise DataError(f"{folder}: there is no {row}-SEED beside it to vote; what is kept of a run is no model.")
        command = ["ensemble.py", "evaluate", "--model_dirs", *(str(file.parent) for file in voters)]
        command += [*rest, "--data_dir", data_dir, "--save_dir", str(folder)]
    else:
        command = ["train.py", *flags.split(), "--data_dir", data_dir, "--seed", str(seed)]
        command += ["--save_dir", str(folder), "--resume"]
    command = [sys.executable, str(HERE.parent / command[0]), *command[1:]]
    start = time.perf_counter()
    try:
        with open(f"{folder}.log", "a", encoding="utf-8") as log:
            if subprocess.run(command, stdout=log, stderr=log).returncode:
                raise DataError(f"{folder}.log says why this run failed.")
    finally:
        leg = {"seconds": round(time.perf_counter() - start), "threads": torch.get_num_threads()}
        leg |= {"date": str(date.today()), "versions": {name: version(name) for name in PACKAGES}}
        Path(f"{folder}.json").write_text(json.dumps({"flags": flags, "legs": [*legs, leg]}))


def with_intervals(values: list[dict[str, np.ndarray]], table: str) -> dict[str, dict]:
    """Of each window the mean and the 95% interval of each metric, of the users' means over the seeds."""
    results = {}
    for window in values[0]:
        of_users = np.mean([of_seed[window] for of_seed in values], axis=0)
        means = of_users.mean(0)
        intervals = zip(*interval(means, resampled_means(of_users)))
        results[window] = {
            metric: {"mean": round(float(mean), 5), "interval": [round(float(low), 5), round(float(high), 5)]}
            for metric, mean, (low, high) in zip(metrics_of(table), means, intervals)
        }
    return results


def summarize(runs: Runs, row: str, seeds: list[int], data_dir: str) -> dict | None:
    """A row's figures, of the seeds that are finished."""
    table = runs.table
    values = {seed: runs.users(row, seed) for seed in runs_of(table, row, seeds) if runs.finished(row, seed)}
    if not values:
        return None
    records = [runs.run(row, seed) for seed in values]
    windows = values[next(iter(values))]
    result = {
        "table": table,
        "row": row,
        "flags": flags_of(table, row),
        "seeds": [*values],
        "users": {window: len(of_users) for window, of_users in windows.items()},
        "by_seed": {
            window: {
                metric: [round(float(of_seed[window][:, n].mean()), 5) for of_seed in values.values()]
                for n, metric in enumerate(metrics_of(table))
            }
            for window in windows
        },
        "results": with_intervals([*values.values()], table),
        "legs": [record["legs"] for record in records],
        **{name: records[-1][name] for name in ("sizes", "machine", "python")},
        "against": {},
    }
    others = {rule: (row, rule, None) for rule in RULES if len(windows) > 1}  # where the simple rules are hard to beat
    if other := TABLES[table][1][row][1]:
        only = None
        if other.endswith(PROFILED):
            only = pa.csv.read_csv(Path(data_dir) / "profile_data.csv")["profile_id"]
        others = {other: (other.removesuffix(PROFILED), MODEL, only), **others}
    for name, (other, recommender, only) in others.items():
        leads = []
        for seed, ours in values.items():
            their_seed = runs_of(table, other, [seed])[0]
            is_enough = runs.is_here if only is not None else runs.finished
            if is_enough(row, seed) and is_enough(other, their_seed):
                ours = ours if only is None else runs.users(row, seed, only=only)
                theirs = runs.users(other, their_seed, recommender, only)
                leads.append({window: ours[window] - theirs[window] for window in windows})
        if leads:
            result["against"][name] = with_intervals(leads, table)
    return result


def show(table: str, results: list[dict]):
    first, second = metrics_of(table)
    for window in results[0]["results"]:
        print(f"\n{table}, {window}, {results[0]['users'][window]:,} users\n")
        print(f"| row | seeds | {first} | {second} | minutes x cores | {second if window == 'test' else first} over |")
        print("|---|---:|---:|---:|---:|---|")
        for result in results:
            cells = []
            for metric, of_seeds in result["by_seed"][window].items():
                figure = result["results"][window][metric]
                if len(of_seeds) > 1:
                    spread = f"± {np.std(of_seeds, ddof=1):.4f}"
                else:
                    spread = f"({figure['interval'][0]:.4f} to {figure['interval'][1]:.4f})"
                cells.append(f"{figure['mean']:.4f} {spread}")
            leads = []
            for name, lead in result["against"].items():
                metric = second if window == "test" else first
                figure = lead[window][metric]
                low, high = figure["interval"]
                leads.append(f"{name}: {figure['mean']:+.4f} ({low:+.4f} to {high:+.4f})")
                if not name.endswith(PROFILED):  # the mean is of all users
                    theirs = result["results"][window][metric]["mean"] - figure["mean"]
                    leads[-1] += f", {figure['mean'] / theirs:+.1%}"
            minutes = sum(leg["seconds"] * leg["threads"] for legs in result["legs"] for leg in legs) / 60
            minutes = f"{minutes / len(result['seeds']):.0f}"
            print(
                f"| {result['row']} | {len(result['seeds'])} | {' | '.join(cells)} | {minutes} | {'; '.join(leads)} |"
            )


def draw(results: list[dict], file: Path):
    """Of each table of months ahead a panel: `DRAWN` and the rules by month, with intervals over users."""
    from matplotlib.figure import Figure

    results = [result for result in results if result["row"] in DRAWN and len(result["results"]) > 1]
    tables = [table for table in TABLES if any(result["table"] == table for result in results)]
    figure = Figure(figsize=(5 * len(tables), 5), layout="constrained")
    colors = {name: f"C{n}" for n, name in enumerate([*DRAWN, *RULES])}
    lines = {}
    for axes, table in zip(figure.subplots(1, len(tables), squeeze=False)[0], tables):
        metric = metrics_of(table)[0]
        rows = [result for result in results if result["table"] == table]
        for result in rows:
            figures = [of[metric] for of in result["results"].values()]
            means = np.array([of["mean"] for of in figures])
            ends = np.abs(np.array([of["interval"] for of in figures]).T - means)
            style = {"color": colors[result["row"]], "marker": "o", "ms": 4, "capsize": 3}
            lines[result["row"]] = axes.errorbar(range(1, len(means) + 1), means, yerr=ends, **style)
        months, against = rows[0]["results"], rows[0]["against"]
        for rule in RULES:  # what is left of a row's score without its lead
            means = [of[metric]["mean"] - against[rule][month][metric]["mean"] for month, of in months.items()]
            style = {"color": colors[rule], "linestyle": "--", "marker": "."}
            lines[rule] = axes.plot(range(1, len(means) + 1), means, **style)[0]
        axes.set(title=table, xlabel="months after training", ylabel=metric, ylim=(0, None))
        axes.set_xticks(range(1, len(means) + 1))
        axes.grid(alpha=0.3)
    figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=5)
    figure.savefig(file, dpi=80)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", required=True, choices=[*TABLES])
    parser.add_argument("--data_dir", required=True, help="The data set as the four tables of train.py.")
    parser.add_argument("--save_dir", required=True, type=Path, help="Folder of the trained models.")
    parser.add_argument("--rows", nargs="+", help="Some of the table's rows.")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--output_file", type=Path, help="JSON of all rows; those of this run are replaced.")
    parser.add_argument("--figure_file", type=Path, help="PNG of the months ahead, also of --output_file's tables.")
    args = parser.parse_args()
    rows = args.rows or [*TABLES[args.table][1]]
    if unknown := {*rows} - {*TABLES[args.table][1]}:
        raise DataError(f"{args.table} has no row {sorted(unknown)[0]!r}; it has {', '.join(TABLES[args.table][1])}.")
    runs = Runs(args.table, args.save_dir, args.output_file)
    # Seed by seed, so that what is there early are whole tables; votes when all who vote are there.
    for seed in [*args.seeds, 0]:
        for row in rows:
            if seed in runs_of(args.table, row, args.seeds):
                if not runs.finished(row, seed):
                    print(f"{row}, seed {seed}: see {runs.folder(row, seed)}.log", flush=True)
                    train(flags_of(args.table, row), args.data_dir, seed, runs.folder(row, seed))
                runs.keep(row, seed)
    results = [summarize(runs, row, args.seeds, args.data_dir) for row in rows]
    show(args.table, results)
    file = args.output_file
    old = json.loads(file.read_text(encoding="utf-8")) if file and file.exists() else []
    new = {(result["table"], result["row"]) for result in results}
    results = [result for result in old if (result["table"], result["row"]) not in new] + results
    if file:
        lines = ",\n".join(json.dumps(result) for result in results)
        file.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    if args.figure_file:
        draw(results, args.figure_file)


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    run(main)
