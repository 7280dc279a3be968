# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Typos are refused where users type; what other versions of transformers or users noted in a file is kept."""

import json

import pytest
from transformers import AutoConfig, AutoModelForMaskedLM

from bert4rec_hf import Bert4RecConfig, Bert4RecEnsembleConfig, Bert4RecForMaskedLM, load_checkpoint


SMALL = {"vocab_size": 20, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8}


def edit(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize("config_class", [Bert4RecConfig, Bert4RecEnsembleConfig])
def test_a_mistyped_argument_is_refused_with_the_right_name(config_class):
    with pytest.raises(ValueError, match="vocab_sise: no such setting of .*; is it vocab_size?"):
        config_class(vocab_sise=3)
    with pytest.raises(ValueError, match="colour: no such setting of .*; remove it"):
        config_class(colour="red")


def test_a_mistyped_argument_is_refused_where_a_checkpoint_is_loaded(tmp_path):
    Bert4RecForMaskedLM(Bert4RecConfig(**SMALL)).save_pretrained(tmp_path)
    for loader in (Bert4RecConfig, AutoConfig):
        with pytest.raises(ValueError, match="hiden_size: no such setting of Bert4RecConfig; is it hidden_size?"):
            loader.from_pretrained(tmp_path, hiden_size=3)
        assert loader.from_pretrained(tmp_path, hidden_dropout_prob=0.3).hidden_dropout_prob == 0.3
    with pytest.raises(TypeError, match="hiden_size"):
        AutoModelForMaskedLM.from_pretrained(tmp_path, hiden_size=3)


def test_settings_of_transformers_are_none_of_our_typos():
    config = Bert4RecConfig(
        **SMALL,
        return_dict=True,
        output_attentions=False,
        torch_dtype="float32",
        num_labels=5,
        use_cache=False,
        attn_implementation="eager",
        architectures=["X"],
        id2label={0: "a"},
        problem_type=None,
        name_or_path="here",
    )
    assert config._attn_implementation == "eager" and Bert4RecConfig(**config.to_dict()).vocab_size == 20


def test_notes_and_settings_of_other_versions_come_back(tmp_path, processor, model):
    model.config.my_note = {"who": "제작팀"}
    model.config.use_cache = False  # Trainer sets that
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    edit(tmp_path, future_transformers_key=[1], is_decoder=False)
    for config in (Bert4RecConfig.from_pretrained(tmp_path), load_checkpoint(str(tmp_path))[0].config):
        assert (config.my_note, config.future_transformers_key) == ({"who": "제작팀"}, [1])
    load_checkpoint(str(tmp_path))[0].save_pretrained(tmp_path / "again")
    assert json.loads((tmp_path / "again" / "config.json").read_text())["my_note"] == {"who": "제작팀"}


@pytest.mark.parametrize(
    "values, words",
    [
        ({"hidden_sise": 32}, "hidden_sise: no such setting of Bert4RecConfig; is it hidden_size?"),
        ({"to_dict": 3}, "to_dict: no such setting"),
        ({"_attn_implementation": "kernels-community/flash-attn"}, "_attn_implementation: no such setting"),
    ],
)
def test_what_a_file_must_not_say_is_refused(tmp_path, values, words):
    Bert4RecConfig(**SMALL).save_pretrained(tmp_path)
    edit(tmp_path, **values)
    with pytest.raises(ValueError, match=words):
        Bert4RecConfig.from_pretrained(tmp_path)
