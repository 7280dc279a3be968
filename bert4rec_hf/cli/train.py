# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""
Trains a BERT4Rec from viewing logs, a table of items and a table of profiles, and evaluates it.

    bert4rec-hf train --data_dir ./data --save_dir ./exps/seed1 --do_eval

The arguments can be read from files; flags override them:

    bert4rec-hf train settings.yaml --save_dir ./exps/seed2 --seed 2
"""

import os
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Literal

import numpy as np
import torch
from torch.optim import SGD
from transformers import EarlyStoppingCallback, get_scheduler, set_seed

from ..data.collators import DataCollatorForItemMasking
from ..data.encoding import encode_evaluation, encode_training, fit_processor, item_counts
from ..data.interactions import DataArguments, read_interactions
from ..data.splits import Split, parse_windows
from ..errors import DataError, one_line
from ..evaluation.analysis import analyze
from ..evaluation.evaluator import check_k
from ..evaluation.reports import screen_text, write_data_report, write_evaluation_report
from ..evaluation.windows import evaluate
from ..files import directory_lock
from ..hub.growth import load_and_grow
from ..hub.load import load_checkpoint
from ..hub.push import push_checkpoint
from ..metrics.ranking.ranking import ranking_scores
from ..model.configuration_bert4rec import Bert4RecConfig
from ..model.modeling_bert4rec import Bert4RecForMaskedLM
from ..training.callbacks import EMACallback, StopOnSignalCallback
from ..training.checkpoints import check_save_dir, clear_save_dir
from ..training.distillation import Teacher
from ..training.proposals import Proposal, propose_settings
from ..training.trainer import Bert4RecTrainer
from ..training.training_args import Bert4RecTrainingArguments
from .arguments import arguments_of, parse_arguments


# Settings that come from the vocabulary are not flags.
VOCABULARY_SETTINGS = (
    *("vocab_size", "pad_token_id", "mask_token_id", "unk_token_id", "vocabulary_hash"),
    *("item_features", "user_features", "vector_features", "time_intervals"),
)
ModelArguments = arguments_of(Bert4RecConfig, "Model", leave_out=VOCABULARY_SETTINGS)
MaskingArguments = arguments_of(
    DataCollatorForItemMasking, "Masking", leave_out=("processor", "max_length", "mlm", "seed", "epoch")
)


@dataclass
class RunArguments:
    """The start of a run, its test windows and its teacher."""

    _argument_group_name = "Run"

    init_from: str | None = field(
        default=None,
        metadata={
            "help": "Checkpoint to start from, a folder or an id on the Hub. Its sizes, columns and split are the "
            "defaults, new items and feature values are added to it."
        },
    )
    revision: str | None = field(default=None, metadata={"help": "Branch, tag or commit of init_from on the Hub."})
    overwrite: bool = field(default=False, metadata={"help": "Remove the training run in save_dir, and start anew."})
    windows: str | None = field(
        default=None, metadata={"help": "Test windows from a temporal split's cut-off, such as 1M,1M or 14D,14D."}
    )
    unknown_items: Literal["skip", "unk", "error"] = field(
        default="skip", metadata={"help": "How to treat items outside the vocabulary."}
    )
    auto: bool = field(
        default=False,
        metadata={"help": "Take the settings that suit the log, which are printed; flags override them."},
    )
    rivals: bool = field(
        default=False, metadata={"help": "Compare with ItemKNN, EASE and ALS too, tuned on the validation rows."}
    )
    license: str = field(default="apache-2.0", metadata={"help": "Licence of the checkpoint, for its card."})
    teacher: str | None = field(
        default=None, metadata={"help": "Checkpoint of the teacher (such as an ensemble) for distillation."}
    )
    teacher_weight: float = field(default=0.5, metadata={"help": "Weight of the teacher in the loss, from 0 to 1."})
    temperature: float = field(default=1.0, metadata={"help": "Temperature; above 1, unlikely items count more."})
    teacher_items: int = field(default=100, metadata={"help": "Number of the teacher's most likely items per label."})

    def __post_init__(self):
        if not 0 <= self.teacher_weight <= 1 or not self.temperature > 0 or self.teacher_items < 1:
            raise DataError("teacher_weight must be in [0, 1], temperature above 0 and teacher_items at least 1.")


ARGUMENTS = (DataArguments, Split, ModelArguments, MaskingArguments, Bert4RecTrainingArguments, RunArguments)
# The flags that --help shows
COMMON = (
    *("data_dir", "history_data_file", "profile_data_file", "meta_data_file", "meta_data_plus_file", "user_column"),
    *("item_column", "time_column", "item_features", "user_features", "min_events", "split", "cutoff"),
    *("validation_days", "hidden_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings"),
    *("is_causal", "repeat_prior", "mlm_probability", "last_item_probability", "output_dir", "num_train_epochs"),
    *("per_device_train_batch_size", "learning_rate", "seed", "do_eval", "eval_steps"),
    *("report_to", "push_to_hub", "hub_model_id", "resume_from_checkpoint", "k", "init_from", "auto", "overwrite"),
    "windows",
)


def parse(flags: list[str] | None = None) -> tuple:
    """The arguments, one of each of `ARGUMENTS`: of the command line, if no flags are given."""
    settings = {"description": __doc__, "checkpoint": "init_from", "args": flags, "common": COMMON}
    parts = parse_arguments(*ARGUMENTS, **settings)
    given, run = parts[ARGUMENTS.index(ModelArguments)], parts[ARGUMENTS.index(RunArguments)]
    if run.auto:
        interactions = read_interactions(parts[ARGUMENTS.index(DataArguments)])
        split = parts[ARGUMENTS.index(Split)]
        values = {}
        while parts[ARGUMENTS.index(ModelArguments)].is_causal != values.get("is_causal"):  # again, if flags say so
            is_causal = parts[ARGUMENTS.index(ModelArguments)].is_causal if values else None
            values = {name: value for name, value, _ in propose_settings(interactions, split, is_causal)}
            # What the flags rule out
            values["repeat_prior"] &= given.loss == "cross_entropy" and not run.teacher
            values["exclude_seen_in_loss"] &= given.loss == "cross_entropy" and not given.repeat_prior
            parts = parse_arguments(*ARGUMENTS, **settings, defaults=values)
    return parts


def main(flags: list[str] | None = None):
    """The command: parses the flags and trains."""
    train_locked(*parse(flags))


def train_locked(*arguments):
    """[`train`], with the folder locked for other processes."""
    args = arguments[ARGUMENTS.index(Bert4RecTrainingArguments)]
    with directory_lock(args.output_dir) if args.process_index == 0 else nullcontext():
        train(*arguments)


def train(
    data_args: DataArguments,
    split: Split,
    model_args,
    masking_args,
    args: Bert4RecTrainingArguments,
    run: RunArguments,
):
    """From tables to a checkpoint with its card in `args.output_dir`, evaluated, and pushed if `args` say so."""
    set_seed(args.seed)
    is_main_process = args.process_index == 0

    # 1. Read the logs, fit the vocabularies on the training rows, encode
    resume = bool(args.resume_from_checkpoint)
    if resume and run.overwrite:
        raise DataError("resume_from_checkpoint and overwrite exclude each other.")
    if not run.overwrite:
        check_save_dir(args.output_dir, resume)
    elif is_main_process:
        clear_save_dir(args.output_dir, only_check=True)
    args.exclude_seen |= model_args.exclude_seen_in_loss
    interactions = read_interactions(data_args)
    split = split.of(interactions)
    windows = parse_windows(run.windows, split)
    processor = fit_processor(interactions, split, run.unknown_items)
    model = None
    if run.init_from:
        model, processor = load_and_grow(run.init_from, processor, run.revision)
    train_dataset = encode_training(interactions, processor, split)
    eval_datasets = {}
    for subset in ["validation"] * args.do_eval + ["test"] * (split.split != "none"):
        eval_datasets[subset] = encode_evaluation(
            interactions, processor, split, subset, request_time=args.request_time
        )
        check_k(args.k, processor, eval_datasets[subset], args.exclude_seen)
    if run.rivals and split.split != "none":  # they are tuned on rows that must be there
        encode_evaluation(interactions, processor, split, "validation")
    for window in windows or []:  # a window without rows fails now, not after training
        encode_evaluation(interactions, processor, split, window=window)
    if is_main_process:
        print(interactions.summary())
        num_items = len(processor.vocabulary["item_ids"])
        print(f"{len(train_dataset):,} users and {num_items:,} items train, split {split}")
        if run.auto or not run.init_from:  # the sizes of a checkpoint cannot change
            proposals = propose_settings(interactions, split, model_args.is_causal if run.auto else None)
            print(proposals_text(proposals, run.auto, data_args, model_args, masking_args, args))

    # 2. Build the model and the collator
    config = Bert4RecConfig(**processor.config_kwargs(), **asdict(model_args))
    if model is None:
        model = Bert4RecForMaskedLM(config)
        model.set_item_features(processor.item_features())
        model.set_vector_features(processor.vector_features())
    for name in asdict(model_args):
        before, now = getattr(model.config, name), getattr(config, name)
        if before != now:
            raise DataError(f"{run.init_from} has {name} {before}, not {now}; leave it out.")
    model.set_item_counts(item_counts(train_dataset, processor))
    collator = DataCollatorForItemMasking(
        processor,
        max_length=config.max_position_embeddings,
        mlm=not config.is_causal,
        seed=args.seed,
        **asdict(masking_args),
    )
    teacher = None
    if run.teacher and config.repeat_prior:
        raise DataError("a model with --repeat_prior learns from no --teacher.")
    if run.teacher:
        teacher_settings = (config.max_position_embeddings, run.teacher_weight, run.temperature, run.teacher_items)
        teacher = Teacher(*load_checkpoint(run.teacher), processor, *teacher_settings)
    stop_on_signal = StopOnSignalCallback()
    callbacks = [EMACallback(args.ema_decay)] if args.ema_decay else []
    callbacks.append(stop_on_signal)
    if args.early_stopping_patience:
        callbacks.append(EarlyStoppingCallback(args.early_stopping_patience))

    # 3. Train, and keep the whole recommender
    checkpoint = check_save_dir(args.output_dir, resume, processor, model.config) if resume else None
    try:
        # Trainer finds out about these two in the middle of a training.
        get_scheduler(args.lr_scheduler_type, SGD([torch.zeros(1)], lr=1.0), 1, 10, args.lr_scheduler_kwargs)
        check_metric(args)
        trainer = Bert4RecTrainer(
            model,
            args,
            collator,
            train_dataset=train_dataset,
            eval_dataset=eval_datasets.get("validation"),
            processing_class=processor,
            callbacks=callbacks,
            teacher=teacher,
        )
    except (
        ValueError,
        TypeError,
        RuntimeError,
    ) as error:  # an unknown tracker, settings that exclude each other
        raise error if isinstance(error, DataError) else DataError(one_line(error)) from None
    if run.overwrite and is_main_process:
        clear_save_dir(args.output_dir)
    with stop_on_signal:
        trainer.train(checkpoint if args.resume_from_checkpoint is True else args.resume_from_checkpoint)
    trainer.save_model(_internal_call=True)
    if not is_main_process:  # the rest is done by one process
        return
    if trainer.is_fsdp_enabled:  # its parameters are sharded
        model, _ = load_checkpoint(args.output_dir)

    # 4. Analyse the data, evaluate against the baselines, write the card, and push
    write_data_report(args.output_dir, analyze(interactions, split, windows))
    if "test" in eval_datasets:
        evaluation = evaluate(
            model,
            processor,
            interactions,
            split,
            k=args.k,
            exclude_seen=args.exclude_seen,
            batch_size=args.per_device_eval_batch_size,
            windows=windows,
            rivals=run.rivals,
            request_time=args.request_time,
        )
        write_evaluation_report(args.output_dir, [evaluation])
        trainer.evaluation = evaluation.report
        print(screen_text(evaluation.report))
    is_on_the_hub = run.init_from is not None and not os.path.isdir(run.init_from)
    card = {"license": run.license, "base_model": run.init_from if is_on_the_hub else None}
    trainer.create_model_card(**card)
    print(f"saved to {args.output_dir}")
    if args.push_to_hub:
        commit = push_checkpoint(
            args.output_dir,
            trainer.hub_model_id,
            args.hub_private_repo,
            args.hub_revision,
            args.hub_token,
            commit_message="End of training",
        )
        print(f"pushed to {commit.repo_url}")


def proposals_text(proposals: list[Proposal], is_auto: bool, *arguments) -> str:
    """The settings that suit the log: those taken, or those that --auto would change."""
    values = {name: value for part in arguments for name, value in vars(part).items()}
    shown = [proposal for proposal in proposals if (values[proposal.name] == proposal.value) == is_auto]
    if not shown:
        return "the settings are those that suit this log"
    lines = ["settings that suit this log" + ("" if is_auto else " (--auto takes them)")]
    for reason, group in groupby(shown, lambda proposal: proposal.reason):
        flags = [f"--{name} {value}" for name, value, _ in group]
        lines.append(f"  {' '.join(flags)}: {reason}")
    return "\n".join(lines)


def check_metric(args: Bert4RecTrainingArguments):
    """
    Checks that the metric that chooses the best checkpoint is one of those that are computed.

    Raises:
        `DataError`: if it is not.
    """
    known = [*ranking_scores(np.zeros((1, max(args.k)), dtype=np.int64), [[0]], args.k)]
    metric = (args.metric_for_best_model or known[0]).removeprefix("eval_")
    if metric not in known:
        raise DataError(f"metric_for_best_model is {metric!r}; it must be one of {', '.join(known)}.")
