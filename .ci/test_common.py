# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""transformers' tests of every model on ours, with features of every kind; see .ci/common."""

import inspect
import unittest

import torch
from tests.test_configuration_common import ConfigTester
from tests.test_modeling_common import ModelTesterMixin, ids_tensor

from bert4rec_hf import Bert4RecConfig, Bert4RecForMaskedLM, Bert4RecModel


class ModelTester:
    """What the tests ask for: sizes, a config and a batch."""

    batch_size, seq_length, is_training = 13, 7, True
    hidden_size, num_hidden_layers, num_attention_heads = 32, 2, 4

    def __init__(self, settings):
        self.settings = settings

    def prepare_config_and_inputs_for_common(self):
        config = Bert4RecConfig(
            vocab_size=99,
            hidden_size=self.hidden_size,
            intermediate_size=37,
            max_position_embeddings=64,
            item_features=[
                {"name": "genre", "num_values": 5, "max_values": 2},
                {"name": "minutes", "num_values": 4, "max_values": 1},
            ],
            user_features=[{"name": "sex", "num_values": 3}, {"name": "likes", "num_values": 4, "max_values": 2}],
            vector_features=[{"name": "text", "size": 8}],
            **self.settings,
        )
        shape = [self.batch_size, self.seq_length]
        input_ids = ids_tensor(shape, 96) + 3
        return config, {
            "input_ids": input_ids,
            "attention_mask": torch.ones_like(input_ids),
            "user_features": ids_tensor([self.batch_size, 3], 3),
            "timestamps": 10**9 + ids_tensor(shape, 1000).cumsum(1),
        }


class Tests(ModelTesterMixin):
    all_model_classes = (Bert4RecModel, Bert4RecForMaskedLM)

    def setUp(self):
        self.model_tester = ModelTester(self.settings)
        self.config_tester = ConfigTester(
            self, config_class=Bert4RecConfig, hidden_size=32, num_hidden_layers=2, num_attention_heads=4
        )

    def test_config(self):
        self.config_tester.run_common_tests()

    def _prepare_for_class(self, inputs_dict, model_class, return_labels=False):
        inputs = dict(inputs_dict)
        if return_labels:
            input_ids = inputs["input_ids"].clone()
            labels = torch.full_like(input_ids, -100)
            if self.settings.get("is_causal"):
                labels[:, :-1] = input_ids[:, 1:]
            else:
                labels[:, 2], input_ids[:, 2] = input_ids[:, 2], 1  # MASK
            inputs |= {"input_ids": input_ids, "labels": labels}
        return inputs


def of_the_head_alone(test):
    """Their tests of training leave out base models by names that they know."""

    def run(self, *args, **kwargs):
        self.all_model_classes = (Bert4RecForMaskedLM,)
        test(self, *args, **kwargs)

    return run


for name, method in inspect.getmembers(ModelTesterMixin, inspect.isfunction):
    if name.startswith(("test_training", "check_training")):
        setattr(Tests, name, of_the_head_alone(method))


class Masked(Tests, unittest.TestCase):
    settings = {"time_intervals": "attention"}


class Causal(Tests, unittest.TestCase):
    settings = {"time_intervals": "input", "is_causal": True}


del Tests
