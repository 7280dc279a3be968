# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""
Collaborative filtering without order, tuned on the validation rows: what a sequential model has to beat besides the
simple rules of baselines.py. As there, each recommender is called like [`Bert4RecForMaskedLM.recommend`].
"""

import itertools
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec

import numpy as np
import torch
from tqdm.auto import tqdm

from ..data.columns import list_values
from ..data.encoding import encode_evaluation, encode_training
from ..data.interactions import Interactions
from ..data.splits import Split
from ..errors import DataError
from ..model.processing_bert4rec import Bert4RecProcessor
from ..model.ranking_bert4rec import rank_items
from ..model.vocabulary_bert4rec import NUM_SPECIAL_TOKENS
from .baselines import by_popularity
from .evaluator import RankingEvaluator


# The settings that are tried; the best on the validation rows is kept.
GRIDS = {
    "ItemKNN": {"neighbours": (50, 200, 1000), "shrink": (0, 20, 100)},
    "EASE": {"l2": (20, 100, 300, 1000, 3000)},
    "ALS": {"factors": (64, 128, 256), "regularization": (0.01, 1.0), "alpha": (1, 10)},
}
# ItemKNN and EASE hold some float32 for each pair of items, 1.6 GB each.
MAX_ITEMS = 20_000
# Times the popularity's rank, from 0 to 1: below any difference of scores that says something.
TIE_BREAK = 1e-7


def _bag_sums(rows: np.ndarray, members: np.ndarray, num_rows: int, table: torch.Tensor) -> torch.Tensor:
    """For each row the sum of its members' rows of `table`; `rows` and `members` are pairs, sorted by row."""
    offsets = torch.from_numpy(np.searchsorted(rows, np.arange(num_rows)))
    return torch.nn.functional.embedding_bag(torch.from_numpy(members), table, offsets, mode="sum")


def co_occurrences(users: np.ndarray, tokens: np.ndarray, vocab_size: int, at_once: int | None = None) -> torch.Tensor:
    """
    Number of users who have both of two items, float32 `(vocab_size, vocab_size)`.

    Args:
        users, tokens (`np.ndarray` of shape `(num_pairs,)`): who has what, distinct pairs.
    """
    order = np.argsort(tokens, kind="stable")
    users, tokens = users[order], tokens[order]
    num_users, counts = int(users.max(initial=0)) + 1, torch.empty(vocab_size, vocab_size)
    at_once = at_once or max(1, min(1024, 2**28 // num_users))  # items whose users are held as 1 GB at most
    for start in range(0, vocab_size, at_once):
        end = min(start + at_once, vocab_size)
        some = slice(*np.searchsorted(tokens, (start, end)))
        has_item = torch.zeros(num_users, end - start)
        has_item[users[some], tokens[some] - start] = 1.0
        counts[:, start:end] = _bag_sums(tokens, users, vocab_size, has_item)
    return counts


def item_knn(counts: torch.Tensor, neighbours: int, shrink: float) -> torch.Tensor:
    """
    ItemKNN (https://doi.org/10.1145/372071.372071): the weight of a history's item for another is their cosine, damped
    by `shrink` users, if it is among the other's `neighbours` most similar.

    Args:
        counts (`torch.Tensor` of shape `(vocab_size, vocab_size)`): from [`co_occurrences`].
    """
    norms = counts.diagonal().sqrt()
    similarity = counts / (norms[:, None] * norms + shrink).clamp(min=1e-9)
    similarity.fill_diagonal_(0)
    if neighbours < len(similarity):
        similarity[similarity < similarity.topk(neighbours, dim=0).values[-1]] = 0
    return similarity


def ease(counts: torch.Tensor, l2: float) -> torch.Tensor:
    """
    EASE (https://doi.org/10.1145/3308558.3313710): the linear item-to-item weights without a diagonal that best
    reconstruct the users' items, with a penalty `l2`.

    Args:
        counts (`torch.Tensor` of shape `(vocab_size, vocab_size)`): from [`co_occurrences`].
    """
    inverse = counts.clone()
    inverse.diagonal().add_(l2)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(inverse))
    weights = inverse.div_(-inverse.diagonal().clone())
    weights.fill_diagonal_(0)
    return weights


def _ranker(score: Callable[[np.ndarray, np.ndarray, int], torch.Tensor], popularity: torch.Tensor) -> Callable:
    """
    A recommender by `score`, which gets pairs of histories and their distinct tokens, sorted, and the number of
    histories, and returns `(num_histories, vocab_size)`; ties by popularity.
    """

    def recommend(input_ids, attention_mask=None, k=10, exclude_seen=False, allow_fewer=False, **ignored):
        has_item = torch.zeros(len(input_ids), len(popularity), dtype=torch.bool).scatter_(1, input_ids, True)
        has_item[:, :NUM_SPECIAL_TOKENS] = False
        scores = score(*has_item.numpy().nonzero(), len(input_ids)).double() + TIE_BREAK * popularity
        return rank_items(scores, input_ids, k, exclude_seen, allow_fewer=allow_fewer)

    return recommend


def _als(users: np.ndarray, tokens: np.ndarray, vocab_size: int, **settings) -> Callable:
    """Implicit ALS (https://doi.org/10.1109/ICDM.2008.22); a user's factors are solved from the history."""
    from implicit.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix
    from threadpoolctl import threadpool_limits

    def matrix_of(users: np.ndarray, tokens: np.ndarray, num_users: int):
        return csr_matrix((np.ones(len(users), dtype=np.float32), (users, tokens)), shape=(num_users, vocab_size))

    with threadpool_limits(1, "blas"):  # it has threads of its own
        model = AlternatingLeastSquares(**settings, iterations=15, use_gpu=False, random_state=0)
        model.fit(matrix_of(users, tokens, int(users.max()) + 1), show_progress=False)
    item_factors = torch.from_numpy(model.item_factors)

    def score(rows: np.ndarray, tokens: np.ndarray, num_rows: int) -> torch.Tensor:
        user_factors = model.recalculate_user(np.arange(num_rows), matrix_of(rows, tokens, num_rows))
        return torch.from_numpy(user_factors) @ item_factors.T

    return score


def _left_out(name: str, vocab_size: int) -> str | None:
    """Why a rival cannot be fitted."""
    if name == "ALS":
        return None if find_spec("implicit") else "it needs: pip install implicit"
    return f"the catalogue has more than {MAX_ITEMS:,} items" if vocab_size > MAX_ITEMS else None


def fit_rivals(
    interactions: Interactions,
    processor: Bert4RecProcessor,
    split: Split,
    k: int = 10,
    exclude_seen: bool = False,
    names: Sequence[str] = tuple(GRIDS),
    progress: bool = False,
) -> tuple[dict[str, Callable], dict[str, dict]]:
    """
    ItemKNN, EASE and ALS, fitted on the training rows, each with the settings of `GRIDS` that have the best NDCG@k on
    the validation rows.

    Returns:
        The recommenders by name, and for each name in `names` what is told about it: `"settings"`, `"validation"`
        (their NDCG@k), and the budget: `"tried"` settings in `"seconds"`; or the reason why it is `"left_out"`.

    Raises:
        `DataError`: if the split has no validation rows.
    """
    try:
        validation = encode_evaluation(interactions, processor, split, "validation")
    except DataError as error:
        raise DataError(f"rivals are tuned on validation rows; {error}") from None
    evaluator = RankingEvaluator(validation, processor, [k], exclude_seen, allow_fewer=True)
    evaluator.batch_size = max(1, min(evaluator.batch_size, 2**24 // processor.vocab_size))
    train = encode_training(interactions, processor, split)
    users, tokens = list_values(train.with_format("arrow")[:]["input_ids"])
    pairs = np.unique(users.astype(np.int64) * processor.vocab_size + tokens.to_numpy())
    pairs = pairs[pairs % processor.vocab_size >= NUM_SPECIAL_TOKENS]
    users, tokens = np.divmod(pairs, processor.vocab_size)
    popularity = by_popularity(np.bincount(tokens, minlength=processor.vocab_size))
    recommenders, told, counts = {}, {}, None
    for name in names:
        if reason := _left_out(name, processor.vocab_size):
            told[name] = {"left_out": reason}
            continue
        start, best, combinations = time.perf_counter(), None, [*itertools.product(*GRIDS[name].values())]
        for values in tqdm(combinations, desc=f"tuning {name}", disable=not progress):
            settings = dict(zip(GRIDS[name], values))
            if name == "ALS":
                score = _als(users, tokens, processor.vocab_size, **settings)
            else:
                counts = co_occurrences(users, tokens, processor.vocab_size) if counts is None else counts
                score = partial(_bag_sums, table={"ItemKNN": item_knn, "EASE": ease}[name](counts, **settings))
            recommend = _ranker(score, popularity)
            ndcg = evaluator(recommend)[f"ndcg@{k}"]
            if best is None or ndcg > best["validation"]:
                best, recommenders[name] = {"settings": settings, "validation": ndcg}, recommend
        seconds = round(time.perf_counter() - start, 1)
        told[name] = {**best, "tried": len(combinations), "seconds": seconds}
    return recommenders, told
