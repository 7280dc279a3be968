# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Settings that suit a log, by its size, the lengths of its histories and its repeats."""

from typing import Any, NamedTuple

import numpy as np

from ..data.interactions import Interactions
from ..data.splits import Split


# Lengths of sequences: the first that nine of ten histories fit in, or the last.
LENGTHS = (50, 100, 200)
# Median events of a training history from which histories are long.
LONG_HISTORY = 10
# Mean share of the catalogue in a history from which leaving it out of the softmax matters.
SHARE_OF_CATALOGUE = 0.03
# Training events from which a wider, and a deeper model is worth its time.
WIDE, DEEP = 150_000, 500_000
# Steps of a training, within a range of epochs: more epochs on smaller logs.
STEPS_CAUSAL, STEPS_CAUSAL_SHORT, STEPS_MASKED, EPOCHS = 5_700, 12_000, 16_000, (5, 100)
# Share of the training events whose item the user had before, up to which nobody repeats; and from which most do.
REPEATS = (0.001, 0.3)


class Proposal(NamedTuple):
    """A setting of train.py by the name of its field, and why."""

    name: str
    value: Any
    reason: str


def propose_settings(interactions: Interactions, split: Split, is_causal: bool | None = None) -> list[Proposal]:
    """
    Settings for training on a log, from its training rows alone: one rule for all logs. Its thresholds lie between
    the logs that it was measured on; see examples/benchmarks/README.md.

    Args:
        split ([`Split`]): which rows train.
        is_causal (`bool`, *optional*): for a causal model or for a masked one; by default the better for the log.
    """
    rows = split.apply(interactions).fitted_rows
    user, item = interactions.user[rows], interactions.item[rows]
    lengths = np.bincount(user)
    lengths = lengths[lengths > 0]
    num_users, num_events = len(lengths), len(user)
    median, long = np.quantile(lengths, (0.5, 0.9)).astype(int)
    pairs = np.unique(user.astype(np.int64) * len(interactions.item_ids) + item)
    repeats = 1 - len(pairs) / num_events
    proposals = []

    def propose(reason: str, **settings):
        proposals.extend(Proposal(name, value, reason) for name, value in settings.items())

    few, most = REPEATS
    nobody_repeats, has_long_histories = repeats <= few, median >= LONG_HISTORY
    share = f"{repeats:.1%} of the events repeat an item of the user"
    if is_causal is None:
        is_causal = repeats < most
    propose(share, is_causal=is_causal, repeat_prior=repeats >= most and not is_causal)
    propose(share, exclude_seen=nobody_repeats)
    in_history = len(pairs) / num_users / len(np.unique(item))
    propose(
        f"{share}, and a history has {in_history:.1%} of the catalogue on average",
        exclude_seen_in_loss=nobody_repeats and in_history >= SHARE_OF_CATALOGUE,
    )
    max_length = next((length for length in LENGTHS if long <= length), LENGTHS[-1])
    propose(f"one history of ten has more than {long} events", max_position_embeddings=max_length, window="random")
    batch_size = int(2 ** np.round(np.log2(np.clip(num_users / 190, 16, 64))))
    propose(f"{num_users:,} users", per_device_train_batch_size=batch_size)
    is_wide, is_deep = num_events >= WIDE, num_events >= DEEP
    propose(
        f"{num_events:,} events",
        hidden_size=128 if is_wide else 64,
        num_attention_heads=4 if is_wide else 2,
        num_hidden_layers=4 if is_deep and is_causal else 2,
    )
    steps_per_epoch = max(num_users // batch_size, 1)

    def epochs(num_steps: int) -> int:
        return int(np.clip(round(num_steps / steps_per_epoch), *EPOCHS))

    if repeats >= most and not is_causal:
        kind = "what users had before is predicted from their history, in rows where it is hidden"
        propose(kind, mlm_probability=0.8, last_item_probability=0.2, last_items=50, weight_decay=0.1)
        propose(kind, num_train_epochs=40, learning_rate=2e-3, hidden_dropout_prob=0.3)
    elif is_causal and has_long_histories:
        kind = f"each event is a target, half of the histories have {median} or more"
        propose(kind, mlm_probability=0.3, learning_rate=2e-3)
        propose(kind, num_train_epochs=epochs(STEPS_CAUSAL), hidden_dropout_prob=0.3 if is_deep else 0.4)
    elif is_causal:
        kind = f"each event is a target, half of the histories have {median} or fewer"
        propose(kind, mlm_probability=0.2, learning_rate=5e-4, lr_scheduler_type="constant", ema_decay=0.999)
        propose(kind, num_train_epochs=epochs(STEPS_CAUSAL_SHORT), hidden_dropout_prob=0.5)
    else:
        kind = f"masked events are targets, half of the histories have {median} or more"
        propose(kind, mlm_probability=0.2 if has_long_histories else 0.4, learning_rate=3e-3)
        propose(kind, num_train_epochs=epochs(STEPS_MASKED), hidden_dropout_prob=0.1 if has_long_histories else 0.3)
    return proposals
