# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""
Trains a BERT4Rec from viewing logs, a table of items and a table of profiles.

    python examples/train.py --data_dir ./data --save_dir ./exps/seed1 --do_eval

The arguments may come from a file, and flags overrule it:

    python examples/train.py config.yaml --seed 2 --save_dir ./exps/seed2
"""

import os
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from typing import Literal

import torch
from transformers import EarlyStoppingCallback, TrainingArguments, set_seed

from bert4rec_hf import (
    Bert4RecConfig,
    Bert4RecForMaskedLM,
    Bert4RecTrainer,
    DataArguments,
    DataCollatorForItemMasking,
    DataError,
    EMACallback,
    Split,
    StopOnSignalCallback,
    Teacher,
    analyze,
    encode_evaluation,
    encode_training,
    evaluate,
    fit_processor,
    load_checkpoint,
    parse_windows,
    push_checkpoint,
    read_interactions,
)
from bert4rec_hf.cli.arguments import parse_arguments, run
from bert4rec_hf.data.encoding import item_counts
from bert4rec_hf.evaluation.evaluator import check_k
from bert4rec_hf.evaluation.reports import metrics_table, write_data_report, write_evaluation_report
from bert4rec_hf.files import atomic_write, directory_lock
from bert4rec_hf.hub.growth import load_and_grow
from bert4rec_hf.training.checkpoints import check_save_dir, clear_save_dir


# Flags of the model and their names in its config
SIZES = {
    "max_length": "max_position_embeddings",
    "hidden_size": "hidden_size",
    "num_layers": "num_hidden_layers",
    "num_head": "num_attention_heads",
    "intermediate_size": "intermediate_size",
    "dropout_prob": "hidden_dropout_prob",
    "attention_dropout_prob": "attention_probs_dropout_prob",
    "eps": "layer_norm_eps",
    "position_embedding_type": "position_embedding_type",
    "causal": "is_causal",
    "norm_first": "norm_first",
    "head_transform": "head_transform",
    "head_item_features": "head_item_features",
    "repeat_prior": "repeat_prior",
    "tie_word_embeddings": "tie_word_embeddings",
    "loss": "loss",
    "num_negatives": "num_negatives",
    "negative_sampling": "negative_sampling",
    "gbce_t": "gbce_t",
}

# The original system's, as its training command had them
PRESETS = {
    "ai_ground": {
        "max_length": 128,
        "keyword_max_length": 20,
        "learning_rate": 1.2e-4,
        "weight_decay": 1e-2,
        "epochs": 100,
        "train_batch_size": 280,
        "mlm_probability": 0.6,
        "hidden_size": 768,
        "num_layers": 12,
        "num_head": 8,
        "intermediate_size": 3072,
        "dropout_prob": 0.1,
        "warmup_ratio": 0.1,
        "eps": 1e-12,
        "position_embedding_type": "absolute",
        "norm_first": False,
        "head_transform": True,
        "head_item_features": False,
    },
}


@dataclass
class ModelArguments:
    """Sizes of the model."""

    preset: Literal["ai_ground"] | None = field(
        default=None,
        metadata={"help": "Other defaults: those of the original system. Flags overrule them."},
    )
    init_from: str | None = field(
        default=None,
        metadata={
            "help": "Checkpoint to go on from, a folder or an id on the Hub: its sizes, columns and split are the "
            "defaults, new items and feature values are added to it."
        },
    )
    revision: str | None = field(default=None, metadata={"help": "Branch, tag or commit of init_from on the Hub."})
    max_length: int = field(default=200, metadata={"help": "Longest sequence, the appended MASK included."})
    hidden_size: int = field(default=128, metadata={"help": "Width of the encoder."})
    num_layers: int = field(default=2, metadata={"help": "Encoder layers."})
    num_head: int = field(default=4, metadata={"help": "Attention heads."})
    intermediate_size: int | None = field(
        default=None, metadata={"help": "Width of the feed-forward part; 4 * hidden_size where not given."}
    )
    dropout_prob: float = field(default=0.1, metadata={"help": "Dropout of embeddings and layers."})
    attention_dropout_prob: float = field(default=0.0, metadata={"help": "Dropout of the attention weights."})
    eps: float = field(default=1e-12, metadata={"help": "Epsilon of the layer norms."})
    position_embedding_type: Literal["rope", "absolute"] = field(
        default="rope", metadata={"help": "How the order of items is told: by distances, or BERT's embeddings."}
    )
    causal: bool = field(
        default=False, metadata={"help": "Predict each item from those before it, instead of masked ones."}
    )
    norm_first: bool = field(default=True, metadata={"help": "Pre-LN instead of BERT's post-LN."})
    head_transform: bool = field(default=False, metadata={"help": "BERT's transform before the projection."})
    head_item_features: bool = field(default=True, metadata={"help": "Item features in the output layer too."})
    repeat_prior: bool = field(
        default=False, metadata={"help": "Add a learnt share of the user's own history, by count and recency."}
    )
    tie_word_embeddings: bool = field(default=True, metadata={"help": "Item embeddings as the output layer."})
    loss: Literal["cross_entropy", "sampled_softmax", "gbce"] = field(
        default="cross_entropy", metadata={"help": "Over all items, or over some for very large catalogues."}
    )
    num_negatives: int = field(default=256, metadata={"help": "Items that a sampled loss draws for a batch."})
    negative_sampling: Literal["uniform", "popularity", "in_batch"] = field(
        default="uniform", metadata={"help": "How it draws them."}
    )
    gbce_t: float = field(default=0.75, metadata={"help": "Calibration of gbce, from 0 to 1."})

    def __post_init__(self):
        self.intermediate_size = self.intermediate_size or 4 * self.hidden_size


@dataclass
class MaskingArguments:
    """What is masked."""

    mlm_probability: float = field(
        default=0.2, metadata={"help": "Chance of an item to be masked; with --causal all are predicted all the same."}
    )
    last_item_probability: float = field(
        default=0.1, metadata={"help": "Share of rows of which only the last items are predicted."}
    )
    last_items: int = field(
        default=1, metadata={"help": "Such a row predicts its last 1 to so many items: the longer view."}
    )
    empty_history_probability: float = field(
        default=0.05, metadata={"help": "Share of rows without history, where there are user features."}
    )
    window: Literal["last", "random"] = field(
        default="last", metadata={"help": "Which items of a history longer than max_length train."}
    )


@dataclass
class RunArguments:
    """How it is trained."""

    save_dir: str = field(metadata={"help": "Folder of the checkpoint; new or empty, or see resume and overwrite."})
    seed: int = field(default=1, metadata={"help": "Seed of everything random."})
    epochs: float = field(default=50, metadata={"help": "Passes over the users."})
    max_steps: int = field(default=-1, metadata={"help": "Steps, instead of epochs."})
    train_batch_size: int = field(default=32, metadata={"help": "Users a step."})
    gradient_accumulation_steps: int = field(default=1, metadata={"help": "Batches a step."})
    learning_rate: float = field(default=2e-3, metadata={"help": "Peak learning rate of AdamW."})
    weight_decay: float = field(default=1e-2, metadata={"help": "Weight decay of AdamW."})
    warmup_ratio: float = field(default=0.1, metadata={"help": "Share of the steps that warm up; linear decay after."})
    ema_decay: float = field(
        default=0.0,
        metadata={"help": "Validate and keep the weights' moving average, as 0.999; 0 for none."},
    )
    teacher: str | None = field(
        default=None, metadata={"help": "Checkpoint, of an ensemble say, to learn from as well: distillation."}
    )
    teacher_weight: float = field(default=0.5, metadata={"help": "Its share in the loss, from 0 to 1."})
    temperature: float = field(default=1.0, metadata={"help": "Above 1 its less likely items count more."})
    teacher_items: int = field(default=100, metadata={"help": "Its best items at each label are learnt from."})
    num_workers: int = field(default=0, metadata={"help": "Processes that make batches."})
    logging_steps: int = field(default=100, metadata={"help": "Steps between two log lines."})
    save_steps: int | None = field(default=None, metadata={"help": "Steps between two saves; an epoch if not given."})
    do_eval: bool = field(default=False, metadata={"help": "Validate while training and keep the best model."})
    eval_steps: int | None = field(
        default=None, metadata={"help": "Steps between two validations; an epoch if not given."}
    )
    eval_batch_size: int = field(default=128, metadata={"help": "Users ranked at once."})
    early_stopping_patience: int = field(
        default=0, metadata={"help": "Stop after so many validations without a better one; 0 never."}
    )
    k: list[int] = field(default_factory=lambda: [10, 25], metadata={"help": "Lengths of the lists in the metrics."})
    windows: str | None = field(
        default=None, metadata={"help": "Test windows from a temporal split's cut-off on, as in 1M,1M or 14D,14D."}
    )
    exclude_seen: bool = field(default=False, metadata={"help": "Evaluate without the items of the history."})
    unknown_items: Literal["skip", "unk", "error"] = field(
        default="skip", metadata={"help": "What becomes of items outside the vocabulary."}
    )
    bf16: bool = field(default=False, metadata={"help": "Compute in bfloat16."})
    gradient_checkpointing: bool = field(default=False, metadata={"help": "Less memory, more time."})
    resume: bool = field(default=False, metadata={"help": "Go on from the newest whole checkpoint in save_dir."})
    overwrite: bool = field(default=False, metadata={"help": "Remove the training that save_dir holds, and start."})
    push_to_hub: bool = field(default=False, metadata={"help": "Push the recommender to the Hub when it is done."})
    hub_model_id: str | None = field(default=None, metadata={"help": "Where to; the name of save_dir if not given."})
    hub_private_repo: bool = field(default=False, metadata={"help": "Make a new repository a private one."})
    hub_revision: str | None = field(default=None, metadata={"help": "Branch to push to; made if there is none."})

    def __post_init__(self):
        least = {"epochs": 0, "train_batch_size": 1, "gradient_accumulation_steps": 1, "learning_rate": 0}
        least |= {"weight_decay": 0, "warmup_ratio": 0, "num_workers": 0, "logging_steps": 1, "eval_batch_size": 1}
        least |= {"save_steps": 1, "eval_steps": 1, "early_stopping_patience": 0, "seed": 0}
        for name, minimum in least.items():
            value = getattr(self, name)
            if value is not None and not value >= minimum:
                raise DataError(f"{name} is {value}; it must be at least {minimum}.")
        if not 0 <= self.ema_decay < 1:
            raise DataError(f"ema_decay is {self.ema_decay}; it must be in [0, 1).")
        if not 0 <= self.teacher_weight <= 1 or not self.temperature > 0 or self.teacher_items < 1:
            raise DataError("teacher_weight must be in [0, 1], temperature above 0 and teacher_items at least 1.")
        if self.warmup_ratio >= 1:  # Trainer would read it as a number of steps
            raise DataError(f"warmup_ratio is {self.warmup_ratio}; it must be below 1.")
        if self.resume and self.overwrite:
            raise DataError("resume and overwrite exclude each other.")
        if self.early_stopping_patience and not self.do_eval:
            raise DataError("early_stopping_patience needs --do_eval.")
        if not self.push_to_hub and (self.hub_model_id or self.hub_private_repo or self.hub_revision):
            raise DataError("hub_model_id, hub_private_repo and hub_revision need --push_to_hub.")
        if self.do_eval:  # the best model is kept, so what is validated is saved
            self.eval_steps = self.eval_steps or self.save_steps
            self.save_steps = self.save_steps or self.eval_steps
            if self.eval_steps and self.save_steps % self.eval_steps:
                raise DataError(
                    f"save_steps ({self.save_steps}) must be a multiple of eval_steps ({self.eval_steps})."
                )


ARGUMENTS = (DataArguments, Split, ModelArguments, MaskingArguments, RunArguments)


def parse(flags: list[str] | None = None) -> tuple:
    """The arguments, one of each of `ARGUMENTS`: of the command line, if no flags are given."""
    return parse_arguments(
        *ARGUMENTS, description=__doc__, checkpoint="init_from", sizes=SIZES, presets=PRESETS, args=flags
    )


def main(flags: list[str] | None = None):
    arguments = parse(flags)
    save_dir = arguments[-1].save_dir
    with directory_lock(save_dir) if is_first_process() else nullcontext():
        train(*arguments)


def is_first_process() -> bool:
    """Of those that torchrun starts."""
    return os.environ.get("RANK", "0") == "0"


def train(data_args, split, model_args, masking_args, args):
    set_seed(args.seed)

    # 1. Read the logs, fit the vocabularies on the training rows, encode
    if not args.overwrite:
        check_save_dir(args.save_dir, args.resume)
    elif is_first_process():
        clear_save_dir(args.save_dir, only_check=True)
    windows = parse_windows(args.windows, split)
    interactions = read_interactions(data_args)
    processor = fit_processor(interactions, split, args.unknown_items)
    model = None
    if model_args.init_from:
        model, processor = load_and_grow(model_args.init_from, processor, model_args.revision)
    train_dataset = encode_training(interactions, processor, split)
    held_out = {}
    for subset in ["validation"] * args.do_eval + ["test"] * (split.split != "none"):
        held_out[subset] = encode_evaluation(interactions, processor, split, subset)
        check_k(args.k, processor, held_out[subset], args.exclude_seen)
    for window in windows or []:  # one without rows is refused now, not after the training
        encode_evaluation(interactions, processor, split, window=window)
    if is_first_process():
        print(interactions.summary())
        print(f"{len(train_dataset)} users and {len(processor.vocabulary['item_ids'])} items train, split {split}")

    # 2. Build the model and what masks the items
    collator = DataCollatorForItemMasking(
        processor,
        max_length=model_args.max_length,
        mlm=not model_args.causal,
        seed=args.seed,
        **asdict(masking_args),
    )
    teacher = None
    if args.teacher and model_args.repeat_prior:
        raise DataError("a model with --repeat_prior learns from no --teacher.")
    if args.teacher:
        how = (model_args.max_length, args.teacher_weight, args.temperature, args.teacher_items)
        teacher = Teacher(*load_checkpoint(args.teacher), processor, *how)
    stop_on_signal = StopOnSignalCallback()
    callbacks = [EMACallback(args.ema_decay)] if args.ema_decay else []
    callbacks.append(stop_on_signal)
    if args.early_stopping_patience:
        callbacks.append(EarlyStoppingCallback(args.early_stopping_patience))
    sizes = {name: getattr(model_args, flag) for flag, name in SIZES.items()}
    config = Bert4RecConfig(**processor.config_kwargs(), **sizes)
    if model is None:
        model = Bert4RecForMaskedLM(config)
        model.set_item_features(processor.item_features())
    model.set_item_counts(item_counts(train_dataset, processor))
    for flag, name in SIZES.items():
        if getattr(model.config, name) != getattr(config, name):
            raise DataError(
                f"{model_args.init_from} has {flag} {getattr(model.config, name)}, not {getattr(config, name)}; leave "
                f"--{flag} out."
            )

    # 3. Train, and keep the whole recommender
    if args.overwrite and is_first_process():
        clear_save_dir(args.save_dir)
    checkpoint = check_save_dir(args.save_dir, args.resume, processor, model.config) if args.resume else None
    trainer = Bert4RecTrainer(
        model,
        TrainingArguments(
            output_dir=args.save_dir,
            seed=args.seed,
            num_train_epochs=args.epochs,
            max_steps=args.max_steps,
            per_device_train_batch_size=args.train_batch_size,
            per_device_eval_batch_size=args.eval_batch_size,
            gradient_accumulation_steps=args.gradient_accumulation_steps,
            learning_rate=args.learning_rate,
            weight_decay=args.weight_decay,
            warmup_steps=args.warmup_ratio,
            dataloader_num_workers=args.num_workers,
            dataloader_pin_memory=torch.cuda.is_available(),
            use_cpu=not torch.cuda.is_available(),
            logging_steps=args.logging_steps,
            eval_strategy="no" if not args.do_eval else "steps" if args.eval_steps else "epoch",
            eval_steps=args.eval_steps,
            save_strategy="steps" if args.save_steps else "epoch",
            save_steps=args.save_steps or 500,
            save_total_limit=2,
            load_best_model_at_end=args.do_eval,
            metric_for_best_model=f"ndcg@{args.k[0]}" if args.do_eval else None,
            ddp_find_unused_parameters=False,
            bf16=args.bf16,
            activation_checkpointing=args.gradient_checkpointing,
            push_to_hub=args.push_to_hub,
            hub_model_id=args.hub_model_id,
            hub_private_repo=args.hub_private_repo or None,
            hub_revision=args.hub_revision,
            hub_strategy="end",
            report_to="none",
        ),
        train_dataset=train_dataset,
        eval_dataset=held_out.get("validation"),
        data_collator=collator,
        processing_class=processor,
        callbacks=callbacks,
        k=args.k,
        exclude_seen=args.exclude_seen,
        teacher=teacher,
    )
    with stop_on_signal:
        trainer.train(resume_from_checkpoint=checkpoint)
    if not trainer.is_world_process_zero():
        return
    with atomic_write(args.save_dir) as part:
        model.save_pretrained(part)
        processor.save_pretrained(part)

    # 4. Look at the data and evaluate beside the baselines, for the card, and share
    write_data_report(args.save_dir, analyze(interactions, split, windows))
    if "test" in held_out:
        evaluation = evaluate(
            model,
            processor,
            interactions,
            split,
            "test",
            args.k,
            args.exclude_seen,
            batch_size=args.eval_batch_size,
            windows=windows,
        )
        write_evaluation_report(args.save_dir, [evaluation])
        trainer.evaluation = evaluation.report
        for window in evaluation.report["windows"]:
            print(window["name"])
            print(metrics_table(window["groups"]["all users"]["results"]))
    trainer.create_model_card()
    print(f"saved to {args.save_dir}")
    if args.push_to_hub:
        commit = push_checkpoint(
            args.save_dir,
            trainer.hub_model_id,
            args.hub_private_repo or None,
            args.hub_revision,
            commit_message="End of training",
        )
        print(f"pushed to {commit.repo_url}")


if __name__ == "__main__":
    run(main)
