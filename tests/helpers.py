# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""What several test files share."""

import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from packaging.version import Version
from transformers import TrainingArguments

from bert4rec_hf import (
    Bert4RecConfig,
    Bert4RecEnsembleForMaskedLM,
    Bert4RecForMaskedLM,
    Bert4RecProcessor,
    DataArguments,
    DataCollatorForItemMasking,
    Split,
    read_interactions,
)
from bert4rec_hf.__main__ import main


def make_arguments(output_dir, **kwargs):
    defaults = {
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "no",
        "num_train_epochs": 1,
    }
    return TrainingArguments(str(output_dir), **(defaults | kwargs))


def make_processor() -> Bert4RecProcessor:
    """Fifty items, "i0" to "i49", with a genre and up to three keywords; users with a sex and an age."""
    return Bert4RecProcessor(
        {
            "item_ids": [f"i{n}" for n in range(50)],
            "titles": [f"제목 {n}" for n in range(50)],
            "item_features": [
                {"name": "genre", "max_values": 1, "values": ["노래", "동화"]},
                {"name": "keyword", "max_values": 3, "values": ["가", "나", "다", "라"]},
            ],
            "item_feature_values": [
                [[1 + n % 2] for n in range(50)],
                [[1 + n % 4, 1 + (n + 1) % 4][: n % 3] for n in range(50)],
            ],
            "user_features": [{"name": "sex", "values": ["F", "M"]}, {"name": "age", "values": ["3", "7"]}],
        }
    )


def make_processor_of_every_kind() -> Bert4RecProcessor:
    """[`make_processor`], with numbers, several values of a user, two vectors of an item, and times."""
    vocabulary = make_processor().vocabulary
    item_features = [*vocabulary["item_features"], {"name": "minutes", "max_values": 1, "values": [5, 12.5, 40]}]
    user_features = [{"name": "age", "values": [3, 7]}, {"name": "likes", "values": ["동화", "노래"], "max_values": 3}]
    minutes = [[1 + n % 3] if n % 5 else [] for n in range(50)]
    processor = Bert4RecProcessor(
        vocabulary
        | {
            "item_features": item_features,
            "item_feature_values": [*vocabulary["item_feature_values"], minutes],
            "user_features": [vocabulary["user_features"][0], *user_features],
        },
        data={"time_intervals": "attention"},
    )
    draws = np.random.default_rng(0).normal(size=(50, 11))
    processor.set_vectors({"picture": draws[:, :8] * (np.arange(50) % 4 > 0)[:, None], "text": draws[:, 8:]})
    return processor


def make_model(processor, **kwargs):
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 16}
    model = Bert4RecForMaskedLM(Bert4RecConfig(**processor.config_kwargs(), **(sizes | kwargs)))
    model.set_item_features(processor.item_features())
    model.set_vector_features(processor.vector_features())
    return model


def make_collator(processor, **kwargs):
    return DataCollatorForItemMasking(processor, max_length=16, **kwargs)


def is_before(package, version):
    return Version(metadata.version(package)) < Version(version)


# Decorators of transformers cannot be traced by torch 2.6: ModernBert cannot be compiled there either.
TRACES = pytest.mark.skipif(is_before("torch", "2.7"), reason="torch 2.6 does not trace transformers' decorators")


EXAMPLES = Path(__file__).parents[1] / "examples"


SMALL = ["--hidden_size", "16", "--num_head", "2", "--intermediate_size", "32", "--max_length", "16"]


def run(monkeypatch, command, *arguments):
    """`bert4rec-hf command ...`, in this process, so that torch is loaded once."""
    monkeypatch.setattr(sys, "argv", ["bert4rec-hf", command, *map(str, arguments)])
    main()


def labels_for(inputs):
    labels = inputs["input_ids"].clone()
    labels[:, ::2] = -100
    return labels.masked_fill(inputs["attention_mask"] == 0, -100)


def pad_left(inputs, more=0):
    """The same histories, padded on the left, by `more` positions beyond the longest."""
    rows, width = inputs["input_ids"].shape
    padded = torch.zeros(rows, width + more, dtype=torch.long)
    for row, length in enumerate(inputs["attention_mask"].sum(1).tolist()):
        padded[row, width + more - length :] = inputs["input_ids"][row, :length]
    return {**inputs, "input_ids": padded, "attention_mask": (padded != 0).long()}


def make(events, split="leave_one_out", profiles=None, items=None, keywords=None, **arguments):
    """Interactions of (user, item) events, one a second, and a split of them."""
    users, watched = zip(*events)
    history = {"profile_id": users, "album_id": watched, "log_time": [20220301000000 + n for n in range(len(events))]}
    arguments = {"item_features": [], "user_features": []} | arguments
    tables = {"profiles": profiles, "items": items, "keywords": keywords}
    files = {"profiles": "profile_data_file", "items": "meta_data_file", "keywords": "meta_data_plus_file"}
    absent = {files[name]: "none" for name, table in tables.items() if table is None}
    tables = {name: pa.table(table) for name, table in tables.items() if table is not None}
    interactions = read_interactions(DataArguments(**arguments, **absent), pa.table(history), **tables)
    return interactions, Split(split)


CODE = {
    f"{part}_bert4rec.py"
    for part in (
        *("configuration", "layers", "loss", "masking", "modeling", "pipeline", "processing", "ranking"),
        *("recommendation", "vocabulary", "weights"),
    )
} | {"modeling_bert4rec_ensemble.py"}


# A process that has what `pip install transformers[torch]` brings, and nothing else of what we need
WITHOUT_THE_PACKAGE = """
import sys
for name in ("bert4rec_hf", "datasets", "evaluate", "pyarrow", "pandas"):
    sys.modules[name] = None
"""


def random_log(seed=0, num_users=40, num_items=30, num_days=120):
    """Interactions over four months, with repeats, items that come late and users who do; and a split at April."""
    generator = np.random.default_rng(seed)
    size = 500
    day = np.sort(generator.integers(num_days, size=size))
    item = generator.integers(1 + day * num_items // num_days)  # the catalogue grows
    user = generator.integers(np.minimum(num_users, 10 + day), size=size)
    dates = np.datetime64("2022-02-01") + day
    log = {"profile_id": user, "album_id": item, "log_time": dates.astype("datetime64[us]")}
    items = {"album_id": np.arange(num_items), "genre": [f"g{n % 3}" if n % 5 else None for n in range(num_items)]}
    arguments = DataArguments(
        item_features=["genre"], user_features=[], profile_data_file="none", meta_data_plus_file="none"
    )
    interactions = read_interactions(arguments, pa.table(log), items=pa.table(items))
    return interactions, Split("temporal", "2022-04-01"), log


KINDS = {
    "masked": {},
    "causal": {"is_causal": True},
    "prior": {"repeat_prior": True},
    "unseen": {"is_causal": True, "exclude_seen_in_loss": True},
}


def model_of(processor, kind):
    """A model of each kind, with weights large enough for differences to show; "ensemble": of all of them."""
    if kind == "ensemble":
        members = [model_of(processor, kind) for kind in KINDS if kind != "unseen"]
        return Bert4RecEnsembleForMaskedLM.from_members(members, processor, weights=[1, 2, 3])
    model = make_model(processor, initializer_range=0.3, **KINDS[kind]).eval()
    torch.nn.init.normal_(model.decoder.bias)
    if model.model.time_bias is not None:
        torch.nn.init.normal_(model.model.time_bias.weight)
    if model.repeat_prior is not None:
        torch.nn.init.normal_(model.repeat_prior.proj.weight, std=0.3)
    return model
