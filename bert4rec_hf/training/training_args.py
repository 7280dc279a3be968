# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""`transformers.TrainingArguments` with defaults for recommenders."""

from dataclasses import MISSING, dataclass, field, fields

import torch
from transformers import TrainingArguments

from ..errors import DataError


def _field(name: str, default=MISSING, help: str | None = None) -> field:
    """The field of that name of `TrainingArguments`, with another default or help."""
    (original,) = (part for part in fields(TrainingArguments) if part.name == name)
    return field(default=default, metadata={**original.metadata, **({"help": help} if help else {})})


# Minimum values
MINIMUM = {
    "num_train_epochs": 0,
    "per_device_train_batch_size": 1,
    "per_device_eval_batch_size": 1,
    "gradient_accumulation_steps": 1,
    "learning_rate": 0,
    "weight_decay": 0,
    "warmup_steps": 0,
    "max_grad_norm": 0,
    "dataloader_num_workers": 0,
    "logging_steps": 0,
    "save_steps": 0,
    "eval_steps": 0,
    "early_stopping_patience": 0,
    "seed": 0,
    "data_seed": 0,
}


@dataclass
class Bert4RecTrainingArguments(TrainingArguments):
    r"""
    [`TrainingArguments`] for [`Bert4RecTrainer`]: other defaults, and more arguments. `do_eval` validates while
    training (each `eval_steps`, or each epoch), saves as often, and keeps the checkpoint with the best NDCG at the
    first `k`; `save_steps` makes `save_strategy` `"steps"`.

    Args:
        k (`list[int]`, *optional*, defaults to `[10, 25]`):
            Cutoffs of the ranking metrics.
        exclude_seen (`bool`, *optional*, defaults to `False`):
            Evaluate without the items of a user's history.
        request_time (`bool`, *optional*, defaults to `False`):
            Evaluate a model that reads times with the moment of each user's first target.
        ema_decay (`float`, *optional*, defaults to 0.0):
            Validate and keep the moving average of the weights, see [`EMACallback`]; 0 for none.
        early_stopping_patience (`int`, *optional*, defaults to 0):
            Stop after this many validations without improvement; 0 for never.

    Raises:
        `DataError`: for a number out of range, or settings that exclude each other.
    """

    _argument_group_name = "Training"

    output_dir: str = _field("output_dir", help="Folder of the checkpoint; new or empty, unless a run is resumed.")
    per_device_train_batch_size: int = _field("per_device_train_batch_size", 32)
    per_device_eval_batch_size: int = _field("per_device_eval_batch_size", 128)
    num_train_epochs: float = _field("num_train_epochs", 50.0)
    learning_rate: float = _field("learning_rate", 2e-3)
    weight_decay: float = _field("weight_decay", 1e-2)
    warmup_steps: float = _field("warmup_steps", 0.1)
    logging_steps: float = _field("logging_steps", 100)
    save_strategy: str = _field("save_strategy", "epoch")
    save_steps: float | None = _field("save_steps", None, "Steps between two saves; an epoch if not given.")
    save_total_limit: int | None = _field("save_total_limit", 2)
    do_eval: bool = _field("do_eval", False, "Validate while training, and keep the best checkpoint.")
    eval_steps: float | None = _field("eval_steps", None, "Steps between two validations; an epoch if not given.")
    push_to_hub: bool = _field("push_to_hub", False, "Push the recommender to the Hub when it is done.")
    seed: int = _field("seed", 1)
    ddp_find_unused_parameters: bool | None = _field("ddp_find_unused_parameters", False)
    hub_strategy: str = _field("hub_strategy", "end")
    report_to: list[str] = field(
        default_factory=lambda: ["none"],
        metadata={"help": "Trackers such as tensorboard and trackio; none or all."},
    )
    resume_from_checkpoint: str | None = field(
        default=None,
        metadata={
            "help": "Resume from this checkpoint; without a value, from the newest complete one of output_dir.",
            "nargs": "?",
            "const": "true",
        },
    )
    k: list[int] = field(default_factory=lambda: [10, 25], metadata={"help": "Lengths of the lists in the metrics."})
    exclude_seen: bool = field(default=False, metadata={"help": "Evaluate without the items of the history."})
    request_time: bool = field(
        default=False, metadata={"help": "Evaluate with the moment of the first target, for a model that reads times."}
    )
    ema_decay: float = field(
        default=0.0, metadata={"help": "Decay of the moving average of the weights, such as 0.999; 0 for none."}
    )
    early_stopping_patience: int = field(
        default=0, metadata={"help": "Stop after this many validations without improvement; 0 for never."}
    )

    def __post_init__(self):
        for name, minimum in MINIMUM.items():
            value = getattr(self, name)
            if value is not None and not value >= minimum:
                raise DataError(f"{name} is {value}; it must be at least {minimum}.")
        for name in ("seed", "data_seed"):
            if (getattr(self, name) or 0) >= 2**32:
                raise DataError(f"{name} is {getattr(self, name)}; it must be below 2**32.")
        if not 0 <= self.ema_decay < 1:
            raise DataError(f"ema_decay is {self.ema_decay}; it must be in [0, 1).")
        if self.early_stopping_patience and not self.do_eval and self.eval_strategy == "no":
            raise DataError("early_stopping_patience needs --do_eval.")
        if not self.push_to_hub and (self.hub_model_id or self.hub_private_repo or self.hub_revision):
            raise DataError("hub_model_id, hub_private_repo and hub_revision need --push_to_hub.")
        resume = str(self.resume_from_checkpoint or "false")
        self.resume_from_checkpoint = {"true": True, "false": None}.get(resume.lower(), resume)
        if self.do_eval and self.eval_strategy == "no":
            self._validate_and_keep_the_best()
        if self.save_steps is not None and self.save_strategy == "epoch":
            self.save_strategy = "steps"
        self.save_steps = self.save_steps or 500
        if not torch.accelerator.is_available():
            self.use_cpu, self.dataloader_pin_memory = True, False
        super().__post_init__()

    def _validate_and_keep_the_best(self):
        self.eval_steps = self.eval_steps or self.save_steps
        self.save_steps = self.save_steps or self.eval_steps
        self.eval_strategy = "steps" if self.eval_steps else "epoch"
        if self.eval_steps and self.save_steps % self.eval_steps:
            raise DataError(
                f"save_steps ({self.save_steps:g}) must be a multiple of eval_steps ({self.eval_steps:g})."
            )
        self.load_best_model_at_end = True
        self.metric_for_best_model = self.metric_for_best_model or f"ndcg@{self.k[0]}"
