# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Ranking metrics at a cutoff, as one `evaluate` module: recall, nDCG, hit rate, MRR, MAP and the weighted score."""

import datasets
import evaluate
import numpy as np


_DESCRIPTION = """
Scores ranked recommendations against the set of items that were relevant to each user, at one or several cutoffs k:

- `recall@k`: relevant items among the first k, divided by min(k, number of relevant items). The cap makes 1 reachable
  for a user with more than k relevant items; many libraries divide by the number of relevant items instead.
- `ndcg@k`: binary gains discounted by 1 / log2(rank + 1), divided by the gain of an ideal ranking.
- `hit_rate@k`: 1 if any of the first k items is relevant, else 0.
- `mrr@k`: 1 / rank of the first relevant item, or 0 if none is among the first k.
- `map@k`: precision at the rank of each relevant item among the first k, summed, divided by
  min(k, number of relevant items).
- `score@k`: 0.75 * recall@k + 0.25 * ndcg@k.

Libraries disagree on several of these definitions (https://huggingface.co/papers/2206.12858). Hit rate, nDCG and MRR
are the metrics of BERT4Rec (https://huggingface.co/papers/1904.06690).
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions (`list` of `list` of `int`):
        Item ids per user, best first, at least `k` for every user. A negative id means that nothing was recommended
        at this rank. An id recommended twice to a user counts at its first rank only.
    references (`list` of `list` of `int`):
        Relevant item ids per user, of any length and in any order; a repeated id counts once and a negative id is
        padding. A user without relevant items is left out of the means.
    k (`int` or `list` of `int`, *optional*, defaults to 10):
        The cutoffs.

Returns:
    `dict` of `float`: `recall@k`, `ndcg@k`, `hit_rate@k`, `mrr@k`, `map@k` and `score@k` for each `k`, averaged over
    the users who have relevant items; `nan` if nobody has.

Examples:

    >>> ranking = evaluate.load("bert4rec_hf/metrics/ranking")
    >>> results = ranking.compute(predictions=[[3, 1, 2], [4, 5, 6]], references=[[1, 7], [4]], k=[1, 2])
    >>> results["recall@1"], results["recall@2"], results["mrr@2"]
    (0.5, 0.75, 0.75)
"""

_CITATION = """\
@inproceedings{tamm2021quality,
  title={Quality Metrics in Recommender Systems: Do We Calculate Metrics Consistently?},
  author={Tamm, Yan-Martin and Damdinov, Rinchin and Vasilev, Alexey},
  booktitle={Proceedings of the 15th ACM Conference on Recommender Systems},
  year={2021},
  url={https://huggingface.co/papers/2206.12858}
}
@article{jarvelin2002cumulated,
  title={Cumulated gain-based evaluation of {IR} techniques},
  author={J{\\"a}rvelin, Kalervo and Kek{\\"a}l{\\"a}inen, Jaana},
  journal={ACM Transactions on Information Systems},
  year={2002},
  url={https://doi.org/10.1145/582415.582418}
}
"""


def ranking_scores(predictions, references, k):
    """
    Scores every user's ranked items, at one or several cutoffs.

    Args:
        predictions (`np.ndarray` of shape `(num_users, num_ranked)`):
            Integer item ids, best first, with `num_ranked >= max(k)`. A negative id means that nothing was recommended
            at this rank. An id repeated in a row counts at its first rank; the later ones are misses.
        references (`np.ndarray` of shape `(num_users, max_relevant)` or sequence of `num_users` sequences):
            Integer ids of the items relevant to each user, in any order: a repeated id counts once, a negative id is
            padding.
        k (`int` or sequence of `int`):
            The cutoffs.

    Returns:
        `dict[str, np.ndarray]`: For each `k` the keys `recall@k`, `ndcg@k`, `hit_rate@k`, `mrr@k`, `map@k` and
        `score@k` (0.75 * recall@k + 0.25 * ndcg@k), each a float64 array of shape `(num_users,)`. A user without
        relevant items has no defined score and gets `nan` in all of them, so average with `np.nanmean`.

    Raises:
        `ValueError`: If `k` is empty, below 1 or above `num_ranked`, if `predictions` and `references` differ in their
            number of users, if there are no users, or if `predictions` is not rectangular.
        `TypeError`: If ids or `k` are not integers, or `references` do not hold a sequence for every user.
    """
    predictions, relevant_users, relevant_ids = _validated_ids(predictions, references)
    cutoffs = _validated_cutoffs(k, num_ranked=predictions.shape[1])

    hits, num_relevant = _match(predictions[:, : max(cutoffs)], relevant_users, relevant_ids)
    ranks = np.arange(1, max(cutoffs) + 1)
    discounts = 1 / np.log2(ranks + 1)
    hit_counts = hits.cumsum(axis=1)
    gains = (hits * discounts).cumsum(axis=1)
    ideal_gains = discounts.cumsum()
    precision_sums = (hits * hit_counts / ranks).cumsum(axis=1)
    # argmax finds the first hit; the rows without one are zeroed below, by their hit rate.
    reciprocal_ranks = 1 / (hits.argmax(axis=1) + 1)

    scores = {}
    for cutoff in cutoffs:
        num_ideal = np.minimum(cutoff, num_relevant)
        # nan marks the users without relevant items, and spreads from here to each of their scores.
        denominator = np.where(num_ideal > 0, num_ideal, np.nan)
        recall = hit_counts[:, cutoff - 1] / denominator
        ndcg = gains[:, cutoff - 1] / np.where(num_ideal > 0, ideal_gains[num_ideal - 1], np.nan)
        hit_rate = np.where(num_ideal > 0, hit_counts[:, cutoff - 1] > 0, np.nan)
        scores[f"recall@{cutoff}"] = recall
        scores[f"ndcg@{cutoff}"] = ndcg
        scores[f"hit_rate@{cutoff}"] = hit_rate
        scores[f"mrr@{cutoff}"] = hit_rate * reciprocal_ranks
        scores[f"map@{cutoff}"] = precision_sums[:, cutoff - 1] / denominator
        scores[f"score@{cutoff}"] = 0.75 * recall + 0.25 * ndcg
    return scores


def _validated_ids(predictions, references):
    """
    Returns `predictions` as an int64 array of shape `(num_users, num_ranked)` and `references` as two int64 arrays of
    shape `(num_references,)`: the row of the user, and the id of the item.
    """
    if len(predictions) != len(references):
        raise ValueError(
            "predictions and references must hold one row per user, but there are predictions for "
            f"{len(predictions)} users and references for {len(references)}."
        )
    if len(predictions) == 0:
        raise ValueError("There are no users to score: predictions and references are empty.")
    try:
        predictions = np.asarray(predictions)
    except ValueError:
        # numpy refuses lists of unequal lengths here; an object array of them is refused below.
        predictions = np.asarray(predictions, dtype=object)
    if predictions.ndim != 2:
        raise ValueError(
            "predictions must be rectangular, of shape (num_users, num_ranked), but have shape "
            f"{predictions.shape}. Pad the shorter rankings with -1."
        )

    if isinstance(references, np.ndarray) and references.ndim == 2:
        lengths = references.shape[1]
        ids = references.ravel()
    else:
        try:
            lengths = np.fromiter(map(len, references), dtype=np.int64, count=len(references))
            # Empty lists are left out because numpy makes them float64, and large ids would lose digits in a float.
            ids = np.concatenate([np.empty(0, dtype=np.int64), *filter(len, references)])
        except (TypeError, ValueError) as error:
            raise TypeError(
                "references must hold a list or an array of item ids for every user, such as [[3], [1, 4]]."
            ) from error
    users = np.repeat(np.arange(len(predictions)), lengths)
    return _as_int64(predictions, "predictions"), users, _as_int64(ids, "references")


def _validated_cutoffs(k, num_ranked):
    cutoffs = np.atleast_1d(k)
    if cutoffs.size == 0:
        raise ValueError("k is empty: give at least one cutoff.")
    if not np.issubdtype(cutoffs.dtype, np.integer):
        raise TypeError(f"k must be an integer or a sequence of integers, but is {k!r}.")
    for cutoff in cutoffs:
        if not 1 <= cutoff <= num_ranked:
            raise ValueError(
                f"k must be at least 1 and at most the number of items ranked for each user, but k is {cutoff} and "
                f"{num_ranked} items are ranked."
            )
    return cutoffs.tolist()


def _as_int64(ids, name):
    if ids.size and not np.can_cast(ids.dtype, np.int64, casting="safe"):
        raise TypeError(f"{name} must hold integer ids that fit int64, but are {ids.dtype}.")
    return ids.astype(np.int64, copy=False)


def _match(predictions, relevant_users, relevant_ids):
    """
    Returns which predictions are hits, as a bool array of shape `(num_users, num_ranked)`, and how many distinct items
    are relevant to each user, as an int array of shape `(num_users,)`.
    """
    num_users, num_ranked = predictions.shape
    is_relevant = relevant_ids >= 0
    relevant_users, relevant_ids = relevant_users[is_relevant], relevant_ids[is_relevant]

    # One integer stands for a (user, item) pair. Ids are numbered first: multiplied as they are, large ones overflow.
    vocabulary, codes = np.unique(np.concatenate([predictions.ravel(), relevant_ids]), return_inverse=True)
    predicted_keys = np.repeat(np.arange(num_users), num_ranked) * len(vocabulary) + codes[: predictions.size]
    # Sorted and thinned by hand: with numpy 2.4, np.unique without an index, and np.isin which calls it, take 2 s for
    # 3 million distinct keys where this takes 0.05 s.
    relevant_keys = np.sort(relevant_users * len(vocabulary) + codes[predictions.size :])
    relevant_keys = relevant_keys[np.diff(relevant_keys, prepend=-1) > 0]
    num_relevant = np.bincount(relevant_keys // len(vocabulary), minlength=num_users)

    is_first = np.zeros(predictions.size, dtype=bool)
    is_first[np.unique(predicted_keys, return_index=True)[1]] = True
    places = np.searchsorted(relevant_keys, predicted_keys)
    # The appended -1 equals no key: it answers for the predictions placed after the last relevant key.
    hits = np.append(relevant_keys, -1)[places] == predicted_keys
    return (hits & is_first).reshape(predictions.shape), num_relevant


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class Ranking(evaluate.Metric):
    def _info(self):
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(
                {
                    "predictions": datasets.Sequence(datasets.Value("int64")),
                    "references": datasets.Sequence(datasets.Value("int64")),
                }
            ),
            reference_urls=["https://huggingface.co/papers/2206.12858", "https://huggingface.co/papers/1904.06690"],
        )

    def _compute(self, predictions, references, k=10):
        return {name: float(np.nanmean(values)) for name, values in ranking_scores(predictions, references, k).items()}
