# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""A save replaces all of an earlier one: what loads is always the newest."""

import itertools
import os

import pytest
import torch
from helpers import make_arguments, make_collator, make_model
from transformers import AutoModelForMaskedLM, pipeline

from bert4rec_hf import Bert4RecEnsembleForMaskedLM, Bert4RecProcessor, Bert4RecTrainer, load_checkpoint
from bert4rec_hf.model.weights_bert4rec import stale_weights


SIZES = ("9GB", "6KB", "12KB")  # one file, many shards, fewer shards


@pytest.fixture(scope="module")
def processor():
    return Bert4RecProcessor({"item_ids": list(range(300))})


def model_of(processor, number):
    model = make_model(processor)
    with torch.no_grad():
        model.get_input_embeddings().weight.fill_(number)
    return model


def number_in(folder):
    numbers = {
        "from_pretrained": AutoModelForMaskedLM.from_pretrained(folder),
        "load_checkpoint": load_checkpoint(str(folder))[0],
    }
    numbers = {round(model.get_input_embeddings().weight[5, 0].item()) for model in numbers.values()}
    return numbers.pop() if len(numbers) == 1 else numbers


def weights(folder):
    return sorted(name for name in os.listdir(folder) if name.startswith("model") and not name.endswith(".py"))


@pytest.mark.parametrize("sizes", itertools.permutations(SIZES, 2))
def test_the_newest_save_loads_whatever_lay_there(processor, tmp_path, sizes):
    processor.save_pretrained(tmp_path)
    counts = []
    for number, size in enumerate([*sizes, sizes[0]], start=1):
        model_of(processor, number).save_pretrained(tmp_path, max_shard_size=size)
        assert number_in(tmp_path) == number
        counts.append(len(weights(tmp_path)))
    assert counts[0] == counts[2] and len(set(counts)) == 2


def test_a_pipeline_and_an_ensemble_replace_what_lay_there(processor, tmp_path):
    processor.save_pretrained(tmp_path)
    model_of(processor, 1).save_pretrained(tmp_path, max_shard_size="6KB")
    pipe = pipeline("item-recommendation", model=str(tmp_path))
    with torch.no_grad():
        pipe.model.get_input_embeddings().weight.fill_(2)
    pipe.save_pretrained(tmp_path)
    assert number_in(tmp_path) == 2 and weights(tmp_path) == ["model.safetensors"]
    members = [model_of(processor, number) for number in (3, 4)]
    Bert4RecEnsembleForMaskedLM.from_members(members, processor).save_pretrained(tmp_path, max_shard_size="12KB")
    ensemble, _ = load_checkpoint(str(tmp_path))
    assert [round(member.get_input_embeddings().weight[5, 0].item()) for member in ensemble.members] == [3, 4]


def test_a_trainer_replaces_what_lay_there(processor, tmp_path):
    for trainer_class in (Bert4RecTrainer, __import__("transformers").Trainer):
        folder = tmp_path / trainer_class.__name__
        model_of(processor, 1).save_pretrained(folder, max_shard_size="6KB")
        trainer = trainer_class(
            model_of(processor, 2), make_arguments(folder), make_collator(processor), processing_class=processor
        )
        trainer.save_model(str(folder))
        assert number_in(folder) == 2 and weights(folder) == ["model.safetensors"]


def test_a_save_that_fails_loses_nothing(processor, tmp_path, monkeypatch):
    processor.save_pretrained(tmp_path)
    model_of(processor, 1).save_pretrained(tmp_path)

    def fail(*args, **kwargs):
        raise OSError("no space left")

    monkeypatch.setattr("transformers.modeling_utils.safe_save_file", fail)
    with pytest.raises(OSError, match="no space left"):
        model_of(processor, 2).save_pretrained(tmp_path, max_shard_size="6KB")
    assert number_in(tmp_path) == 1


def test_what_is_not_the_weights_of_a_save_stays(processor, tmp_path):
    others = {"notes.safetensors", "model.fp16.safetensors", "model-notes.txt", "adapter_model.safetensors"}
    tmp_path.mkdir(exist_ok=True)
    for name in others:
        (tmp_path / name).write_text("mine")
    for size in SIZES:
        model_of(processor, 1).save_pretrained(tmp_path, max_shard_size=size)
        assert others <= set(os.listdir(tmp_path))
    names = ["model.safetensors", "model-00001-of-00002.safetensors", "model.safetensors.index.json", "config.json"]
    assert stale_weights(names, ["model.safetensors"]) == names[1:3]
    assert stale_weights(names, names[1:3]) == names[:1]


def test_leftovers_of_other_tools_do_not_make_a_good_folder_a_bad_one(processor, tmp_path):
    """A single file is what transformers loads, whatever shards lie beside it; shards are those of the index."""
    processor.save_pretrained(tmp_path)
    model_of(processor, 1).save_pretrained(tmp_path)
    (tmp_path / "model-00001-of-00002.safetensors").write_bytes(b"old")
    assert number_in(tmp_path) == 1
    (tmp_path / "model-00001-of-00002.safetensors").unlink()
    model_of(processor, 2).save_pretrained(tmp_path, max_shard_size="12KB")
    (tmp_path / "model-00009-of-00009.safetensors").write_bytes(b"old")
    assert number_in(tmp_path) == 2
