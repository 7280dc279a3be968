# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Settings that a log suggests."""

import numpy as np
import pyarrow as pa
import pytest

from bert4rec_hf import DataArguments, Split, read_interactions
from bert4rec_hf.training.proposals import propose_settings


def log_of(num_users, length, num_items, repeats=0.0):
    """Users with `length` events each, of which a share repeats the first item."""
    generator = np.random.default_rng(0)
    items = np.stack([1 + generator.permutation(num_items - 1)[:length] for _ in range(num_users)])
    items[:, 1:][generator.random((num_users, length - 1)) < repeats] = 0
    items[:, 0] = 0
    user = np.repeat(np.arange(num_users), length)
    log = pa.table({"profile_id": user, "album_id": items.ravel(), "log_time": np.tile(np.arange(length), num_users)})
    return read_interactions(DataArguments(item_features=[], user_features=[]), log)


@pytest.mark.parametrize(
    "sizes, expected",
    [
        (
            {"num_users": 300, "length": 60, "num_items": 90},
            {"is_causal": True, "exclude_seen": True, "exclude_seen_in_loss": True, "max_position_embeddings": 100}
            | {"per_device_train_batch_size": 16, "hidden_size": 64, "num_hidden_layers": 2, "repeat_prior": False},
        ),
        (
            {"num_users": 15_000, "length": 8, "num_items": 900},
            {"exclude_seen": True, "exclude_seen_in_loss": False, "max_position_embeddings": 50}
            | {"per_device_train_batch_size": 64, "hidden_size": 64},
        ),
        ({"num_users": 7000, "length": 80, "num_items": 90}, {"num_hidden_layers": 4, "hidden_size": 128}),
        (
            {"num_users": 300, "length": 60, "num_items": 90, "repeats": 0.5},
            {"is_causal": False, "repeat_prior": True, "exclude_seen": False, "exclude_seen_in_loss": False},
        ),
        (
            {"num_users": 300, "length": 60, "num_items": 90, "repeats": 0.1},
            {"is_causal": True, "repeat_prior": False, "exclude_seen": False, "exclude_seen_in_loss": False},
        ),
    ],
)
def test_by_the_logs_size_lengths_and_repeats(sizes, expected):
    proposals = propose_settings(log_of(**sizes), Split())
    values = {proposal.name: proposal.value for proposal in proposals}
    assert len(values) == len(proposals)
    assert {name: values[name] for name in expected} == expected


def test_a_masked_model_has_settings_of_its_own():
    log = log_of(7000, 60, 90)
    causal, masked = (
        {p.name: p.value for p in propose_settings(log, Split(), is_causal)} for is_causal in (None, False)
    )
    assert causal["is_causal"] and not masked["is_causal"]
    assert masked["num_train_epochs"] > causal["num_train_epochs"]
    assert propose_settings(log, Split(), True) == propose_settings(log, Split())
