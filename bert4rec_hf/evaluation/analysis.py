# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Statistics of a log, before training on it."""

import math
from collections.abc import Sequence

import numpy as np
import pyarrow.compute as pc

from ..data.encoding import pairs_of_users
from ..data.interactions import Interactions
from ..data.splits import Split, Window
from .bootstrap import coverage_and_gini


def analyze(interactions: Interactions, split: Split, windows: Sequence[Window] | None = None) -> dict:
    """
    Statistics of a log: users, items, repeats, sessions, drift by month, and targets that training cannot know.

    Args:
        split ([`Split`]): how the log will be split.
        windows (`Sequence[Window]`, *optional*): days of the test rows, analysed window by window.

    Returns:
        `dict`, ready for JSON:

        - `"events"`, `"users"`, `"items"`, `"first_day"`, `"last_day"`;
        - `"events_per_user"`, `"events_per_item"`: quantiles, the mean and the Gini index;
        - `"top_items"`: shares of all events that the most popular 1% and 10% of the items have;
        - `"repeat_share"`: share of the events whose item the user had before;
        - `"sessions"`: quantiles of the events on a user's active day, and of the days to the next active day;
        - `"months"`: for each calendar month its events, users and items, `"new_items"` (share of its items that no
          earlier month has), `"gone_items"` (share of the previous month's items that it lacks),
          `"events_on_new_items"`, `"new_users"`, `"repeat_share"`, `"top_overlap"` (share of the previous month's 25
          most popular items that are still among the top 25) and `"drift"` (Jensen-Shannon divergence in bits from
          the previous month: 0 for the same shares of events, 1 for no item in common);
        - `"features"`: for each feature its `"name"`, whose it is (`"of"`: `"items"` or `"users"`), how many
          `"values"` it has (the numbers of a vector), and what it covers: `"items"` and `"users"` that have a value
          or, of the others' features, an event with one, and `"events"`;
        - `"targets"`: for the test rows, or each window of them, `"name"`, the number of targets (distinct items of a
          user), `"users"`, and the shares that are `"repeats"` of the user's history, `"unknown_items"` (outside the
          vocabulary that the training rows give) and of `"users_without_history"`.
    """
    user, item, day = interactions.user, interactions.item, interactions.day
    events_per_user = np.bincount(user)[np.unique(user)]
    events_per_item = np.bincount(item)[np.unique(item)]
    popular = np.sort(events_per_item)[::-1]
    pairs = user * np.int64(len(interactions.item_ids)) + item
    is_repeat = np.ones(len(pairs), dtype=bool)
    is_repeat[np.unique(pairs, return_index=True)[1]] = False  # rows are in order of user and time
    starts = np.flatnonzero(np.r_[True, (user[1:] != user[:-1]) | (day[1:] != day[:-1])])
    same_user = user[starts[1:]] == user[starts[:-1]]
    return {
        "events": len(user),
        "users": len(events_per_user),
        "items": len(events_per_item),
        "first_day": str(np.datetime64(int(day.min()), "D")),
        "last_day": str(np.datetime64(int(day.max()), "D")),
        "events_per_user": _distribution(events_per_user)
        | {"gini": float(coverage_and_gini(events_per_user.astype(float))[1])},
        "events_per_item": _distribution(events_per_item)
        | {"gini": float(coverage_and_gini(events_per_item.astype(float))[1])},
        "top_items": {
            f"{share:.0%}": float(popular[: math.ceil(share * len(popular))].sum() / len(user))
            for share in (0.01, 0.1)
        },
        "repeat_share": float(is_repeat.mean()),
        "sessions": {
            "events": _distribution(np.diff(np.r_[starts, len(user)])),
            "days_to_the_next": _distribution(np.diff(day[starts])[same_user]),
        },
        "months": _months(interactions, is_repeat),
        "features": _features(interactions),
        "targets": _targets(interactions, split, windows),
    }


def _distribution(values: np.ndarray) -> dict[str, float] | None:
    """Quantiles and the mean, `None` if empty."""
    if not len(values):
        return None
    quantiles = {"min": 0, "10%": 0.1, "25%": 0.25, "median": 0.5, "75%": 0.75, "90%": 0.9, "99%": 0.99, "max": 1}
    return {name: float(np.quantile(values, q)) for name, q in quantiles.items()} | {"mean": float(values.mean())}


def _months(interactions: Interactions, is_repeat: np.ndarray) -> list[dict]:
    user, item = interactions.user, interactions.item
    month = interactions.day.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    first_of_item = np.full(len(interactions.item_ids), month.max())
    np.minimum.at(first_of_item, item, month)
    first_of_user = np.full(len(interactions.user_ids), month.max())
    np.minimum.at(first_of_user, user, month)
    months, previous_counts = [], None
    order = np.argsort(month, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(month[order])) + 1):
        month_number = month[rows[0]]
        counts = np.bincount(item[rows], minlength=len(interactions.item_ids))
        users = np.unique(user[rows])
        figures = {
            "month": str(np.datetime64(int(month_number), "M")),
            "events": len(rows),
            "users": len(users),
            "items": int((counts > 0).sum()),
            "repeat_share": float(is_repeat[rows].mean()),
        }
        if previous_counts is not None:
            top, top_before = (np.argsort(-c, kind="stable")[:25] for c in (counts, previous_counts))
            figures |= {
                "new_items": float((first_of_item[counts > 0] == month_number).mean()),
                "gone_items": float((counts[previous_counts > 0] == 0).mean()),
                "events_on_new_items": float((first_of_item[item[rows]] == month_number).mean()),
                "new_users": float((first_of_user[users] == month_number).mean()),
                "top_overlap": float(np.isin(top_before, top).mean()),
                "drift": _divergence(counts / counts.sum(), previous_counts / previous_counts.sum()),
            }
        months.append(figures)
        previous_counts = counts
    return months


def _features(interactions: Interactions) -> list[dict]:
    user, item = interactions.user, interactions.item
    features = []  # name, whose, values, and the items or the users that have one
    for name, (codes, values) in interactions.item_features.items():
        features.append((name, "items", len(pc.unique(values)), codes))
    for name, vectors in interactions.vector_features.items():
        features.append((name, "items", vectors.shape[1], np.flatnonzero(vectors.any(1))))
    for name, values in interactions.user_features.items():
        codes, values = pairs_of_users(values)
        is_there = values.is_valid().to_numpy(zero_copy_only=False)
        features.append((name, "users", len(pc.unique(values).drop_null()), codes[is_there]))
    results = []
    for name, of, num_values, codes in features:
        is_covered = np.isin(item if of == "items" else user, codes)
        users, items = len(np.unique(user[is_covered])), len(np.unique(item[is_covered]))
        covered = {"items": items, "users": users, "events": int(is_covered.sum())}
        results.append({"name": name, "of": of, "values": num_values, **covered})
    return results


def _divergence(p: np.ndarray, q: np.ndarray) -> float:
    """Jensen-Shannon divergence of two distributions in bits."""
    middle = (p + q) / 2
    return float(sum((part[part > 0] * np.log2(part[part > 0] / middle[part > 0])).sum() / 2 for part in (p, q)))


def _targets(interactions: Interactions, split: Split, windows: Sequence[Window] | None) -> list[dict]:
    if split.split == "none":
        return []
    log = split.apply(interactions)
    known = np.zeros(len(interactions.item_ids), dtype=bool)
    known[interactions.item[log.fitted_rows]] = True
    history, targets = log.history_and_targets("test")
    size = np.int64(len(interactions.item_ids))
    pairs = interactions.user * size + interactions.item
    seen = np.sort(pairs[history])
    results = []
    for window in windows or [None]:
        target_pairs = np.unique(pairs[targets & window.rows(interactions) if window else targets])
        users = np.unique(target_pairs // size)
        repeats = np.append(seen, -1)[np.searchsorted(seen, target_pairs)] == target_pairs
        shares = (repeats, ~known[target_pairs % size], ~np.isin(users, interactions.user[history]))
        names = ("repeats", "unknown_items", "users_without_history")
        shares = {name: float(share.mean()) if len(share) else None for name, share in zip(names, shares)}
        name = window.name if window else "test"
        results.append({"name": name, "targets": len(target_pairs), "users": len(users), **shares})
    return results
