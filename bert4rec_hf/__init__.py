# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""HuggingFace-native BERT4Rec: recommenders that train with Trainer, load with AutoModel and live on the Hub."""

import ast
import importlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, AutoProcessor
from transformers.pipelines import PIPELINE_REGISTRY

from .errors import DataError
from .model.configuration_bert4rec import Bert4RecConfig, Bert4RecEnsembleConfig
from .model.modeling_bert4rec import Bert4RecForMaskedLM, Bert4RecModel, Bert4RecPreTrainedModel
from .model.modeling_bert4rec_ensemble import Bert4RecEnsembleForMaskedLM
from .model.pipeline_bert4rec import ItemRecommendationPipeline
from .model.processing_bert4rec import Bert4RecProcessor


if TYPE_CHECKING:  # imported at first use: a service that only recommends needs neither datasets nor Trainer
    from .data.collators import DataCollatorForHistories, DataCollatorForItemMasking
    from .data.encoding import encode_evaluation, encode_training, fit_processor
    from .data.interactions import DataArguments, read_interactions
    from .data.sample_data import write_sample_data
    from .data.splits import Split, SplitLog, parse_windows
    from .evaluation.analysis import analyze
    from .evaluation.comparison import compare
    from .evaluation.evaluator import RankingEvaluator, write_submission
    from .evaluation.selection import select_members
    from .evaluation.windows import evaluate
    from .hub.card import write_model_card
    from .hub.growth import add_items
    from .hub.load import load_checkpoint, load_ensemble, load_processor
    from .hub.push import push_checkpoint, push_metric
    from .serving.export import export_model
    from .serving.live import LivePipeline
    from .training.callbacks import EMACallback, StopOnSignalCallback
    from .training.distillation import Teacher
    from .training.trainer import Bert4RecTrainer
    from .training.training_args import Bert4RecTrainingArguments

__version__ = "0.1.0"

__all__ = [
    "Bert4RecConfig",
    "Bert4RecEnsembleConfig",
    "Bert4RecEnsembleForMaskedLM",
    "Bert4RecForMaskedLM",
    "Bert4RecModel",
    "Bert4RecPreTrainedModel",
    "Bert4RecProcessor",
    "DataError",
    "ItemRecommendationPipeline",
    "DataArguments",
    "read_interactions",
    "Split",
    "SplitLog",
    "parse_windows",
    "fit_processor",
    "encode_training",
    "encode_evaluation",
    "DataCollatorForHistories",
    "DataCollatorForItemMasking",
    "write_sample_data",
    "RankingEvaluator",
    "evaluate",
    "write_submission",
    "compare",
    "select_members",
    "analyze",
    "load_checkpoint",
    "load_ensemble",
    "load_processor",
    "push_checkpoint",
    "push_metric",
    "write_model_card",
    "add_items",
    "export_model",
    "LivePipeline",
    "Bert4RecTrainer",
    "Bert4RecTrainingArguments",
    "EMACallback",
    "StopOnSignalCallback",
    "Teacher",
]


@cache
def _module_of() -> dict[str, str]:
    """The names imported for type checkers, each with its module."""
    blocks = (node for node in ast.parse(Path(__file__).read_text(encoding="utf-8")).body if isinstance(node, ast.If))
    return {alias.name: node.module for block in blocks for node in block.body for alias in node.names}


def __getattr__(name: str):
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_module_of()[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


AutoConfig.register("bert4rec", Bert4RecConfig, exist_ok=True)
AutoModel.register(Bert4RecConfig, Bert4RecModel, exist_ok=True)
AutoModelForMaskedLM.register(Bert4RecConfig, Bert4RecForMaskedLM, exist_ok=True)
AutoProcessor.register(Bert4RecConfig, Bert4RecProcessor, exist_ok=True)

AutoConfig.register("bert4rec_ensemble", Bert4RecEnsembleConfig, exist_ok=True)
AutoModelForMaskedLM.register(Bert4RecEnsembleConfig, Bert4RecEnsembleForMaskedLM, exist_ok=True)
AutoProcessor.register(Bert4RecEnsembleConfig, Bert4RecProcessor, exist_ok=True)

PIPELINE_REGISTRY.register_pipeline(
    "item-recommendation", pipeline_class=ItemRecommendationPipeline, pt_model=AutoModelForMaskedLM, type="text"
)
