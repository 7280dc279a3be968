# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Bootstrap over users: confidence intervals and p-values of metrics and of paired differences."""

from collections.abc import Iterator

import numpy as np
import torch


def draw_users(num_users: int, num_rounds: int = 1000, seed: int = 0) -> Iterator[np.ndarray]:
    """
    Bootstrap samples: how often each user is drawn in each of `num_rounds` samples with replacement, as float64 arrays
    `(rounds, num_users)`, some rounds at a time. The same arguments give the same samples, so metrics of the same
    users are paired.
    """
    generator = np.random.default_rng(seed)
    at_once = max(1, 2**22 // num_users)
    for start in range(0, num_rounds, at_once):
        rounds = min(at_once, num_rounds - start)
        draws = generator.integers(num_users, size=(rounds, num_users)) + num_users * np.arange(rounds)[:, None]
        counts = np.bincount(draws.ravel(), minlength=rounds * num_users)
        yield counts.reshape(rounds, num_users).astype(np.float64)


def resampled_means(values: np.ndarray, num_rounds: int = 1000, seed: int = 0) -> np.ndarray:
    """
    The means of the columns of `values` `(num_users, num_figures)` in each sample: `(num_rounds, num_figures)`. NaN is
    ignored; the mean of only NaN is NaN.
    """
    is_valid = ~np.isnan(values)
    values = np.where(is_valid, values, 0.0)
    all_valid = is_valid.all()
    with np.errstate(invalid="ignore"):
        return np.concatenate(
            [
                weights @ values / (len(values) if all_valid else weights @ is_valid)
                for weights in draw_users(len(values), num_rounds, seed)
            ]
        )


def resampled_exposure(ranked: np.ndarray, num_items: int, num_rounds: int = 1000, seed: int = 0) -> np.ndarray:
    """
    Coverage and Gini index of the lists `ranked` `(num_users, k)` of items from 0 to `num_items`, negative where there
    is none, in each sample: `(num_rounds, 2)`; see [`coverage_and_gini`].
    """
    num_users, k = ranked.shape
    order = np.argsort(ranked, axis=None, kind="stable")
    order = order[np.count_nonzero(ranked < 0) :]
    starts = torch.from_numpy(np.searchsorted(ranked.ravel()[order], np.arange(num_items)))
    users = torch.from_numpy(order // k)
    rounds = []
    at_once = max(1, 2**24 // num_items)
    for weights in draw_users(num_users, num_rounds, seed):
        for start in range(0, len(weights), at_once):
            user_weights = torch.from_numpy(weights[start : start + at_once].T.astype(np.float32, order="C"))
            exposure = torch.nn.functional.embedding_bag(users, user_weights, starts, mode="sum")  # of each item
            rounds.append(coverage_and_gini(exposure.T.numpy()))
    return np.concatenate(rounds)


def coverage_and_gini(exposure: np.ndarray) -> np.ndarray:
    """
    Coverage (share of items recommended at all) and Gini index (0: all equally often, near 1: few items get all),
    `(..., 2)`, from the number of times each item is recommended, `(..., num_items)`.
    """
    exposure = np.sort(exposure, axis=-1)
    num_items = exposure.shape[-1]
    ranks = 2 * np.arange(1, num_items + 1) - num_items - 1
    gini = exposure @ ranks.astype(exposure.dtype) / (num_items * exposure.sum(-1))
    return np.stack([(exposure > 0).mean(-1), gini], axis=-1)


def interval(estimate: np.ndarray, resampled: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """
    The ends of percentile intervals, shifted by the mean bias of the samples. The bias is about 0 for a mean, but
    coverage is always lower in a sample, which has fewer distinct users.

    Args:
        estimate (`np.ndarray` of shape `(num_figures,)`): of all users.
        resampled (`np.ndarray` of shape `(num_rounds, num_figures)`): of the samples.
    """
    tail = (1 - level) / 2
    shift = estimate - np.nanmean(resampled, axis=0)
    return tuple(np.nanquantile(resampled, (tail, 1 - tail), axis=0) + shift)


def p_value(resampled: np.ndarray) -> np.ndarray:
    """Two-sided p-values of differences `(num_rounds, num_figures)` from 0: twice the share on the other side."""
    sides = np.stack([(resampled <= 0).sum(0), (resampled >= 0).sum(0)]).min(0)
    return np.minimum(2 * (sides + 1) / (len(resampled) + 1), 1.0)


def holm(p_values: np.ndarray) -> np.ndarray:
    """p-values `(num_tests,)` corrected for their number (https://www.jstor.org/stable/4615733)."""
    order = np.argsort(p_values, kind="stable")
    corrected = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    result = np.empty_like(corrected)
    result[order] = np.minimum(corrected, 1.0)
    return result


def _figure(mean: float, low: float | None = None, high: float | None = None) -> dict[str, float | None]:
    figures = {"mean": mean} if low is None else {"mean": mean, "low": low, "high": high}
    return {name: None if np.isnan(value) else float(value) for name, value in figures.items()}


def with_intervals(names: list[str], means: np.ndarray, resampled: np.ndarray) -> dict[str, dict]:
    if not len(resampled):
        return {name: _figure(mean) for name, mean in zip(names, means)}
    return {name: _figure(*figures) for name, *figures in zip(names, means, *interval(means, resampled))}
