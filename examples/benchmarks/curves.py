# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""
NDCG@10 on the validation rows by minutes of training: ours, RecTools' SASRec and eSASRec, on the same rows, ranked and
scored by the same rules. The minutes are of one core: processor time of all threads, whatever else runs.

    python examples/benchmarks/curves.py ours --data_dir ./ml-1m --save_dir ./exps/curves
    python examples/benchmarks/curves.py sasrec --save_dir ./exps/curves --minutes 60
    python examples/benchmarks/curves.py esasrec --save_dir ./exps/curves --minutes 60
    python examples/benchmarks/curves.py draw --save_dir ./exps/curves --figure_file curves.png

`ours` trains with the flags of the row `causal` of quality.py's table ml-1m, or with those that follow, and leaves the
rows in the folder for the other two. These run in a virtual environment of their own, with torch==2.13.0 and
"rectools[torch]==0.19.0", and with the settings that github.com/blondered/transformer_benchmark found best on
MovieLens-1M: 64 wide, 2 layers, 1 head, dropout 0.1, the last 200 items, 256 negatives, Adam with a rate of 1e-3.
Ranking is not counted as training. `draw` scores what is there, and writes the curves to --output_file, where those of
systems that are not in the folder stay.
"""

import argparse
import json
import time
import warnings
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch


K = 10
PEERS = {"sasrec": "RecTools SASRec, sampled softmax", "esasrec": "RecTools eSASRec"}
LEVEL = 0.16


class Stopwatch:
    """Processor seconds of training, of all threads: running between `start` and `stop`."""

    def __init__(self):
        self.seconds = 0.0

    def start(self):
        self.begun = time.process_time()

    def stop(self) -> float:
        """The minutes until now."""
        self.seconds += time.process_time() - self.begun
        return self.seconds / 60


def save(args: argparse.Namespace, minutes: list[float], **more):
    """What a system has reached until now: its file is replaced at each validation."""
    packages = ("torch", "bert4rec_hf" if args.system == "ours" else "rectools")
    versions = {name: version(name) for name in packages}
    record = {"minutes": minutes, "threads": torch.get_num_threads(), "date": str(date.today()), "versions": versions}
    (args.save_dir / f"{args.system}.json").write_text(json.dumps(record | more))


def train_ours(args: argparse.Namespace, flags: list[str]):
    from quality import flags_of
    from transformers import TrainerCallback, trainer

    from bert4rec_hf import DataError, encode_evaluation, encode_training, fit_processor, read_interactions
    from bert4rec_hf.cli import train

    flags = flags or flags_of("ml-1m", "causal").split()
    flags = [*flags, "--data_dir", args.data_dir, "--save_dir", str(args.save_dir / "ours"), "--overwrite"]
    flags += ["--seed", str(args.seed)]
    data_args, split, *_ = train.parse(flags)
    log = read_interactions(data_args)
    processor = fit_processor(log, split)
    histories = encode_training(log, processor, split)["input_ids"]
    targets = [target for (target,) in encode_evaluation(log, processor, split, "validation")["relevant"]]
    if len(histories) != len(targets):
        raise DataError("some users train and do not validate; this compares on logs where all do.")
    (args.save_dir / "rows.json").write_text(json.dumps({"histories": [*histories], "targets": targets}))
    watch, minutes, ndcg = Stopwatch(), [], []

    class Minutes(TrainerCallback):
        def on_train_begin(self, *_, **kwargs):
            watch.start()

        def on_step_end(self, args, state, control, **kwargs):
            if control.should_evaluate:
                minutes.append(watch.stop())

        on_epoch_end = on_step_end

        def on_evaluate(self, *_, metrics, **kwargs):
            ndcg.append(metrics[f"eval_ndcg@{K}"])
            save(args, minutes, ndcg=ndcg, flags=" ".join(flags))
            watch.start()

    trainer.DEFAULT_CALLBACKS.append(Minutes)
    train.main(flags)


def train_peer(args: argparse.Namespace):
    import pandas as pd
    from pytorch_lightning import Callback, Trainer
    from rectools.dataset import Dataset
    from rectools.models import SASRecModel
    from rectools.models.nn.transformers.ligr import LiGRLayers

    warnings.filterwarnings("ignore")
    torch.manual_seed(args.seed)
    histories = json.loads((args.save_dir / "rows.json").read_text())["histories"]
    users = np.arange(len(histories))
    log = pd.DataFrame({"user_id": users.repeat([*map(len, histories)]), "item_id": np.concatenate(histories)})
    log["datetime"] = pd.to_datetime(log.groupby("user_id").cumcount().to_numpy(), unit="s")
    dataset = Dataset.construct(log.assign(weight=1.0))
    watch, minutes, lists = Stopwatch(), [], []

    class Validation(Callback):
        def on_train_epoch_start(self, *_):
            watch.start()

        def on_train_epoch_end(self, trainer, module):
            minutes.append(watch.stop())
            model.is_fitted = True
            ranked = model.recommend(users=users, dataset=dataset, k=K, filter_viewed=True)
            module.train()
            lists.append(ranked["item_id"].to_numpy().reshape(len(users), K).tolist())  # by user, best first
            save(args, minutes, lists=lists)
            print(f"epoch {len(minutes)}, {minutes[-1]:.1f} minutes", flush=True)
            trainer.should_stop = minutes[-1] >= args.minutes

    def trainer_with_validation() -> Trainer:
        options = {"enable_progress_bar": False, "enable_checkpointing": False, "enable_model_summary": False}
        return Trainer(max_epochs=1000, accelerator="cpu", logger=False, callbacks=[Validation()], **options)

    ligr = {"transformer_layers_type": LiGRLayers, "use_key_padding_mask": True} if args.system == "esasrec" else {}
    model = SASRecModel(
        n_factors=64,
        n_blocks=2,
        n_heads=1,
        dropout_rate=0.1,
        session_max_len=200,
        batch_size=128,
        loss="sampled_softmax",
        n_negatives=256,
        lr=1e-3,
        recommend_batch_size=256,
        get_trainer_func=trainer_with_validation,
        **ligr,
    )
    model.fit(dataset)


def draw(args: argparse.Namespace):
    """Scores the lists, prints the minutes to `LEVEL`, and writes the curves."""
    from matplotlib.figure import Figure

    from bert4rec_hf.metrics.ranking.ranking import ranking_scores

    targets = [[target] for target in json.loads((args.save_dir / "rows.json").read_text())["targets"]]
    is_there = args.output_file and args.output_file.exists()
    curves = json.loads(args.output_file.read_text(encoding="utf-8")) if is_there else {}
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    print(f"| system | minutes of one core | NDCG@{K} then | the most | minutes to {LEVEL:.3f} |")
    print("|---|---:|---:|---:|---:|")
    for system, label in {"ours": "bert4rec_hf", **PEERS}.items():
        file = args.save_dir / f"{system}.json"
        if file.exists():
            curves[label] = json.loads(file.read_text())
            if system in PEERS:
                scores = [ranking_scores(np.array(ranked), targets, [K]) for ranked in curves[label].pop("lists")]
                curves[label]["ndcg"] = [float(of_users[f"ndcg@{K}"].mean()) for of_users in scores]
        if (curve := curves.get(label)) is None:
            continue
        ndcg, minutes = np.array(curve["ndcg"]), np.array(curve["minutes"])
        reached = f"{minutes[np.argmax(ndcg >= LEVEL)]:.1f}" if ndcg.max() >= LEVEL else "not reached"
        print(f"| {label} | {minutes[-1]:.1f} | {ndcg[-1]:.4f} | {ndcg.max():.4f} | {reached} |")
        axes.plot(minutes, ndcg, marker=".", label=label)
    axes.axhline(LEVEL, color="gray", linewidth=0.8, linestyle=":")
    axes.set(xlabel="minutes of training, of one core", ylabel=f"NDCG@{K}, validation rows", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()
    if args.figure_file:
        figure.savefig(args.figure_file, dpi=100)
    if args.output_file:
        args.output_file.write_text(json.dumps(curves, indent=1) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("system", choices=["ours", *PEERS, "draw"])
    parser.add_argument("--save_dir", required=True, type=Path, help="Folder of the rows and of what each reaches.")
    parser.add_argument("--data_dir", help="MovieLens-1M as the tables of train.py, for `ours`.")
    parser.add_argument("--minutes", type=float, default=60.0, help="How long a peer trains.")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output_file", type=Path, help="JSON of the curves.")
    parser.add_argument("--figure_file", type=Path, help="PNG of the curves.")
    args, flags = parser.parse_known_args()
    torch.set_num_threads(args.threads)
    args.save_dir.mkdir(parents=True, exist_ok=True)
    if args.system == "ours":
        train_ours(args, flags)
    elif args.system == "draw":
        draw(args)
    else:
        train_peer(args)


if __name__ == "__main__":
    main()
