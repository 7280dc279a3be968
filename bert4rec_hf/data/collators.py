# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Batches of histories: padded, and with masked items to predict."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch

from ..errors import DataError
from ..model.processing_bert4rec import Bert4RecProcessor
from ..model.vocabulary_bert4rec import NUM_SPECIAL_TOKENS


def keyed_uniform(keys: np.ndarray, size: int, stream: int) -> np.ndarray:
    """
    Random numbers that depend only on the key of their row, not on workers, resuming, or the rest of the
    batch (SplitMix64, https://doi.org/10.1145/2660193.2660195, used as a hash).

    Args:
        keys (`np.ndarray` of uint64, shape `(batch_size,)`): one for each row.
        size (`int`): number of draws per row.
        stream (`int`): selects one of the independent streams of a row.

    Returns:
        `np.ndarray` of float64 in [0, 1), shape `(batch_size, size)`.
    """
    counters = np.arange(1, size + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    keys = _mix(keys + np.array([stream], np.uint64) * np.uint64(0xD1B54A32D192ED03))
    return (_mix(keys[:, None] + counters) >> np.uint64(11)) * 2.0**-53


def _mix(values: np.ndarray) -> np.ndarray:
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _histories(features: list[dict]) -> tuple[np.ndarray, np.ndarray]:
    if "input_ids" not in features[0]:
        columns = ", ".join(features[0]) or "no columns"
        raise DataError(f"the rows have {columns}, and no input_ids, a history's token ids (see encode_items).")
    return _flatten([row["input_ids"] for row in features])


def _flatten(rows: list) -> tuple[np.ndarray, np.ndarray]:
    """Rows of different lengths, `None` for an empty one, as one concatenated array, and their lengths."""
    rows = [() if row is None else row for row in rows]
    lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    return np.concatenate([np.asarray(row, dtype=np.int64) for row in rows]), lengths


def _seconds(features: list[dict], length: np.ndarray) -> np.ndarray:
    """The times of rows of `length` items as one array; those of a row without any are unknown."""
    rows = [row.get("timestamps") for row in features]
    rows = [np.zeros(size, dtype=np.int64) if row is None or not len(row) else row for row, size in zip(rows, length)]
    seconds, sizes = _flatten(rows)
    if (sizes != length).any():
        row = int(np.argmax(sizes != length))
        raise DataError(f"row {row} of a batch has {length[row]} items and {sizes[row]} timestamps.")
    return seconds


def _pad(flat: np.ndarray, start: np.ndarray, length: np.ndarray, padding: int) -> np.ndarray:
    """Pieces of `flat` as the rows of `(num_rows, longest)`, padded on the right."""
    columns = np.arange(length.max(initial=0))
    inside = columns < length[:, None]
    places = np.where(inside, start[:, None] + columns, 0)
    return np.where(inside, flat[places] if len(flat) else 0, padding)


def _with_user_features(batch: dict, features: list[dict]) -> dict[str, torch.Tensor]:
    if len(features[0].get("user_features", ())):
        batch["user_features"] = np.asarray([row["user_features"] for row in features], dtype=np.int64)
    return {name: torch.from_numpy(values) for name, values in batch.items()}


def _join_masks(batch: dict, rows: np.ndarray, mask: int, padding: int) -> dict:
    """Keeps one MASK, the first, of those at the end of `rows` `(batch_size,)`; compacts labels with positions."""
    labelled, columns = batch["labels"] != -100, np.arange(batch["labels"].shape[1])
    first = labelled.argmax(1)[:, None]
    after_mask = rows[:, None] & (columns > first)
    order = np.argsort(~labelled, axis=1, kind="stable")[:, : labelled.sum(1).max()]
    labels = np.take_along_axis(batch["labels"], order, axis=1)
    positions = np.where(rows[:, None], first, order)
    attention_mask = np.where(after_mask, 0, batch["attention_mask"])
    width = attention_mask.sum(1).max()
    input_ids = np.where(rows[:, None] & (columns == first), mask, batch["input_ids"])
    moments = {name: np.where(after_mask, 0, batch[name])[:, :width] for name in {"timestamps"} & batch.keys()}
    return moments | {
        "input_ids": np.where(after_mask, padding, input_ids)[:, :width],
        "attention_mask": attention_mask[:, :width],
        "labels": labels,
        "target_positions": np.where(labels == -100, 0, positions),
    }


@dataclass
class DataCollatorForHistories:
    """
    Pads whole histories on the right; for [`Bert4RecForMaskedLM.recommend`].

    A batch has `input_ids` and `attention_mask` `(batch_size, longest)`, `user_features` where there are any,
    `relevant` `(batch_size, max_targets)`, padded with -100, where the rows have it, and where they have `timestamps`
    these, `(batch_size, longest + 1)`, with their `request_time`, if they have one, in the last column.
    """

    processor: Bert4RecProcessor

    def __call__(self, features: list[dict]) -> dict[str, torch.Tensor]:
        flat, length = _histories(features)
        input_ids = _pad(flat, np.cumsum(length) - length, length, self.processor.pad_token_id)
        batch = {"input_ids": input_ids, "attention_mask": (np.arange(input_ids.shape[1]) < length[:, None]) * 1}
        if "timestamps" in features[0]:
            seconds = _pad(_seconds(features, length), np.cumsum(length) - length, length, 0)
            moment = np.array([[row.get("request_time") or 0] for row in features], dtype=np.int64)
            batch["timestamps"] = np.concatenate([seconds, moment], axis=1)
        if "relevant" in features[0]:
            flat, length = _flatten([row["relevant"] for row in features])
            batch["relevant"] = _pad(flat, np.cumsum(length) - length, length, -100)
        return _with_user_features(batch, features)


@dataclass
class DataCollatorForItemMasking:
    r"""
    Masks items of histories for the model to predict (the Cloze task of BERT4Rec,
    https://huggingface.co/papers/1904.06690). At least one item per row is masked. With `mlm=False`, for causal
    models, each item is predicted from those before it, some of which are masked (word dropout,
    https://huggingface.co/papers/1511.06349).

    A batch has `input_ids`, `attention_mask` and `labels` `(batch_size, longest)`, padded on the right, and
    `user_features` where there are any. With `last_items` above 1 it has `labels` and `target_positions` `(batch_size,
    max_labels)` instead: the items to predict, and the columns that predict them. Where the rows have `timestamps`, it
    has those that each position is about: the item's or, with `mlm=False`, the next item's. They are hidden, 0, at
    random, so that the model learns to do without: in a quarter of the rows all, in a quarter none, in the others a
    share of them.

    The draws of a row depend on `seed`, on the epoch (`set_epoch`; `Bert4RecTrainer` calls it) and on the row's number
    in the column `row`. Where either is not known, as under a plain `Trainer`, they come from torch's generator, which
    `set_seed` seeds.

    Args:
        processor ([`Bert4RecProcessor`]):
            For the special tokens.
        mlm_probability (`float`, *optional*, defaults to 0.2):
            Probability that an item is masked, from 0 to 1.
        last_item_probability (`float`, *optional*, defaults to 0.1):
            Probability that only the last items of a row are masked, as in recommending.
        last_items (`int`, *optional*, defaults to 1):
            Such a row masks its last n items, n drawn from 1 to `last_items`, and never the first. One MASK replaces
            all of them, as in recommending, and predicts each: any of the next items, as in the all-action objective
            of PinnerFormer (https://huggingface.co/papers/2205.04507).
        empty_history_probability (`float`, *optional*, defaults to 0.05):
            Probability that a row is reduced to one masked item, drawn from the history, so that the model learns
            what users without history watch. Only with user features.
        max_length (`int`, *optional*, defaults to 200):
            Maximum number of items per row, at least 2.
        window (`str`, *optional*, defaults to `"last"`):
            Which items of a longer history: the `"last"`, or a `"random"` window. A random window whose last items
            are masked ends anywhere, in shorter histories too, so that the model learns to predict after any event.
        mask_replace_prob (`float`, *optional*, defaults to 1.0):
            Share of the masked items that become MASK.
        random_replace_prob (`float`, *optional*, defaults to 0.0):
            Share that become a random item; the rest is unchanged. BERT's 80/10/10 is 0.8 and 0.1.
        mlm (`bool`, *optional*):
            `False` for models whose `config.is_causal`: an input is the item before its label, or MASK before the
            first of a history, and every item is a label, masked as an input or not. `last_item_probability` and
            `last_items` have no effect then. By default the objective of the processor's checkpoint, `True` without
            a checkpoint.
        seed (`int`, *optional*, defaults to 0):
            Seed of the draws.

    Raises:
        `DataError`: for a probability or a length out of range.
    """

    processor: Bert4RecProcessor
    mlm_probability: float = 0.2
    last_item_probability: float = 0.1
    empty_history_probability: float = 0.05
    max_length: int = 200
    window: Literal["last", "random"] = "last"
    mask_replace_prob: float = 1.0
    random_replace_prob: float = 0.0
    last_items: int = 1
    mlm: bool | None = None
    seed: int = 0
    # In shared memory, so that persistent workers see it change; -1 is "not known".
    epoch: torch.Tensor = field(default_factory=lambda: torch.tensor(-1).share_memory_(), repr=False)

    def __post_init__(self):
        if self.mlm is None:
            if self.processor.is_causal is None:
                raise DataError("the processor is of an ensemble with masked and causal members; give mlm.")
            self.mlm = not self.processor.is_causal
        for name in (
            "mlm_probability",
            "last_item_probability",
            "empty_history_probability",
            "mask_replace_prob",
            "random_replace_prob",
        ):
            if not 0 <= getattr(self, name) <= 1:
                raise DataError(f"{name} is {getattr(self, name)}; it must be in [0, 1].")
        if self.mask_replace_prob + self.random_replace_prob > 1:
            raise DataError("mask_replace_prob and random_replace_prob add up to more than 1.")
        if self.max_length < 2:
            raise DataError(f"max_length is {self.max_length}; it must be at least 2.")
        if self.last_items < 1:
            raise DataError(f"last_items is {self.last_items}; it must be at least 1.")
        if not 0 <= self.seed < 2**64:
            raise DataError(f"seed is {self.seed}; it must be from 0 to 2**64 - 1.")
        if self.window not in ("last", "random"):
            raise DataError(f"window is {self.window!r}; it must be 'last' or 'random'.")

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch of the draws."""
        self.epoch.fill_(epoch)

    def __call__(self, features: list[dict]) -> dict[str, torch.Tensor]:
        keys = self._keys(features)
        flat, total = _histories(features)
        if not total.all():
            raise DataError(f"row {int(total.argmin())} of a batch has no items; leave such rows out of training.")
        has_profile = bool(len(features[0].get("user_features", ())))
        only_last, skipped, length, is_empty = self._choose_windows(keys, flat, total, has_profile)

        first = np.cumsum(total) - total + skipped
        input_ids = _pad(flat, first, length, self.processor.pad_token_id)
        attention_mask = (np.arange(input_ids.shape[1]) < length[:, None]) * 1
        if self.mlm:
            is_target = self._choose_targets(keys, input_ids, only_last)
            labels, hidden = np.where(is_target, input_ids, -100), is_target
        else:
            before = np.where(is_empty | (skipped == 0), self.processor.mask_token_id, flat[first - 1])
            labels = np.where(input_ids >= NUM_SPECIAL_TOKENS, input_ids, -100)
            input_ids = np.concatenate([before[:, None], input_ids[:, :-1]], axis=1)
            input_ids = np.where(attention_mask, input_ids, self.processor.pad_token_id)
            hidden = keyed_uniform(keys, input_ids.shape[1], stream=1) < self.mlm_probability
            hidden &= input_ids >= NUM_SPECIAL_TOKENS

        input_ids = self._replace(keys, input_ids, hidden)
        batch = {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels}
        if "timestamps" in features[0]:
            seconds = _seconds(features, total)
            share = np.clip(2 * keyed_uniform(keys, 6, stream=0)[:, 5:] - 0.5, 0, 1)
            is_hidden = keyed_uniform(keys, input_ids.shape[1], stream=4) < share
            batch["timestamps"] = np.where(is_hidden, 0, _pad(seconds, first, length, 0))
        if self.mlm and self.last_items > 1:
            batch = _join_masks(batch, only_last, self.processor.mask_token_id, self.processor.pad_token_id)
        return _with_user_features(batch, features)

    def _choose_windows(
        self, keys: np.ndarray, flat: np.ndarray, total: np.ndarray, has_profile: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """
        Chooses the items of each history for the batch.

        Returns:
            Four arrays `(batch_size,)`: whether only the last items are masked, how many items are skipped at the
            start, how many follow in the batch, and whether that is the one masked item of an empty history.
        """
        last_draw, empty_draw, end_draw, item_draw = keyed_uniform(keys, 4, stream=0).T
        only_last = last_draw < self.last_item_probability
        one = (item_draw * total).astype(np.int64)
        is_empty = (empty_draw < self.empty_history_probability) & has_profile
        is_empty &= flat[np.cumsum(total) - total + one] >= NUM_SPECIAL_TOKENS
        end = total
        if self.window == "random":
            min_end = np.where(only_last & self.mlm, np.minimum(total, 2), np.minimum(total, self.max_length))
            end = min_end + (end_draw * (total - min_end + 1)).astype(np.int64)
        length = np.minimum(end, self.max_length)
        skipped, length = np.where(is_empty, one, end - length), np.where(is_empty, 1, length)
        return only_last, skipped, length, is_empty

    def _choose_targets(self, keys: np.ndarray, input_ids: np.ndarray, only_last: np.ndarray) -> np.ndarray:
        """Which items of `input_ids` `(batch_size, longest)` are masked and predicted; at least one of each row."""
        columns, is_item = np.arange(input_ids.shape[1]), input_ids >= NUM_SPECIAL_TOKENS
        uniform = keyed_uniform(keys, input_ids.shape[1], stream=1)
        # The item with the lowest draw of a row is always masked: every row has a target.
        lowest = np.where(is_item, uniform, 2.0).argmin(1)[:, None]
        is_target = is_item & ((uniform < self.mlm_probability) | (columns == lowest))
        last = np.where(is_item, columns, -1).max(1)
        length = (input_ids != self.processor.pad_token_id).sum(1)
        max_masked = np.clip(np.minimum(self.last_items, length - 1), 1, None)
        num_masked = 1 + (keyed_uniform(keys, 5, stream=0)[:, 4] * max_masked).astype(np.int64)
        is_last = is_item & (columns > (last - num_masked)[:, None])
        return np.where(only_last[:, None], is_last, is_target)

    def _replace(self, keys: np.ndarray, input_ids: np.ndarray, hidden: np.ndarray) -> np.ndarray:
        """`input_ids` `(batch_size, longest)` with hidden items replaced by MASK or a random item, or unchanged."""
        draw = keyed_uniform(keys, input_ids.shape[1], stream=2)
        becomes_mask = hidden & (draw < self.mask_replace_prob)
        becomes_random = hidden & ~becomes_mask & (draw < self.mask_replace_prob + self.random_replace_prob)
        items = keyed_uniform(keys, input_ids.shape[1], stream=3)
        items = NUM_SPECIAL_TOKENS + (items * (self.processor.vocab_size - NUM_SPECIAL_TOKENS)).astype(np.int64)
        return np.where(becomes_mask, self.processor.mask_token_id, np.where(becomes_random, items, input_ids))

    def _keys(self, features: list[dict]) -> np.ndarray:
        if self.epoch < 0 or "row" not in features[0]:
            return torch.randint(2**62, (len(features),)).numpy().astype(np.uint64)
        rows = np.asarray([row["row"] for row in features]).astype(np.uint64)
        epoch_key = _mix(np.array([self.seed], np.uint64) ^ (np.array([int(self.epoch)], np.uint64) << np.uint64(32)))
        return _mix(rows + epoch_key)
