# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bert4rec_hf.evaluation.bootstrap import (
    corrected_p_values,
    coverage_and_gini,
    draw_users,
    interval,
    resampled_exposure,
    resampled_means,
    resampled_over_seeds,
)


def test_samples_have_as_many_users_and_are_the_same_each_time():
    first, again = (np.concatenate(list(draw_users(7, 50, seed=3))) for _ in range(2))
    assert (first.sum(1) == 7).all() and (first == again).all()
    assert first.shape == (50, 7) and first.std() > 0.5
    assert (np.concatenate(list(draw_users(7, 50, seed=4))) != first).any()
    large = list(draw_users(2**21, 5))  # some rounds at a time
    assert [len(rounds) for rounds in large] == [2, 2, 1]


def test_intervals_of_a_mean_are_those_of_scipy_and_of_the_normal():
    values = np.random.default_rng(0).exponential(size=(2000, 1))
    resampled = resampled_means(values, 4000)
    low, high = interval(values.mean(0), resampled)
    expected = stats.bootstrap((values[:, 0],), np.mean, n_resamples=4000, method="percentile", random_state=0)
    width = expected.confidence_interval.high - expected.confidence_interval.low
    assert abs(low[0] - expected.confidence_interval.low) < 0.05 * width
    assert abs(high[0] - expected.confidence_interval.high) < 0.05 * width
    assert high[0] - low[0] == pytest.approx(2 * 1.96 * values.std() / 2000**0.5, rel=0.05)


def test_intervals_hold_what_they_promise():
    generator = np.random.default_rng(0)
    inside = 0
    for seed in range(200):
        values = generator.binomial(1, 0.3, size=(200, 1)).astype(float)
        low, high = interval(values.mean(0), resampled_means(values, 300, seed))
        inside += low[0] <= 0.3 <= high[0]
    assert 180 <= inside <= 199


def test_users_without_a_value_are_left_out():
    values = np.array([[1.0, np.nan], [3.0, 5.0], [np.nan, np.nan]])
    resampled = resampled_means(values, 200)
    assert set(np.unique(resampled[:, 1][~np.isnan(resampled[:, 1])])) == {5.0}
    assert np.isnan(resampled[:, 1]).any()  # no sample of three always has the second user
    for weights, means in zip(np.concatenate(list(draw_users(3, 200))), resampled):
        if weights[:2].sum():
            assert means[0] == pytest.approx((weights[0] + 3 * weights[1]) / weights[:2].sum())


def test_coverage_and_gini_by_hand():
    assert coverage_and_gini(np.array([2.0, 2, 2, 2])).tolist() == [1, 0]
    assert coverage_and_gini(np.array([0.0, 0, 0, 8])).tolist() == [0.25, 0.75]
    exposure = np.array([1.0, 3, 0, 6])  # mean absolute difference 2 * 20 / 16 = 2.5, of twice the mean, 5
    assert coverage_and_gini(exposure) == pytest.approx([0.75, 2.5 / 5])


@given(st.integers(1, 12), st.integers(1, 4), st.integers(4, 9), st.integers(0, 5))
def test_exposure_counts_the_lists_of_each_sample(num_users, k, num_items, seed):
    ranked = np.stack([np.random.default_rng([seed, n]).permutation(num_items)[:k] for n in range(num_users)])
    resampled = resampled_exposure(ranked, num_items, 5, seed)
    for weights, figures in zip(np.concatenate(list(draw_users(num_users, 5, seed))), resampled):
        exposure = np.bincount(ranked.ravel(), np.repeat(weights, k), num_items)
        assert figures == pytest.approx(coverage_and_gini(exposure), abs=1e-6)


def test_intervals_of_coverage_lie_around_it():
    ranked = np.random.default_rng(0).integers(0, 500, size=(300, 3))
    figures = coverage_and_gini(np.bincount(ranked.ravel(), minlength=500).astype(float))
    resampled = resampled_exposure(ranked, 500, 500)
    assert (resampled[:, 0] < figures[0]).all()  # a sample has fewer distinct users
    low, high = interval(figures, resampled)
    assert (low < figures).all() and (figures < high).all()


def test_samples_of_seeds_vary_as_a_mean_of_seeds_does():
    """Without differences between users what is left is the seeds': s / sqrt(n), s of the seeds with n - 1."""
    of_seeds = np.array([0.1, 0.4, 0.3])
    values = [np.full((20, 2), mean) for mean in of_seeds]
    resampled = resampled_over_seeds(values, 20_000, (0, 1))
    assert resampled.mean(0) == pytest.approx(of_seeds.mean(), abs=0.005)
    assert resampled.std(0) == pytest.approx(of_seeds.std(ddof=1) / 3**0.5, rel=0.03)
    other = resampled_over_seeds(values, 20_000, (0, 2))  # those of another run are drawn apart
    assert abs(np.corrcoef(resampled[:, 0], other[:, 0])[0, 1]) < 0.03
    users = np.random.default_rng(0).random((20, 2))
    assert (resampled_over_seeds([users], 50, (3, 1)) == resampled_means(users, 50, 3)).all()


def step_down(estimates, resampled):
    """Romano and Wolf (2005), algorithm 3.1, test by test."""
    deviation = resampled.std(0)
    left, p_values, last = sorted(range(len(estimates)), key=lambda n: -abs(estimates[n]) / deviation[n]), {}, 0
    while left:
        most = abs(resampled[:, left] - estimates[left]) / deviation[left]
        reached = (most.max(1) >= abs(estimates[left[0]]) / deviation[left[0]]).sum()
        last = p_values[left[0]] = max(last, (1 + reached) / (1 + len(resampled)))
        left = left[1:]
    return [p_values[n] for n in range(len(estimates))]


def test_corrected_p_values():
    generator = np.random.default_rng(0)
    noise = generator.normal(size=(300, 6)) @ generator.normal(size=(6, 6))
    estimates = np.array([0.3, -4.0, 2.0, -1.0, 0.1, 6.0])
    p_values = corrected_p_values(estimates, noise + estimates)
    assert p_values == pytest.approx(step_down(estimates, noise + estimates))
    assert (
        p_values[1] >= corrected_p_values(estimates[1:2], (noise + estimates)[:, 1:2])[0]
    )  # more tests, less certain
    same = np.repeat(noise[:, :1], 5, axis=1)
    assert corrected_p_values(np.full(5, 2.0), same + 2) == pytest.approx(
        corrected_p_values(np.full(1, 2.0), same[:, :1] + 2).repeat(5)  # what goes together costs nothing
    )
    edges = corrected_p_values(np.array([0.0, np.nan, 1.0]), np.tile([0.0, np.nan, 1.0], (9, 1)))
    some = np.where(np.random.default_rng(0).random((300, 1)) < 0.1, np.nan, noise[:, :1])  # without a figure in a few
    assert 0.5 < corrected_p_values(np.zeros(1) + 0.1, some + 0.1)[0] <= 1
    assert edges[0] == 1 and np.isnan(edges[1]) and edges[2] == 1 / 10


def test_twenty_comparisons_of_nothing_find_something_in_one_case_of_twenty():
    generator, found = np.random.default_rng(1), 0
    for _ in range(200):
        values = generator.normal(size=(100, 20)) + generator.normal(size=(100, 1))
        found += corrected_p_values(values.mean(0), resampled_means(values, 200)).min() < 0.05
    assert 2 <= found <= 22  # of 200; 10 are expected
