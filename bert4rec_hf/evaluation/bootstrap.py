# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Bootstrap over users: confidence intervals and p-values of metrics and of paired differences."""

import math
import warnings
from collections.abc import Iterator, Sequence

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


def resampled_over_seeds(values: Sequence[np.ndarray], num_rounds: int, seed: tuple[int, int]) -> np.ndarray:
    """
    The means of a run with several seeds in each sample of users and seeds: `(num_rounds, num_figures)`. The seeds'
    deviations from their mean are widened by `sqrt(n / (n - 1))`: a sample of few varies too little
    (https://doi.org/10.1080/01621459.1988.10478591).

    Args:
        values (`Sequence[np.ndarray]` of shape `(num_users, num_figures)`): for each seed, the same users.
        seed (`tuple[int, int]`): of the samples of users, and with it of the samples of seeds.
    """
    of_seeds = np.stack([resampled_means(of_users, num_rounds, seed[0]) for of_users in values])
    number = len(values)
    if number == 1:
        return of_seeds[0]
    drawn = np.random.default_rng(seed).multinomial(number, np.full(number, 1 / number), size=num_rounds) / number
    weights = 1 / number + math.sqrt(number / (number - 1)) * (drawn - 1 / number)
    return np.einsum("rs,srf->rf", weights, of_seeds)


def corrected_p_values(estimates: np.ndarray, resampled: np.ndarray) -> np.ndarray:
    """
    Two-sided p-values of differences from 0, corrected for their number: the step-down maximum of the studentised
    differences (https://doi.org/10.1198/016214504000000539). As Holm's correction, and less is lost where differences
    go together, as those of metrics do.

    Args:
        estimates (`np.ndarray` of shape `(num_tests,)`): the differences; NaN has p-value NaN.
        resampled (`np.ndarray` of shape `(num_rounds, num_tests)`): the same in each sample.

    Returns:
        `np.ndarray` of shape `(num_tests,)`: at least `1 / (num_rounds + 1)`.
    """
    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a metric may be NaN for all users
        deviation = np.nanstd(resampled, axis=0)
        statistic = np.abs(np.where(estimates == 0, 0.0, estimates / deviation))
        under_null = np.abs(np.where(resampled == estimates, 0.0, (resampled - estimates) / deviation))
    order = np.argsort(-statistic, kind="stable")  # NaN comes last
    largest = np.fmax.accumulate(under_null[:, order][:, ::-1], axis=1)[:, ::-1]
    p_values = (1 + (largest >= statistic[order] - 1e-12).sum(0)) / (len(resampled) + 1)
    result = np.empty_like(p_values)
    result[order] = np.maximum.accumulate(p_values)
    return np.where(np.isnan(statistic), np.nan, result)


def _figure(mean: float, low: float | None = None, high: float | None = None) -> dict[str, float | None]:
    figures = {"mean": mean} if low is None else {"mean": mean, "low": low, "high": high}
    return {name: None if np.isnan(value) else float(value) for name, value in figures.items()}


def with_intervals(names: list[str], means: np.ndarray, resampled: np.ndarray) -> dict[str, dict]:
    if not len(resampled):
        return {name: _figure(mean) for name, mean in zip(names, means)}
    return {name: _figure(*figures) for name, *figures in zip(names, means, *interval(means, resampled))}
