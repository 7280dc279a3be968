# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""
How well items are recommended that the model was never trained on: withholds some of a log's items, trains on what is
left, adds the withheld ones by `add_items`, from their features alone, and ranks them for the users who watched one.

    python examples/benchmarks/cold_items.py --data_dir ./data --save_dir ./exps/cold

The target is the last withheld item of a user, the history is what came before it without withheld items, while all of
the others, later ones too, were trained on. Only withheld items are ranked. Beside the model: chance, and the withheld
items by how often the log has them, which nobody knows of a new item: a bound, not a rival. An interrupted run goes on
when it is started again. Two runs of one seed, with other features, are compared user by user:

    bert4rec-hf evaluate --compare ./exps/cold ./exps/cold-with-vectors
"""

import json
import os
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from transformers import TrainingArguments, set_seed

from bert4rec_hf import (
    Bert4RecConfig,
    Bert4RecForMaskedLM,
    Bert4RecTrainer,
    DataArguments,
    DataCollatorForItemMasking,
    DataError,
    Split,
    add_items,
    encode_training,
    fit_processor,
    read_interactions,
)
from bert4rec_hf.cli.arguments import parse_arguments, run
from bert4rec_hf.data.encoding import encode_histories, token_ids
from bert4rec_hf.evaluation.evaluator import recommend_all
from bert4rec_hf.evaluation.reports import USERS_FILE, metrics_table
from bert4rec_hf.metrics.ranking.ranking import ranking_scores
from bert4rec_hf.training.checkpoints import check_save_dir


@dataclass
class ColdItemsArguments:
    """What is withheld, and the model."""

    save_dir: str = field(metadata={"help": "Folder of the checkpoints."})
    num_cold: int = field(default=200, metadata={"help": "Items to withhold."})
    min_cold_events: int = field(default=20, metadata={"help": "Events that a withheld item has at least."})
    seed: int = field(default=1, metadata={"help": "Seed of the items and of the training."})
    head_item_features: bool = field(default=True, metadata={"help": "Item features in the output layer too."})
    hidden_size: int = field(default=64, metadata={"help": "Width of the encoder."})
    max_length: int = field(default=100, metadata={"help": "Longest sequence."})
    epochs: float = field(default=30, metadata={"help": "Passes over the users."})
    train_batch_size: int = field(default=128, metadata={"help": "Users a step."})
    learning_rate: float = field(default=2e-3, metadata={"help": "Peak learning rate."})
    k: list[int] = field(default_factory=lambda: [10], metadata={"help": "Lengths of the lists."})
    output_file: str | None = field(default=None, metadata={"help": "JSON file for the figures."})


def main():
    data_args, args = parse_arguments(DataArguments, ColdItemsArguments, description=__doc__)
    set_seed(args.seed)

    # 1. Withhold items that were watched often enough to be looked for
    interactions = read_interactions(data_args)
    events = np.bincount(interactions.item, minlength=len(interactions.item_ids))
    often = np.flatnonzero(events >= args.min_cold_events)
    if not 0 < args.num_cold < len(often):
        raise DataError(f"num_cold is {args.num_cold}; {len(often)} items have {args.min_cold_events} events.")
    cold = np.random.default_rng(args.seed).choice(often, args.num_cold, replace=False)
    is_cold = np.isin(interactions.item, cold)
    warm = interactions.of_rows(~is_cold)

    # 2. Train on the others
    split = Split("none")
    processor = fit_processor(warm, split)
    config = Bert4RecConfig(
        **processor.config_kwargs(),
        hidden_size=args.hidden_size,
        num_attention_heads=2,
        intermediate_size=4 * args.hidden_size,
        max_position_embeddings=args.max_length,
        head_item_features=args.head_item_features,
    )
    model = Bert4RecForMaskedLM(config)
    model.set_item_features(processor.item_features())
    model.set_vector_features(processor.vector_features())
    checkpoint = check_save_dir(args.save_dir, True, processor, config)
    trainer = Bert4RecTrainer(
        model,
        TrainingArguments(
            args.save_dir,
            num_train_epochs=args.epochs,
            per_device_train_batch_size=args.train_batch_size,
            learning_rate=args.learning_rate,
            weight_decay=1e-2,
            warmup_steps=0.1,
            save_strategy="epoch",
            save_total_limit=2,
            logging_steps=100,
            seed=args.seed,
            use_cpu=not torch.cuda.is_available(),
            dataloader_pin_memory=torch.cuda.is_available(),
            report_to="none",
        ),
        train_dataset=encode_training(warm, processor, split),
        data_collator=DataCollatorForItemMasking(processor, max_length=args.max_length, seed=args.seed),
        processing_class=processor,
    )
    trainer.train(resume_from_checkpoint=checkpoint)

    # 3. Add the withheld items, by their features alone
    num_known = processor.vocab_size
    added = add_items(model.eval(), processor, **fit_processor(interactions, split).catalogue())
    candidates = torch.arange(num_known, processor.vocab_size, device=model.device)

    # 4. For each user who watched one, rank them for the last
    cold_rows = np.flatnonzero(is_cold)
    last = np.full(len(interactions.user_ids), -1)
    last[interactions.user[cold_rows]] = cold_rows  # the rows of a user are in order: the last one stays
    before = ~is_cold & (np.arange(len(interactions)) < last[interactions.user])
    users = np.flatnonzero(last >= 0)
    dataset = encode_histories(interactions.of_rows(before), processor, users)
    targets = token_ids(interactions, processor)[interactions.item[last[users]]][:, None]

    k = max(args.k)
    recommend = partial(model.recommend, candidate_ids=candidates)
    ranked = recommend_all(recommend, dataset, processor, k, device=model.device, description="ranking")
    most_watched = token_ids(interactions, processor)[cold[np.argsort(-events[cold], kind="stable")]]
    results = {
        "BERT4Rec": ranking_scores(ranked, targets, args.k),
        "most watched, in hindsight": ranking_scores(np.tile(most_watched[:k], (len(users), 1)), targets, args.k),
    }
    tables = []
    for name, scores in results.items():
        columns = {"recommender": name, "origin": "withheld items", "window": f"seed {args.seed}"}
        columns = {column: pa.array([value] * len(users)) for column, value in columns.items()}
        columns |= {"user": interactions.user_ids.take(pa.array(users)), "num_targets": np.ones(len(users), dtype=int)}
        tables.append(pa.table(columns | scores))
    pq.write_table(pa.concat_tables(tables), os.path.join(args.save_dir, USERS_FILE))
    results = {
        name: {metric: {"mean": float(np.mean(values))} for metric, values in scores.items()}
        for name, scores in results.items()
    }
    print(f"{len(added)} withheld items, {len(users)} users, {len(warm):,} of {len(interactions):,} events trained")
    print(metrics_table(results))
    print(f"by chance, recall: {', '.join(f'{n / args.num_cold:.4f} at {n}' for n in args.k)}")
    if args.output_file:
        with open(args.output_file, "w", encoding="utf-8") as file:
            json.dump({"results": results, "arguments": vars(args)}, file, indent=2)


if __name__ == "__main__":
    run(main)
