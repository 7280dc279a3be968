# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""
What voting, averaging and distilling give, on models that are trained already:

    python examples/benchmarks/ensembles.py --data_dir ./ml-100k --exps ./exps --exclude_seen

./exps holds seed1 to seed5, which differ in their seed alone, and may hold seed6 to seed10, which differ in more, and
folders that begin with ema and student: moving averages along a run, and students of an ensemble. README.md beside
this file has the commands that train them. A gain is what a row has more than the mean of the five seeds, with its 95%
interval over the same users; the standard deviation is over models. The same ten items: the share of them that the
lists of two models, or of two ensembles without a member in common, share.
"""

import glob
import os
import re
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from bert4rec_hf import (
    Bert4RecEnsembleForMaskedLM,
    DataArguments,
    DataError,
    Split,
    encode_evaluation,
    evaluate,
    load_checkpoint,
    load_ensemble,
    parse_windows,
    read_interactions,
    select_members,
)
from bert4rec_hf.cli.arguments import parse_arguments, run
from bert4rec_hf.evaluation.bootstrap import interval, resampled_means
from bert4rec_hf.evaluation.windows import MODEL


METRICS = ("ndcg@10", "recall@25", "score@25")
VOTINGS = ("probability", "log_probability", "reciprocal_rank")


@dataclass
class EnsemblesArguments:
    """Where the models lie, and how they are looked at."""

    exps: str = field(metadata={"help": "The folder of the models."})
    windows: str | None = field(default=None, metadata={"help": "Windows of a temporal split, as in 1M,1M."})
    exclude_seen: bool = field(default=False, metadata={"help": "Leave out the items of a user's history."})
    eval_batch_size: int = field(default=128, metadata={"help": "Users ranked at once."})
    num_rounds: int = field(default=1000, metadata={"help": "Samples of the bootstrap."})


def main():
    args, data_args, split = parse_arguments(EnsemblesArguments, DataArguments, Split, description=__doc__)
    seeds = [name for name in (os.path.join(args.exps, f"seed{n}") for n in range(1, 11)) if os.path.isdir(name)]
    if len(seeds) < 5:
        raise DataError(f"{args.exps} has not seed1 to seed5; train them by ensemble.py train.")
    pool, processor = load_ensemble(seeds)
    data_args = DataArguments(**{**processor.data, "data_dir": data_args.data_dir})
    split = Split(**processor.split)
    interactions = read_interactions(data_args)

    alike, mixed = range(5), range(5, len(seeds))
    models = {f"alone {n + 1}": pool.subset([n]) for n in range(len(seeds))}
    models["five seeds"] = pool.subset(alike)
    models |= {"seeds 1, 2": pool.subset([0, 1]), "seeds 3, 4": pool.subset([2, 3])}
    if mixed:
        models["five mixed"] = pool.subset(mixed)
        for voting in VOTINGS:
            name = f"all {len(seeds)}, {voting.replace('_', ' ')}"
            models[name] = Bert4RecEnsembleForMaskedLM.from_members(pool.members, processor, voting)
    validation = encode_evaluation(interactions, processor, split, "validation")
    counts, _ = select_members(pool, processor, validation, 10, args.exclude_seen, batch_size=args.eval_batch_size)
    chosen = counts.nonzero()[0]
    print("greedy selection on the validation rows: " + ", ".join(f"seed{n + 1} x{counts[n]}" for n in chosen))
    models["greedy"] = pool.subset(chosen, counts[chosen].astype(float).tolist())
    others = sorted(
        name for kind in ("ema", "student") for name in glob.glob(os.path.join(glob.escape(args.exps), f"{kind}*"))
    )
    models |= {os.path.basename(name): load_checkpoint(name)[0] for name in others}

    evaluation = evaluate(
        models.pop("five seeds"),
        processor,
        interactions,
        split,
        k=[10, 25],
        exclude_seen=args.exclude_seen,
        batch_size=args.eval_batch_size,
        windows=parse_windows(args.windows, split),
        num_rounds=0,
        members=models,
    )
    users = evaluation.users.to_pandas()
    for window in evaluation.report["windows"]:
        of_window = users[users["window"] == window["name"]]
        values = {
            name: rows[list(METRICS)].to_numpy() for name, rows in of_window.groupby("recommender", observed=True)
        }
        values["five seeds"] = values.pop(MODEL)
        report(window, values, list(models), args.num_rounds)


def report(window: dict, values: dict[str, np.ndarray], names: list[str], num_rounds: int):
    def cells(of: np.ndarray, gain: bool = True) -> str:
        text = " | ".join(f"{mean:.4f}" for mean in of.mean(0))
        if not gain:
            return f"{text} | "
        lead = of - single
        low, high = interval(lead.mean(0), resampled_means(lead, num_rounds))
        return f"{text} | {lead.mean(0)[0]:+.4f} ({low[0]:+.4f} to {high[0]:+.4f})"

    alone = [name for name in names if name.startswith("alone")]
    single = np.mean([values[name] for name in alone[:5]], axis=0)
    print(f"\n| {window['name']}, {window['num_users']:,} users | {' | '.join(METRICS)} | gain in {METRICS[0]} |")
    print(f"|---|{'---:|' * len(METRICS)}---|")
    for what, group in (("one of five seeds", alone[:5]), ("one of five mixed", alone[5:])):
        if group:
            means = np.array([values[name].mean(0) for name in group])
            row = " | ".join(f"{mean:.4f} ± {sd:.4f}" for mean, sd in zip(means.mean(0), means.std(0, ddof=1)))
            gain = cells(np.mean([values[name] for name in group], axis=0)).rpartition("| ")[2]
            print(f"| {what}, mean ± sd | {row} | {gain if group == alone[5:] else ''} |")
    best = max(alone, key=lambda name: values[name].mean(0)[0])
    print(f"| the best of them by this very table ({best.split()[1]}) | {cells(values[best])} |")
    shown = ["five seeds", *(name for name in names if not re.match("alone|seeds ", name))]
    for name in shown:
        print(f"| {name} | {cells(values[name])} |")
    for name in ("most popular", "own most frequent", "Markov chain"):
        print(f"| {name} | {cells(values[name], gain=False)} |")
    overlap = window["overlap"]
    pairs = [overlap[a][b]["overlap@10"] for a, b in combinations(alone[:5], 2)]
    stability = {
        "two seeds alone": np.mean(pairs),
        "two pairs of seeds": overlap["seeds 1, 2"]["seeds 3, 4"]["overlap@10"],
    }
    if alone[5:]:
        pairs = [overlap[a][b]["overlap@10"] for a, b in combinations(alone[5:], 2)]
        stability |= {"two of the mixed alone": np.mean(pairs)}
        stability |= {"five seeds and five mixed": overlap[MODEL]["five mixed"]["overlap@10"]}
        pairs = [overlap[a][b]["overlap@10"] for a in alone[:5] for b in alone[5:]]
        stability |= {"a seed and a mixed one alone": np.mean(pairs)}
    print("\nThe same ten items: " + ", ".join(f"{name} {share:.1%}" for name, share in stability.items()))


if __name__ == "__main__":
    run(main)
