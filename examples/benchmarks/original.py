# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""
Seconds and memory of a training step beside one done the way of the original system, on a CPU in fp32, with made-up
data of the original's size, written where there is no such folder.

    python examples/benchmarks/original.py --data_dir ./original_size

The original's way: each feature looked up at each position, attention written out and dropped out, random rows padded
to the longest of the batch, the whole catalogue scored at each position, batches made by loops in Python. bert4rec_hf
is built as examples/train.py builds it. Sizes, share of masks, users a step, threads and optimizer are the same. Users
differ in how many items they have: where the steps are few, items a second say more than seconds a step.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice, repeat

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook
from transformers import TrainingArguments, set_seed

from bert4rec_hf import (
    Bert4RecConfig,
    Bert4RecForMaskedLM,
    Bert4RecTrainer,
    DataArguments,
    DataCollatorForItemMasking,
    DataError,
    Split,
    encode_training,
    fit_processor,
    read_interactions,
    write_sample_data,
)
from bert4rec_hf.cli.arguments import parse_arguments, run
from bert4rec_hf.files import check_output_file


@dataclass
class OriginalArguments:
    """The workload."""

    data_dir: str = field(metadata={"help": "Folder of the data, written where it does not exist."})
    hidden_size: int = field(default=256, metadata={"help": "Width of the encoder."})
    num_layers: int = field(default=4, metadata={"help": "Encoder layers."})
    num_head: int = field(default=8, metadata={"help": "Attention heads."})
    max_length: int = field(default=128, metadata={"help": "Longest sequence."})
    mlm_probability: float = field(default=0.6, metadata={"help": "Chance of an item to be masked."})
    train_batch_size: int = field(default=128, metadata={"help": "Users a step."})
    steps: int = field(default=10, metadata={"help": "Steps measured."})
    warmup_steps: int = field(default=2, metadata={"help": "Steps before them."})
    threads: int = field(default=2, metadata={"help": "Threads of torch."})
    output_file: str | None = field(default=None, metadata={"help": "JSON file for the figures."})
    task: str | None = field(default=None, metadata={"help": argparse.SUPPRESS})  # of a process the script starts

    def __post_init__(self):
        for name in ("train_batch_size", "steps", "warmup_steps", "threads"):
            if getattr(self, name) < 1:
                raise DataError(f"{name} is {getattr(self, name)}; it must be at least 1.")


class OriginalLayer(nn.Module):
    """A post-LN encoder layer with its attention written out."""

    def __init__(self, config: Bert4RecConfig):
        super().__init__()
        size, self.num_heads = config.hidden_size, config.num_attention_heads
        self.qkv, self.out = nn.Linear(size, 3 * size), nn.Linear(size, size)
        self.mlp = nn.Sequential(nn.Linear(size, 4 * size), nn.GELU(), nn.Linear(4 * size, size))
        self.attention_norm, self.mlp_norm = nn.LayerNorm(size), nn.LayerNorm(size)
        self.dropout = nn.Dropout(0.1)

    def forward(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        query, key, value = self.qkv(hidden_states).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        weights = query @ key.transpose(2, 3) / query.shape[-1] ** 0.5 + attention_mask
        attended = (self.dropout(weights.softmax(-1)) @ value).transpose(1, 2).flatten(2)
        hidden_states = self.attention_norm(hidden_states + self.dropout(self.out(attended)))
        return self.mlp_norm(hidden_states + self.dropout(self.mlp(hidden_states)))


class OriginalModel(nn.Module):
    """Adds up the embeddings of all features at each position, and scores the whole catalogue there."""

    def __init__(self, config: Bert4RecConfig):
        super().__init__()
        sizes = {"input_ids": config.vocab_size, "position": config.max_position_embeddings}
        sizes |= {feature["name"]: feature["num_values"] for feature in config.item_features + config.user_features}
        self.embeddings = nn.ModuleDict({name: nn.Embedding(n, config.hidden_size) for name, n in sizes.items()})
        for embedding in self.embeddings.values():
            nn.init.normal_(embedding.weight, std=0.02)
        self.norm, self.dropout = nn.LayerNorm(config.hidden_size), nn.Dropout(0.1)
        self.layers = nn.ModuleList(OriginalLayer(config) for _ in range(config.num_hidden_layers))
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, labels: torch.Tensor, **ids: torch.Tensor) -> torch.Tensor:
        ids["position"] = torch.arange(labels.shape[1])[None]
        embedded = {name: self.embeddings[name](values) for name, values in ids.items()}
        embedded["keyword_name"] = embedded["keyword_name"].mean(2)  # padding too: to leave it out costs more
        hidden_states = self.dropout(self.norm(sum(embedded.values())))
        attention_mask = (ids["input_ids"] == 0)[:, None, None] * torch.finfo(torch.float32).min
        for layer in self.layers:
            hidden_states = layer(hidden_states, attention_mask)
        logits = nn.functional.linear(hidden_states, self.embeddings["input_ids"].weight, self.bias)
        return nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)


def collate_original(rows: list[dict], tables: dict[str, list], args: OriginalArguments) -> dict[str, torch.Tensor]:
    """Masks items and looks up their features, one by one; a masked item hides its features too."""
    batch = {name: [] for name in ("input_ids", "labels", *tables, "sex", "age")}
    longest = min(max(len(row["input_ids"]) for row in rows), args.max_length)
    for row in rows:
        items = [0] * (longest - len(row["input_ids"])) + row["input_ids"][-longest:]
        labels = [-100] * longest
        for place, item in enumerate(items):
            if item and random.random() < args.mlm_probability:
                labels[place], items[place] = item, 1
        batch["input_ids"].append(items)
        batch["labels"].append(labels)
        for name, values in tables.items():
            batch[name].append([values[item] for item in items])
        for name, value in zip(("sex", "age"), row["user_features"]):
            batch[name].append([value])
    return {name: torch.tensor(values) for name, values in batch.items()}


def train_original(model, processor, dataset, args: OriginalArguments):
    genre, country, *keywords = processor.item_features().T
    tables = {"genre_mid": genre, "country": country, "keyword_name": np.stack(keywords, axis=1)}
    tables = {name: values.tolist() for name, values in tables.items()}  # a look-up in a list is quicker
    collate = partial(collate_original, tables=tables, args=args)
    batches = torch.utils.data.DataLoader(dataset.to_list(), args.train_batch_size, shuffle=True, collate_fn=collate)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.2e-4, weight_decay=1e-2)
    for batch in islice(chain.from_iterable(repeat(batches)), args.warmup_steps + args.steps):
        optimizer.zero_grad()
        model(**batch).backward()
        optimizer.step()


def train_ours(model, processor, dataset, args: OriginalArguments):
    model.set_item_features(processor.item_features())
    collator = DataCollatorForItemMasking(processor, args.mlm_probability, max_length=args.max_length)
    settings = {"max_steps": args.warmup_steps + args.steps, "per_device_train_batch_size": args.train_batch_size}
    settings |= {"learning_rate": 1.2e-4, "weight_decay": 1e-2, "save_strategy": "no", "report_to": "none"}
    settings |= {"use_cpu": True, "dataloader_pin_memory": False, "disable_tqdm": True}
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(folder, **settings)
        Bert4RecTrainer(model, arguments, collator, dataset, processing_class=processor).train()


SIDES = {"the original's way": (OriginalModel, train_original), "bert4rec_hf": (Bert4RecForMaskedLM, train_ours)}


def measure(side: str, args: OriginalArguments) -> dict[str, float]:
    """The figures of one of `SIDES`, in a process that does nothing else."""
    set_seed(1)
    torch.set_num_threads(args.threads)
    interactions = read_interactions(DataArguments(args.data_dir))
    processor = fit_processor(interactions, Split("none"))
    sizes = {"hidden_size": args.hidden_size, "intermediate_size": 4 * args.hidden_size}
    sizes |= {"num_hidden_layers": args.num_layers, "num_attention_heads": args.num_head}
    sizes |= {"position_embedding_type": "absolute", "norm_first": False}
    sizes |= {"head_transform": True, "head_item_features": False}
    config = Bert4RecConfig(**processor.config_kwargs(), **sizes, max_position_embeddings=args.max_length)
    model_class, train = SIDES[side]
    model = model_class(config)
    rows, times = [], []  # of each step: what it trained on, and when it ended
    model.register_forward_pre_hook(lambda module, _, batch: rows.append(batch["input_ids"] != 0), with_kwargs=True)
    register_optimizer_step_post_hook(lambda *_: times.append(time.perf_counter()))
    train(model, processor, encode_training(interactions, processor, Split("none")), args)
    seconds = times[-1] - times[args.warmup_steps - 1]
    return {
        "seconds a step": seconds / args.steps,
        "users a second": sum(map(len, rows[args.warmup_steps :])) / seconds,
        "items a second": sum(int(is_item.sum()) for is_item in rows[args.warmup_steps :]) / seconds,
        "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def write_data(data_dir: str):
    """As many profiles, albums and rows as the original's. It had more keywords than the sample's six an album."""
    write_sample_data(data_dir, num_profiles=8_311, num_albums=22_800, num_rows=1_000_000)  # 20,723 albums are watched
    albums = pd.read_csv(f"{data_dir}/meta_data.csv", usecols=["album_id"])["album_id"].unique()
    generator = np.random.default_rng(0)
    albums = np.repeat(albums, generator.integers(1, 21, len(albums)))
    keywords = pd.DataFrame({"album_id": albums, "keyword_name": generator.integers(2_000, size=len(albums))})
    keywords.assign(keyword_value=3).to_csv(f"{data_dir}/meta_data_plus.csv", index=False)


def start(task: str) -> str:
    """What a process of its own prints for a task. Its peak is at least that of this process, which stays small."""
    child = subprocess.run([sys.executable, *sys.argv, "--task", task], stdout=subprocess.PIPE, text=True)
    return sys.exit(child.returncode) if child.returncode else child.stdout  # who failed has said why


def main():
    (args,) = parse_arguments(OriginalArguments, description=__doc__)
    if args.task == "data":
        return write_data(args.data_dir)
    if args.task:
        return print(json.dumps(measure(args.task, args)))

    check_output_file(args.output_file)
    if not os.path.exists(args.data_dir):
        start("data")
    results = {side: json.loads(start(side).splitlines()[-1]) for side in SIDES}
    original, ours = results.values()
    sign = {name: -1 if name.endswith("a second") else 1 for name in ours}
    results["times better"] = {name: (original[name] / ours[name]) ** sign[name] for name in ours}
    print(f"| | {' | '.join(ours)} |\n|---|{'---|' * len(ours)}")
    for name, figures in results.items():
        print(f"| {name} | {' | '.join(f'{figure:,.2f}' for figure in figures.values())} |")
    if args.output_file:
        with open(args.output_file, "w", encoding="utf-8") as file:
            json.dump({"results": results, "arguments": vars(args)}, file, indent=2)


if __name__ == "__main__":
    run(main)
