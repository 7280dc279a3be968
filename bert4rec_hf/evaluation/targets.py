# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""The target items, and metrics of ranked lists."""

from collections.abc import Sequence

import numpy as np
from datasets import Dataset

from ..data.columns import list_values
from ..metrics.ranking.ranking import ranking_scores
from ..model.processing_bert4rec import Bert4RecProcessor
from ..model.vocabulary_bert4rec import NUM_SPECIAL_TOKENS


# Kinds of targets that have metrics of their own: by the user's history, and by popularity.
THIRDS = ("head", "mid", "tail")
KINDS = ("repeat", "new", *THIRDS)


def _padded(users: np.ndarray, values: np.ndarray, num_users: int) -> np.ndarray:
    """Values sorted by user as one row per user, padded with -1."""
    sizes = np.bincount(users, minlength=num_users)
    padded = np.full((num_users, max(sizes.max(initial=0), 1)), -1)
    padded[users, np.arange(len(users)) - (np.cumsum(sizes) - sizes)[users]] = values
    return padded


class Targets:
    """
    The target items of the users of a data set of [`encode_evaluation`], by kind: in the user's history, new to the
    user, and outside the vocabulary. `rows` has the users' codes.
    """

    def __init__(self, dataset: Dataset, processor: Bert4RecProcessor):
        columns = dataset.with_format("arrow")[:]
        seen_by, seen_items = list_values(columns["input_ids"])
        self.users, items = list_values(columns["relevant"])
        self.items = items.to_numpy()
        self.rows = columns["row"].to_numpy() if "row" in columns.column_names else np.arange(len(columns))
        self.num_history = np.bincount(seen_by, minlength=len(columns)).astype(np.int32)
        size = max(processor.vocab_size, int(self.items.max(initial=0)) + 1)
        seen = np.sort(seen_by * size + seen_items.to_numpy())
        target_keys = self.users * size + self.items
        self.is_unknown = self.items >= processor.vocab_size
        self.is_repeat = np.append(seen, -1)[np.searchsorted(seen, target_keys)] == target_keys

    def lists(self, kind: np.ndarray | None = None) -> np.ndarray:
        """The targets of all users, or those of a kind, `(num_users, max_targets)`; padded with -1."""
        kind = np.ones(len(self.users), dtype=bool) if kind is None else kind
        return _padded(self.users[kind], self.items[kind], len(self.num_history))

    def best_lists(self, k: int) -> np.ndarray:
        """The best possible lists, `(num_users, k)`: the targets in the vocabulary; padded with -1."""
        known = self.lists(~self.is_unknown)[:, :k]
        return np.pad(known, ((0, 0), (0, k - known.shape[1])), constant_values=-1)

    def counts(self) -> dict[str, np.ndarray]:
        kinds = {"num_targets": None, "num_repeat": self.is_repeat, "num_unknown": self.is_unknown}
        size = len(self.num_history)
        counts = {name: np.bincount(self.users, weights=kind, minlength=size) for name, kind in kinds.items()}
        return {"num_history": self.num_history, **{name: count.astype(np.int32) for name, count in counts.items()}}

    def describe(self) -> dict:
        return {
            "num_users": len(self.num_history),
            "num_targets": len(self.items),
            "repeat_targets": float(self.is_repeat.mean()),
            "unknown_targets": float(self.is_unknown.mean()),
        }


def popularity_thirds(event_counts: np.ndarray) -> np.ndarray:
    """
    Of each item 0, 1 or 2, `(num_items,)`: the most popular items have 0 up to a third of all events, and so on. Ties
    go to the lower id.
    """
    order = np.argsort(-event_counts, kind="stable")
    thirds = np.empty(len(event_counts), dtype=np.int64)
    before = np.cumsum(event_counts[order]) - event_counts[order]
    thirds[order] = np.minimum(3 * before // max(int(event_counts.sum()), 1), 2)
    return thirds


class ListScorer:
    """
    Metrics of ranked lists, one value per user.

    Args:
        user_share (`np.ndarray` of shape `(vocab_size,)`): share of the training users who have the item.
        event_counts (`np.ndarray` of shape `(vocab_size,)`): training events of the item.
    """

    def __init__(
        self, processor: Bert4RecProcessor, user_share: np.ndarray, event_counts: np.ndarray, k: Sequence[int]
    ):
        self.third = popularity_thirds(event_counts)
        self.k, self.num_items = list(k), processor.vocab_size - NUM_SPECIAL_TOKENS
        self.information = -np.log2(user_share)
        sizes = [feature["max_values"] for feature in processor.vocabulary.get("item_features", [])]
        table = np.asarray(processor.item_features())
        self.features = np.split(table, np.cumsum(sizes)[:-1], axis=1) if sizes else []

    def __call__(self, ranked: np.ndarray, targets: Targets) -> dict[str, np.ndarray]:
        """
        Args:
            ranked (`np.ndarray` of shape `(num_users, max(k))`): token ids, best first; negative where there is none.
        """
        scores = ranking_scores(ranked, targets.lists(), self.k)
        for kind, mask in (("repeat", targets.is_repeat), ("new", ~targets.is_repeat & ~targets.is_unknown)):
            kind_scores = ranking_scores(ranked, targets.lists(mask), self.k)
            scores |= {f"{kind}_{name}": values for name, values in kind_scores.items()}
        third = np.append(self.third, -1)[np.where(targets.is_unknown, -1, targets.items)]
        for number, kind in enumerate(THIRDS):
            kind_scores = ranking_scores(ranked, targets.lists(third == number), self.k)
            names = [f"{metric}@{k}" for metric in ("recall", "ndcg") for k in self.k]
            scores |= {f"{kind}_{name}": kind_scores[name] for name in names}
        if (ranked >= 0).all():
            for k in self.k:
                scores[f"novelty@{k}"] = self.information[ranked[:, :k]].mean(1)
                if self.features and k > 1:
                    scores[f"diversity@{k}"] = self.diversity(ranked[:, :k])
        return scores

    def diversity(self, ranked: np.ndarray) -> np.ndarray:
        """1 - cosine between the values of two items of a list, mean over features and pairs, `(num_users,)`."""
        num_users, k = ranked.shape
        similarity = np.zeros(num_users)
        for values in self.features:
            num_values = int(values.max()) + 1
            at_once = max(1, 2**24 // num_values)
            for start in range(0, num_users, at_once):
                ids = values[ranked[start : start + at_once]]  # (users, k, values)
                weights = (ids > 0) / np.sqrt(np.maximum((ids > 0).sum(2, keepdims=True), 1))
                keys = ids + num_values * np.arange(len(ids))[:, None, None]
                sums = np.bincount(keys.ravel(), weights.ravel(), num_values * len(ids)).reshape(len(ids), -1)
                # For unit vectors the squared norm of the sum is their number + twice the sum over pairs.
                pairs = (sums**2).sum(1) - (ids > 0).any(2).sum(1)
                similarity[start : start + at_once] += pairs / (k * (k - 1))
        return 1 - similarity / len(self.features)


def overlap(a: np.ndarray, b: np.ndarray, k: int) -> float:
    """Mean over users of the share of `k` items that two lists `(num_users, at least k)` have in common."""
    both = np.sort(np.concatenate([a[:, :k], b[:, :k]], axis=1), axis=1)
    return float(((both[:, 1:] == both[:, :-1]) & (both[:, 1:] >= 0)).sum(1).mean() / k)
