# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Saves checkpoints with what they recommend, or loads them, without the package, and compares."""

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


KINDS = ("masked", "causal", "ensemble")
TIMES = {"times": [1_600_000_000, 1_600_000_060, None], "request_time": 1_600_086_400}
USERS = [{"history": ["a", "가", "c"], "profile": {"age": 4}, **TIMES}, {"history": [], "profile": {}}]


def save(folder: Path):
    from bert4rec_hf import Bert4RecConfig, Bert4RecEnsembleForMaskedLM, Bert4RecForMaskedLM, Bert4RecProcessor

    vocabulary = {
        "item_ids": ["a", "가", "c", "d"],
        "titles": ["A", "나", None, "D"],
        "item_features": [{"name": "genre", "max_values": 2, "values": ["x", "y"]}],
        "item_feature_values": [[[1], [1, 2], [], [2]]],
        "user_features": [{"name": "age", "values": [4, 9.5]}, {"name": "likes", "values": ["x"], "max_values": 2}],
    }
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "initializer_range": 0.5}
    for kind in KINDS:
        processor = Bert4RecProcessor(vocabulary, is_causal=kind == "causal", data={"time_intervals": "input"})
        processor.set_vectors({"text": [[1, 2, 4], [0, 0, 0], [3, 1, 1], [-1, 0, 7]]})
        options = {"is_causal": True, "repeat_prior": True} if kind == "causal" else {}
        torch.manual_seed(0)
        config = Bert4RecConfig(**processor.config_kwargs(), **sizes, **options)
        members = [Bert4RecForMaskedLM(config).eval() for _ in range(2)]
        for model in members:
            model.set_item_features(processor.item_features())
            model.set_vector_features(processor.vector_features())
        model = Bert4RecEnsembleForMaskedLM.from_members(members, processor) if kind == "ensemble" else members[0]
        model.save_pretrained(folder / kind)
        processor.save_pretrained(folder / kind)
        columns = ("history", "profile", "times", "request_time")
        histories, profiles, times, moments = ([user.get(name) for user in USERS] for name in columns)
        inputs = processor(histories, profiles, times=[times[0], []], request_times=moments)
        save_file({"scores": model.recommend(**inputs, k=4).scores}, folder / kind / "expected.safetensors")


def load(folder: Path):
    sys.modules["bert4rec_hf"] = None  # cannot be imported
    from transformers import pipeline

    for kind in KINDS:
        recommend = pipeline("item-recommendation", model=str(folder / kind), trust_remote_code=True)
        scores = [[item["score"] for item in items] for items in recommend(USERS, k=4)]
        expected = load_file(folder / kind / "expected.safetensors")["scores"]
        torch.testing.assert_close(torch.tensor(scores), expected, atol=1e-5, rtol=1e-5)


if __name__ == "__main__":
    import transformers

    {"save": save, "load": load}[sys.argv[1]](Path(sys.argv[2]))
    print(f"{sys.argv[1]} by transformers {transformers.__version__}, torch {torch.__version__}: {', '.join(KINDS)}")
