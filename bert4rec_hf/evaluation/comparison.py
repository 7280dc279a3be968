# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Paired comparison of evaluations."""

import warnings
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import DataError
from .bootstrap import corrected_p_values, resampled_over_seeds, with_intervals
from .windows import MODEL


def compare(
    base: pa.Table | Sequence[pa.Table],
    *others: pa.Table | Sequence[pa.Table],
    num_rounds: int = 1000,
    seed: int = 0,
) -> list[dict]:
    """
    Compares the models of evaluations with that of a first one, on their common users, with paired bootstrap intervals
    over users and, where a run has several seeds, over seeds.

    Args:
        base, others (`pa.Table` or `Sequence[pa.Table]`): `users` of [`Evaluation`]s: of a run, or of each of its
            seeds.
        num_rounds (`int`, *optional*, defaults to 1000): samples of the bootstrap.

    Returns:
        `list[dict]`: for each of the others and each window `"run"` (its number), `"origin"`, `"name"`, `"num_users"`,
        `"left_out"` (users that one of the two lacks) and `"metrics"`: for each `"a"` (the base), `"b"` and the
        `"difference"` b - a (each with `"mean"`, `"low"`, `"high"`), and `"p_value"`, corrected for the number of
        runs, windows and metrics; see [`corrected_p_values`].

    Raises:
        `DataError`: if they have no window or no metric in common, or a user's targets differ; without samples.
    """
    if num_rounds < 1:
        raise DataError(f"num_rounds is {num_rounds}; a comparison needs samples.")
    results, differences = [], []
    base = _tables_of(base)
    for run, other in enumerate(map(_tables_of, others)):
        tables = [*base, *other]
        names = [name for name in tables[0].column_names if "@" in name]
        names = [name for name in names if all(name in table.column_names for table in tables)]
        windows = [[*dict.fromkeys(zip(*(t[name].to_pylist() for name in ("origin", "window"))))] for t in tables]
        windows = [window for window in windows[0] if all(window in of_table for of_table in windows)]
        if not names or not windows:
            raise DataError("the two runs have no metric or no window of a model in common; evaluate both alike.")
        for origin, window in windows:
            in_window = (pc.field("origin") == origin) & (pc.field("window").cast(pa.string()) == window)
            in_common, left_out = _of_common_users([table.filter(in_window) for table in tables], window)
            values = [np.stack([table[name].to_numpy() for name in names], axis=1) for table in in_common]
            sides = values[: len(base)], values[len(base) :]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                means = [np.nanmean(np.concatenate(side), axis=0) for side in sides]
                resampled = [
                    resampled_over_seeds(side, num_rounds, (seed, number)) for number, side in enumerate(sides)
                ]
                difference = resampled[1] - resampled[0]
                figures = {
                    "a": with_intervals(names, means[0], resampled[0]),
                    "b": with_intervals(names, means[1], resampled[1]),
                    "difference": with_intervals(names, means[1] - means[0], difference),
                }
            metrics = {name: {part: figure[name] for part, figure in figures.items()} for name in names}
            where = {"run": run, "origin": origin, "name": window}
            results.append({**where, "num_users": len(in_common[0]), "left_out": left_out, "metrics": metrics})
            differences.append((means[1] - means[0], difference))
    p_values = corrected_p_values(*(np.concatenate(parts, axis=-1) for parts in zip(*differences)))
    ends = np.cumsum([len(result["metrics"]) for result in results])[:-1]
    for result, of_window in zip(results, np.split(p_values, ends)):
        for metric, p in zip(result["metrics"].values(), of_window):
            metric["p_value"] = None if np.isnan(p) else float(p)
    return results


def _tables_of(run: pa.Table | Sequence[pa.Table]) -> list[pa.Table]:
    """The model's rows of a run, a table for each seed."""
    tables = [run] if isinstance(run, pa.Table) else run
    return [table.filter(pc.equal(table["recommender"].cast(pa.string()), MODEL)) for table in tables]


def _of_common_users(tables: list[pa.Table], window: str) -> tuple[list[pa.Table], int]:
    """The rows of the users that all tables have, in the same order, and how many users that leaves out."""
    users = [table["user"].combine_chunks() for table in tables]
    if any(ids.type != users[0].type for ids in users):
        users = [ids.cast(pa.string()) for ids in users]
    common, everyone = users[0], pa.concat_arrays(users).unique()
    for ids in users[1:]:
        common = common.filter(pc.is_in(common, ids))
    if not len(common):
        raise DataError(f"the two runs have no user in common in {window}.")
    tables = [table.take(pc.index_in(common, ids)) for table, ids in zip(tables, users)]
    for table in tables[1:]:
        differs = tables[0]["num_targets"].to_numpy() != table["num_targets"].to_numpy()
        if differs.any():
            row = int(np.argmax(differs))
            raise DataError(
                f"user {common[row].as_py()!r} has {tables[0]['num_targets'][row]} targets in {window} in one run and "
                f"{table['num_targets'][row]} in the other; evaluate both on the same log."
            )
    return tables, len(everyone) - len(common)
