# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Paired comparison of two evaluations."""

import warnings

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import DataError
from .bootstrap import holm, p_value, resampled_means, with_intervals
from .windows import MODEL


def compare(users_a: pa.Table, users_b: pa.Table, num_rounds: int = 1000, seed: int = 0) -> list[dict]:
    """
    Compares the models of two evaluations on their common users, with paired bootstrap intervals.

    Args:
        users_a, users_b (`pa.Table`): `users` of two [`Evaluation`]s.

    Returns:
        `list[dict]`: for each window `"origin"`, `"name"`, `"num_users"`, `"left_out"` (users of one of the two only)
        and `"metrics"`: for each `"a"`, `"b"` and the `"difference"` b - a (each with `"mean"`, `"low"`, `"high"`),
        and `"p_value"`, after Holm's correction over the windows.

    Raises:
        `DataError`: if they have no window or no metric in common, or a user's targets differ.
    """
    tables = [table.filter(pc.equal(table["recommender"].cast(pa.string()), MODEL)) for table in (users_a, users_b)]
    names = [name for name in tables[0].column_names if "@" in name and name in tables[1].column_names]
    windows = [
        list(dict.fromkeys(zip(*(table[name].to_pylist() for name in ("origin", "window"))))) for table in tables
    ]
    windows = [window for window in windows[0] if window in windows[1]]
    if not names or not windows:
        raise DataError("the two runs have no metric or no window of a model in common; evaluate both alike.")
    results, p_values = [], []
    for origin, window in windows:
        in_window = (pc.field("origin") == origin) & (pc.field("window").cast(pa.string()) == window)
        a, b = (table.filter(in_window) for table in tables)
        users = [table["user"].combine_chunks() for table in (a, b)]
        users = [ids.cast(pa.string()) for ids in users] if users[0].type != users[1].type else users
        places = pc.index_in(users[0], users[1])
        a, b = a.filter(places.is_valid()), b.take(places.drop_null())
        if not len(a):
            raise DataError(f"the two runs have no user in common in {window}.")
        if not a["num_targets"].equals(b["num_targets"]):
            row = int(np.argmax(a["num_targets"].to_numpy() != b["num_targets"].to_numpy()))
            raise DataError(
                f"user {a['user'][row].as_py()!r} has {a['num_targets'][row]} targets in {window} in one run and "
                f"{b['num_targets'][row]} in the other; evaluate both on the same log."
            )
        values = [np.stack([table[name].to_numpy() for name in names], axis=1) for table in (a, b)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            means = [np.nanmean(value, axis=0) for value in values]
            resampled = [resampled_means(value, num_rounds, seed) for value in values]
            difference = resampled[1] - resampled[0]
            figures = {
                "a": with_intervals(names, means[0], resampled[0]),
                "b": with_intervals(names, means[1], resampled[1]),
                "difference": with_intervals(names, means[1] - means[0], difference),
            }
        metrics = {name: {part: figure[name] for part, figure in figures.items()} for name in names}
        left_out = len(users[0]) + len(users[1]) - 2 * len(a)
        results.append(
            {"origin": origin, "name": window, "num_users": len(a), "left_out": left_out, "metrics": metrics}
        )
        p_values.append(p_value(difference))
    for name, corrected in zip(names, map(holm, np.stack(p_values, axis=1))):
        for result, p in zip(results, corrected):
            result["metrics"][name]["p_value"] = float(p)
    return results
