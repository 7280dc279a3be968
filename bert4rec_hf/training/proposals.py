# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Settings that suit a log, by its size, the lengths of its histories and its repeats."""

from typing import Any, NamedTuple

import numpy as np

from ..data.interactions import Interactions
from ..data.splits import Split


class Proposal(NamedTuple):
    """A setting of train.py by the name of its field, and why."""

    name: str
    value: Any
    reason: str


def propose_settings(interactions: Interactions, split: Split) -> list[Proposal]:
    """
    Settings for training on a log, from its training rows alone. The thresholds are between the logs on which they
    were measured; see examples/benchmarks/README.md.

    Args:
        split ([`Split`]): which rows train.
    """
    log = split.apply(interactions)
    rows = log.fitted_rows
    user, item = interactions.user[rows], interactions.item[rows]
    lengths = np.bincount(user)
    lengths = lengths[lengths > 0]
    num_users, num_events, median = len(lengths), len(user), int(np.median(lengths))
    pairs = np.unique(user.astype(np.int64) * len(interactions.item_ids) + item)
    repeats = 1 - len(pairs) / num_events
    long = int(np.quantile(lengths, 0.9))
    is_large, has_history = num_events >= LARGE, median >= LONG
    proposals = []

    def propose(reason: str, **settings):
        proposals.extend(Proposal(name, value, reason) for name, value in settings.items())

    max_length = next((length for length in LENGTHS if long <= length), LENGTHS[-1])
    propose(f"nine of ten histories have at most {long} events", max_position_embeddings=max_length, window="random")
    batch_size = 2 ** round(np.log2(np.clip(num_users / 190, 16, 64)))
    propose(f"{num_users:,} users", per_device_train_batch_size=int(batch_size))
    return proposals
