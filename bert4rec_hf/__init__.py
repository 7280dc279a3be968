# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""HuggingFace-native BERT4Rec: recommenders that train with Trainer, load with AutoModel and live on the Hub."""

import importlib

from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, AutoProcessor
from transformers.pipelines import PIPELINE_REGISTRY

from .errors import DataError
from .model.configuration_bert4rec import Bert4RecConfig, Bert4RecEnsembleConfig
from .model.modeling_bert4rec import Bert4RecForMaskedLM, Bert4RecModel, Bert4RecPreTrainedModel
from .model.modeling_bert4rec_ensemble import Bert4RecEnsembleForMaskedLM
from .model.pipeline_bert4rec import ItemRecommendationPipeline
from .model.processing_bert4rec import Bert4RecProcessor


__version__ = "0.1.0"

# Loaded at first use: a service that only recommends needs neither datasets nor Trainer.
_module_of = {
    "DataArguments": "data.interactions",
    "read_interactions": "data.interactions",
    "Split": "data.splits",
    "SplitLog": "data.splits",
    "parse_windows": "data.splits",
    "fit_processor": "data.encoding",
    "encode_training": "data.encoding",
    "encode_evaluation": "data.encoding",
    "DataCollatorForHistories": "data.collators",
    "DataCollatorForItemMasking": "data.collators",
    "write_sample_data": "data.sample_data",
    "RankingEvaluator": "evaluation.evaluator",
    "evaluate": "evaluation.windows",
    "write_submission": "evaluation.evaluator",
    "compare": "evaluation.comparison",
    "select_members": "evaluation.selection",
    "analyze": "evaluation.analysis",
    "load_checkpoint": "hub.load",
    "load_ensemble": "hub.load",
    "load_processor": "hub.load",
    "push_checkpoint": "hub.push",
    "push_metric": "hub.push",
    "write_model_card": "hub.card",
    "add_items": "hub.growth",
    "Bert4RecTrainer": "training.trainer",
    "Bert4RecTrainingArguments": "training.training_args",
    "EMACallback": "training.callbacks",
    "StopOnSignalCallback": "training.callbacks",
    "Teacher": "training.distillation",
}

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
    *_module_of,
]


def __getattr__(name: str):
    if name not in _module_of:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_module_of[name]}", __name__), name)


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
