# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""HuggingFace-native BERT4Rec: recommenders that train with Trainer, load with AutoModel and live on the Hub."""

import importlib
import importlib.abc
import importlib.machinery
import sys


__version__ = "0.1.0"

_import_structure = {
    "configuration_bert4rec": ["Bert4RecConfig", "Bert4RecEnsembleConfig"],
    "modeling_bert4rec": [
        "Bert4RecForMaskedLM",
        "Bert4RecModel",
        "Bert4RecPreTrainedModel",
    ],
    "modeling_bert4rec_ensemble": ["Bert4RecEnsembleForMaskedLM"],
    "ranking_bert4rec": ["Bert4RecRecommendationOutput"],
    "processing_bert4rec": ["Bert4RecProcessor"],
    "pipeline_bert4rec": ["ItemRecommendationPipeline"],
    "tables": ["DataError"],
    "interactions": ["DataArguments", "Interactions", "read_interactions"],
    "splits": ["Split", "Window", "parse_windows"],
    "encoding": ["encode_evaluation", "encode_histories", "encode_training", "fit_processor", "item_counts"],
    "data_collator": ["DataCollatorForHistories", "DataCollatorForItemMasking"],
    "baselines": ["fit_baselines"],
    "evaluation": [
        "Evaluation",
        "check_k",
        "compare",
        "evaluate",
        "metrics_table",
        "recommend_all",
        "write_submission",
    ],
    "analysis": ["analyze"],
    "reports": [
        "comparison_text",
        "ensemble_text",
        "evaluation_text",
        "read_users",
        "write_data_report",
        "write_evaluation_report",
    ],
    "growth": ["add_items", "load_and_grow"],
    "hub": ["load_checkpoint", "load_ensemble", "load_processor", "push_checkpoint", "push_metric"],
    "selection": ["select_members"],
    "distillation": ["Teacher"],
    "saving": ["newest_whole_checkpoint", "only_writer", "written_aside"],
    "trainer": ["Bert4RecTrainer", "EMACallback", "StopOnSignalCallback", "check_save_dir", "clear_save_dir"],
    "model_card": ["write_model_card"],
    "sample_data": ["write_sample_data"],
    "arguments": ["as_flags", "check_output_file", "check_report_dir", "parse_arguments", "read_settings", "run"],
}
_module_of = {name: module for module, names in _import_structure.items() for name in names}

__all__ = list(_module_of)


def __getattr__(name: str):
    if name not in _module_of:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_module_of[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


# The Auto classes and `pipeline` know the model as soon as the package is imported, and importing it stays quick:
# registering classes would load torch, so a table that transformers has not loaded yet gets its entry when it is.
_auto_tables = {
    "transformers.models.auto.configuration_auto": {
        "CONFIG_MAPPING_NAMES": {"bert4rec": "Bert4RecConfig", "bert4rec_ensemble": "Bert4RecEnsembleConfig"}
    },
    "transformers.models.auto.modeling_auto": {
        "MODEL_MAPPING_NAMES": {"bert4rec": "Bert4RecModel"},
        "MODEL_FOR_MASKED_LM_MAPPING_NAMES": {
            "bert4rec": "Bert4RecForMaskedLM",
            "bert4rec_ensemble": "Bert4RecEnsembleForMaskedLM",
        },
    },
    "transformers.models.auto.processing_auto": {
        "PROCESSOR_MAPPING_NAMES": dict.fromkeys(("bert4rec", "bert4rec_ensemble"), "Bert4RecProcessor")
    },
}


def _register(module):
    if module.__name__ == "transformers.pipelines":
        # By name, as transformers' own: the class would import this very module.
        impl = f"{__name__}.pipeline_bert4rec.ItemRecommendationPipeline"
        task = {"impl": impl, "pt": (module.AutoModelForMaskedLM,), "type": "text"}
        module.PIPELINE_REGISTRY.supported_tasks["item-recommendation"] = task
    for table, names in _auto_tables.get(module.__name__, {}).items():
        getattr(module, table).update(names)


class _RegisterOnImport(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname, path, target=None):
        if fullname not in (*_auto_tables, "transformers.pipelines"):
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        exec_module = spec.loader.exec_module

        def exec_and_register(module):
            exec_module(module)
            _register(module)

        spec.loader.exec_module = exec_and_register
        return spec


if any(name in sys.modules for name in _auto_tables):
    from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, AutoProcessor

    from .configuration_bert4rec import Bert4RecConfig, Bert4RecEnsembleConfig
    from .modeling_bert4rec import Bert4RecForMaskedLM, Bert4RecModel
    from .modeling_bert4rec_ensemble import Bert4RecEnsembleForMaskedLM
    from .processing_bert4rec import Bert4RecProcessor

    AutoConfig.register("bert4rec", Bert4RecConfig)
    AutoModel.register(Bert4RecConfig, Bert4RecModel)
    AutoModelForMaskedLM.register(Bert4RecConfig, Bert4RecForMaskedLM)
    AutoProcessor.register(Bert4RecConfig, Bert4RecProcessor)
    AutoConfig.register("bert4rec_ensemble", Bert4RecEnsembleConfig)
    AutoModelForMaskedLM.register(Bert4RecEnsembleConfig, Bert4RecEnsembleForMaskedLM)
    AutoProcessor.register(Bert4RecEnsembleConfig, Bert4RecProcessor)
    _auto_tables.clear()
else:
    for model_type in ("bert4rec", "bert4rec_ensemble"):
        sys.modules[f"transformers.models.{model_type}"] = sys.modules[__name__]
sys.meta_path.insert(0, _RegisterOnImport())
if "transformers.pipelines" in sys.modules:
    _register(sys.modules["transformers.pipelines"])
