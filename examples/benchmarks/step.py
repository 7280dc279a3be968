# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""
Where the time of a training step goes, and what each of the ways to save some gives: the same step without it.

    python examples/benchmarks/step.py --data_dir ./ml-1m

The first table has the operations that take most of the time, the second the seconds that a pass over the log would
take with a variant, and its ratio to the default, which is measured before and after it. Nothing else may run
meanwhile.
"""

import time
from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from bert4rec_hf import (
    Bert4RecConfig,
    Bert4RecForMaskedLM,
    DataArguments,
    DataCollatorForItemMasking,
    Split,
    encode_training,
    fit_processor,
    read_interactions,
)
from bert4rec_hf.cli.arguments import parse_arguments, run
from bert4rec_hf.data.encoding import history_lengths
from bert4rec_hf.model import layers_bert4rec
from bert4rec_hf.training.sampler import SimilarLengthSampler


@dataclass
class StepArguments:
    """The step."""

    hidden_size: int = field(default=64, metadata={"help": "Width of the encoder."})
    num_layers: int = field(default=2, metadata={"help": "Encoder layers."})
    num_head: int = field(default=2, metadata={"help": "Attention heads."})
    max_length: int = field(default=200, metadata={"help": "Longest sequence."})
    train_batch_size: int = field(default=128, metadata={"help": "Users a step."})
    mlm_probability: float = field(default=0.2, metadata={"help": "Chance of an item to be masked."})
    steps: int = field(default=10, metadata={"help": "Steps measured of each variant."})


class TorchDropout(nn.Dropout):
    """Torch's own, in place of [`Bert4RecDropout`]."""

    def forward(self, hidden_states, residual=None):
        dropped = super().forward(hidden_states)
        return dropped if residual is None else residual + dropped


# What differs from the default: settings of the config, and how the step is done.
VARIANTS = {
    "torch's own dropout": ({}, {"dropout": TorchDropout}),
    "the last layer at all positions": ({}, {"output_hidden_states": True}),
    "rows of any lengths together": ({}, {"random_rows": True}),
    "attention dropout 0.1": ({"attention_probs_dropout_prob": 0.1}, {}),
    "no dropout": ({"hidden_dropout_prob": 0.0}, {}),
    "eager attention": ({"attn_implementation": "eager"}, {}),
    "a step in two halves (accumulation)": ({}, {"pieces": 2}),
    "gradient checkpointing": ({}, {"checkpointing": True}),
    "bf16 autocast": ({}, {"bf16": True}),
    "torch.compile": ({}, {"compile": True}),
}


def main():
    data_args, args = parse_arguments(DataArguments, StepArguments, description=__doc__)
    data_args.item_features, data_args.user_features = [], []
    interactions, split = read_interactions(data_args), Split("leave_one_out")
    processor = fit_processor(interactions, split)
    dataset = encode_training(interactions, processor, split)
    lengths = np.minimum(history_lengths(dataset), args.max_length)
    collator = DataCollatorForItemMasking(processor, args.mlm_probability, max_length=args.max_length)

    def batches(random_rows: bool, pieces: int) -> list[dict]:
        size = args.train_batch_size // pieces
        num_rows = (args.steps + 2) * args.train_batch_size
        order = torch.randperm(len(dataset)) if random_rows else list(SimilarLengthSampler(lengths, size))
        return [collator([dataset[int(row)] for row in order[n : n + size]]) for n in range(0, num_rows, size)]

    def seconds_a_pass(config=None, dropout=None, random_rows=False, pieces=1, checkpointing=False, bf16=False, **how):
        torch.manual_seed(0)
        kept = layers_bert4rec.Bert4RecDropout
        layers_bert4rec.Bert4RecDropout = dropout or kept
        try:
            model = make_model(args, processor, **(config or {})).train()
        finally:
            layers_bert4rec.Bert4RecDropout = kept
        if checkpointing:
            model.activation_checkpointing_enable()
        call = torch.compile(model, dynamic=True) if how.pop("compile", False) else model
        optimizer = torch.optim.AdamW(model.parameters())
        seconds = num_items = 0
        for step, batch in enumerate(batches(random_rows, pieces)):
            start = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext():
                loss = call(**batch, **how).loss
            loss.backward()
            if step % pieces == pieces - 1:
                optimizer.step()
                optimizer.zero_grad()
            if step >= 2 * pieces:  # two steps warm up
                seconds += time.perf_counter() - start
                num_items += int(batch["attention_mask"].sum())
        return seconds * int(lengths.sum()) / num_items

    model = make_model(args, processor).train()
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        for batch in batches(False, 1)[:6]:
            model(**batch).loss.backward()
    events = sorted(profiled.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    print("| operation | share of the time |\n|---|---:|")
    for event in events[:14]:
        print(f"| {event.key} | {event.self_cpu_time_total / total:.1%} |")

    before = seconds_a_pass()
    print(f"\n| variant | seconds a pass | times the default |\n|---|---:|---:|\n| default | {before:.2f} | 1.00 |")
    for name, (config, how) in VARIANTS.items():
        seconds, after = seconds_a_pass(config, **how), seconds_a_pass()
        print(f"| {name} | {seconds:.2f} | {2 * seconds / (before + after):.2f} |", flush=True)
        before = after


def make_model(args: StepArguments, processor, **kwargs) -> Bert4RecForMaskedLM:
    attention = kwargs.pop("attn_implementation", "sdpa")
    config = Bert4RecConfig(
        **processor.config_kwargs(),
        hidden_size=args.hidden_size,
        num_hidden_layers=args.num_layers,
        num_attention_heads=args.num_head,
        intermediate_size=4 * args.hidden_size,
        max_position_embeddings=args.max_length,
        **kwargs,
    )
    return Bert4RecForMaskedLM._from_config(config, attn_implementation=attention)


if __name__ == "__main__":
    run(main)
