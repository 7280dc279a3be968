# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""
How long the BERT4Rec of another library takes on the same log, on a CPU in fp32: one pass of training over the users'
sequences without their last event, then the 10 best unseen items of the whole catalogue for every user; and the
largest memory of the process.

    python examples/benchmarks/peers.py replay --data_dir ./data

It imports nothing of bert4rec_hf and runs in a virtual environment of each library's own. Install `torch==2.13.0` (the
CPU build) in each, then

    replay          "replay-rec[torch]==0.22.0"
    recbole         recbole==1.2.1 "setuptools<80" "numpy<2" "pandas<2.3" "scipy<1.14"
    rectools        "rectools[torch]==0.19.0"
    transformers    transformers==5.23.0 pandas

Sizes, mask probability and batch are those of the flags; dropout is 0.2, the default of recbole and rectools, and 0.1
in transformers. `transformers` is what its documentation suggests, BertForMaskedLM with all logits, and ranks nothing.
recbole's and transformers' pass is extrapolated from some batches. The last line printed is JSON.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from importlib.metadata import version
from itertools import islice

import pandas as pd
import torch


K = 10
LEARNING_RATE = 1e-3
RANK_BATCH_SIZE = 256


def read_log(args: argparse.Namespace) -> pd.DataFrame:
    """
    The log as columns `user` (from 0), `item` (from 1), `place` in the user's sequence and `is_last`. Users have three
    events at least: two to train and the last one.
    """
    columns = ["profile_id", "album_id", "log_time"]
    log = pd.read_csv(os.path.join(args.data_dir, "history_data.csv"), usecols=columns)
    log = log.sort_values(["profile_id", "log_time"], kind="stable")
    log = log[log.groupby("profile_id")["album_id"].transform("size") >= 3]
    log = log[log["profile_id"].isin(log["profile_id"].unique()[: args.num_users])]
    codes = {"user": log["profile_id"].factorize()[0], "item": log["album_id"].factorize(sort=True)[0] + 1}
    log = pd.DataFrame(codes)
    return log.assign(place=log.groupby("user").cumcount(), is_last=~log["user"].duplicated(keep="last"))


class EpochTimer:
    """Seconds of the epochs, as a callback of either name that Lightning goes by."""

    seconds = []  # the class's: RecTools trains with a copy of the callback

    def on_train_epoch_start(self, *_):
        self.start = time.perf_counter()

    def on_train_epoch_end(self, *_):
        self.seconds.append(time.perf_counter() - self.start)


def seconds_of(function: Callable, *args, **kwargs) -> float:
    start = time.perf_counter()
    function(*args, **kwargs)
    return time.perf_counter() - start


def seconds_a_pass(train_step: Callable[..., int], batches: Iterable, max_batches: int, num_users: int) -> float:
    """Seconds for `num_users` sequences, from those that `train_step` counts in `max_batches` after two to warm up."""
    batches = iter(batches)
    for batch in islice(batches, 2):
        train_step(batch)
    start = time.perf_counter()
    num_sequences = sum(map(train_step, islice(batches, max_batches)))
    return num_users * (time.perf_counter() - start) / num_sequences


def run_replay(log: pd.DataFrame, args: argparse.Namespace) -> tuple[float, float]:
    import lightning
    from replay.data import Dataset, FeatureHint, FeatureInfo, FeatureSchema, FeatureSource, FeatureType
    from replay.data.nn import SequenceTokenizer, TensorFeatureInfo, TensorFeatureSource, TensorSchema
    from replay.models.nn.optimizer_utils import FatOptimizerFactory
    from replay.models.nn.sequential import Bert4Rec
    from replay.models.nn.sequential.bert4rec import Bert4RecPredictionDataset, Bert4RecTrainingDataset
    from replay.models.nn.sequential.callbacks import TorchPredictionCallback
    from replay.models.nn.sequential.postprocessors import RemoveSeenItems
    from torch.utils.data import DataLoader

    class Timer(EpochTimer, lightning.Callback):
        pass

    # 1. The data, in its own types
    features = [
        FeatureInfo("user", FeatureType.CATEGORICAL, FeatureHint.QUERY_ID),
        FeatureInfo("item", FeatureType.CATEGORICAL, FeatureHint.ITEM_ID),
        FeatureInfo("place", FeatureType.NUMERICAL, FeatureHint.TIMESTAMP),
    ]
    train = log.loc[~log["is_last"], ["user", "item", "place"]]
    items = TensorFeatureInfo(
        name="item_sequence",
        feature_type=FeatureType.CATEGORICAL,
        is_seq=True,
        feature_hint=FeatureHint.ITEM_ID,
        feature_sources=[TensorFeatureSource(FeatureSource.INTERACTIONS, "item")],
        embedding_dim=args.hidden_size,
    )
    schema = TensorSchema(items)
    tokenizer = SequenceTokenizer(schema, allow_collect_to_master=True)
    sequences = tokenizer.fit_transform(Dataset(FeatureSchema(features), train))

    # 2. Train
    model = Bert4Rec(
        schema,
        block_count=args.num_layers,
        head_count=args.num_head,
        hidden_size=args.hidden_size,
        max_seq_len=args.max_length,
        dropout_rate=0.2,
        enable_embedding_tying=True,
        optimizer_factory=FatOptimizerFactory(learning_rate=LEARNING_RATE),
    )
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    quiet |= {"accelerator": "cpu", "enable_checkpointing": False}
    timer = Timer()
    dataset = Bert4RecTrainingDataset(sequences, args.max_length, mask_prob=args.mlm_probability)
    trainer = lightning.Trainer(max_epochs=args.epochs, callbacks=[timer], **quiet)
    trainer.fit(model, DataLoader(dataset, batch_size=args.batch_size, shuffle=True))

    # 3. Rank
    top_items = TorchPredictionCallback(top_k=K, postprocessors=[RemoveSeenItems(sequences)])
    trainer = lightning.Trainer(callbacks=[top_items], inference_mode=True, **quiet)
    loader = DataLoader(Bert4RecPredictionDataset(sequences, args.max_length), batch_size=RANK_BATCH_SIZE)
    rank_seconds = seconds_of(trainer.predict, model, loader, return_predictions=False)
    return min(timer.seconds), rank_seconds


def run_recbole(log: pd.DataFrame, args: argparse.Namespace) -> tuple[float, float]:
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_seed

    # 1. The data, in its own files; it leaves out the last events itself, and writes its logs where it is started
    folder = tempfile.TemporaryDirectory()
    os.chdir(folder.name)
    os.mkdir("log_data")
    columns = {"user": "user_id:token", "item": "item_id:token", "place": "timestamp:float"}
    log.rename(columns=columns)[list(columns.values())].to_csv("log_data/log_data.inter", sep="\t", index=False)
    settings = {
        "data_path": ".",
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "MAX_ITEM_LIST_LENGTH": args.max_length,
        "hidden_size": args.hidden_size,
        "inner_size": 4 * args.hidden_size,
        "n_layers": args.num_layers,
        "n_heads": args.num_head,
        "mask_ratio": args.mlm_probability,
        "train_batch_size": args.batch_size,
        "eval_batch_size": RANK_BATCH_SIZE,
        "train_neg_sample_args": None,  # cross entropy over the whole catalogue
        "eval_args": {"split": {"LS": "test_only"}, "group_by": "user", "order": "TO", "mode": "full"},
        "metrics": ["Hit"],
        "topk": [K],
        "valid_metric": f"Hit@{K}",
        "use_gpu": False,
        "show_progress": False,
        "state": "ERROR",
    }
    sys.argv = sys.argv[:1]  # it would read our flags
    config = Config(model="BERT4Rec", dataset="log_data", config_dict=settings)
    init_seed(1, reproducibility=False)
    train, _, test = data_preparation(config, create_dataset(config))

    # 2. Train. A pass of its own has a sample an event, each padded to max_length: as many as there are users count.
    model = get_model("BERT4Rec")(config, train.dataset).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)

    def train_step(batch) -> int:
        optimizer.zero_grad()
        model.calculate_loss(batch).backward()
        optimizer.step()
        return len(batch)

    train_seconds = seconds_a_pass(train_step, train, args.max_batches or 30, log["user"].nunique())

    # 3. Rank
    trainer = get_trainer(config["MODEL_TYPE"], "BERT4Rec")(config, model)
    return train_seconds, seconds_of(trainer.evaluate, test, load_best_model=False)


def run_rectools(log: pd.DataFrame, args: argparse.Namespace) -> tuple[float, float]:
    from pytorch_lightning import Callback, Trainer
    from rectools import Columns
    from rectools.dataset import Dataset
    from rectools.models import BERT4RecModel

    class Timer(EpochTimer, Callback):
        pass

    # 1. The data, in its own types
    columns = {"user": Columns.User, "item": Columns.Item, "place": Columns.Datetime}
    train = log[~log["is_last"]].rename(columns=columns)[list(columns.values())]
    train[Columns.Datetime] = pd.to_datetime(train[Columns.Datetime], unit="s")
    train[Columns.Weight] = 1.0
    dataset = Dataset.construct(train)

    # 2. Train
    timer = Timer()
    trainer = Trainer(
        min_epochs=args.epochs,
        max_epochs=args.epochs,
        callbacks=[timer],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model = BERT4RecModel(
        n_blocks=args.num_layers,
        n_heads=args.num_head,
        n_factors=args.hidden_size,
        session_max_len=args.max_length,
        dropout_rate=0.2,
        mask_prob=args.mlm_probability,
        loss="softmax",
        lr=LEARNING_RATE,
        batch_size=args.batch_size,
        recommend_batch_size=RANK_BATCH_SIZE,
        get_trainer_func=lambda: trainer,
    )
    model.fit(dataset)

    # 3. Rank
    users = log["user"].unique()
    rank_seconds = seconds_of(model.recommend, users=users, dataset=dataset, k=K, filter_viewed=True)
    return min(timer.seconds), rank_seconds


def run_transformers(log: pd.DataFrame, args: argparse.Namespace) -> tuple[float, None]:
    from transformers import BertConfig, BertForMaskedLM

    # 1. The data, padded to max_length
    sequences = [items.to_numpy()[-args.max_length :] for _, items in log[~log["is_last"]].groupby("user")["item"]]
    input_ids = torch.zeros(len(sequences), args.max_length, dtype=torch.long)
    for row, items in zip(input_ids, sequences):
        row[: len(items)] = torch.from_numpy(items)
    mask_token_id = int(log["item"].max()) + 1

    # 2. Train
    config = BertConfig(
        vocab_size=mask_token_id + 1,
        hidden_size=args.hidden_size,
        num_hidden_layers=args.num_layers,
        num_attention_heads=args.num_head,
        intermediate_size=4 * args.hidden_size,
        max_position_embeddings=args.max_length,
        pad_token_id=0,
    )
    model = BertForMaskedLM(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)

    def batches():
        while True:
            yield from input_ids[torch.randperm(len(input_ids))].split(args.batch_size)

    def train_step(batch: torch.Tensor) -> int:
        is_item = batch != 0
        masked = (torch.rand(batch.shape) < args.mlm_probability) & is_item
        output = model(
            input_ids=batch.masked_fill(masked, mask_token_id),
            attention_mask=is_item.long(),
            labels=batch.masked_fill(~masked, -100),
        )
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        return len(batch)

    return seconds_a_pass(train_step, batches(), args.max_batches or 12, len(sequences)), None


PEERS = {
    "replay": (run_replay, "replay-rec"),
    "recbole": (run_recbole, "recbole"),
    "rectools": (run_rectools, "rectools"),
    "transformers": (run_transformers, "transformers"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("--data_dir", required=True, help="Folder of history_data.csv.")
    parser.add_argument("--hidden_size", type=int, default=64, help="Width of the encoder.")
    parser.add_argument("--num_layers", type=int, default=2, help="Encoder layers.")
    parser.add_argument("--num_head", type=int, default=2, help="Attention heads.")
    parser.add_argument("--max_length", type=int, default=200, help="Longest sequence.")
    parser.add_argument("--batch_size", type=int, default=128, help="Users a step.")
    parser.add_argument("--mlm_probability", type=float, default=0.2, help="Chance of an item to be masked.")
    parser.add_argument("--epochs", type=int, default=1, help="Passes of replay and rectools; the fastest counts.")
    parser.add_argument("--max_batches", type=int, help="Batches measured of recbole (30) and transformers (12).")
    parser.add_argument("--threads", type=int, default=2, help="Threads of torch.")
    parser.add_argument("--num_users", type=int, help="The first users only.")
    args = parser.parse_args()

    warnings.filterwarnings("ignore")
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    run_peer, package = PEERS[args.peer]
    train_seconds, rank_seconds = run_peer(read_log(args), args)
    report = {
        "peer": args.peer,
        "version": version(package),
        "train_s": round(train_seconds, 2),
        "rank_s": None if rank_seconds is None else round(rank_seconds, 2),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
