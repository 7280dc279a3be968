# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Ranking the whole catalogue for many users, and how good that is: by windows, kinds of targets, and baselines."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.csv

from ..data.encoding import encode_evaluation
from ..data.interactions import Interactions
from ..data.splits import Split, Window
from ..model.modeling_bert4rec import Bert4RecForMaskedLM
from ..model.processing_bert4rec import Bert4RecProcessor
from ..model.vocabulary_bert4rec import NUM_SPECIAL_TOKENS
from .baselines import fit_baselines, item_popularity
from .bootstrap import coverage_and_gini, resampled_exposure, resampled_means, with_intervals
from .evaluator import check_k, recommend_all
from .targets import ListScorer, Targets, _rows, overlap


MODEL, CEILING, MEMBERS = "BERT4Rec", "best possible", "mean of the members"
ALL_USERS, PANEL = "all users", "users of all windows"


@dataclass
class Evaluation:
    """
    What [`evaluate`] returns.

    Args:
        report (`dict`): the figures, ready for JSON. `"windows"` has a `dict` a window: `"name"`, `"num_users"`,
            `"num_targets"`, `"repeat_targets"` and `"unknown_targets"` (shares of the targets that are in the user's
            history, and that are outside the vocabulary), and `"groups"`: for groups of users `"num_users"`,
            `"results"` (for each recommender and metric `"mean"`, `"low"` and `"high"`) and `"against"` (the same for
            the model's lead over each baseline).
        users (`pa.Table`): a row a window, recommender and user, with a column a metric; `"origin"` (a cut-off, or the
            name of another split) tells the windows of several evaluations apart.
    """

    report: dict
    users: pa.Table


def evaluate(
    model: Bert4RecForMaskedLM | None,
    processor: Bert4RecProcessor,
    interactions: Interactions,
    split: Split,
    subset: str = "test",
    k: Sequence[int] = (10, 25),
    exclude_seen: bool = False,
    recent_days: int = 30,
    batch_size: int = 128,
    progress: bool = True,
    windows: Sequence[Window] | None = None,
    update_history: bool = False,
    num_rounds: int = 1000,
    seed: int = 0,
    members: Mapping[str, Bert4RecForMaskedLM] | None = None,
) -> Evaluation:
    """
    Metrics of a model over the whole catalogue, beside those of baselines on the same users and of the best lists that
    the vocabulary allows, with bootstrap intervals over users.

    Of each metric of the lists, `recall@k` and so on, there are also `repeat_recall@k`, of the targets that are in the
    user's history, and `new_recall@k`, of the others that the vocabulary has. Besides the accuracy there are, for each
    `k`, `novelty` (mean self-information in bits, by the share of training users who have the item), `diversity` (1 -
    cosine between the values of two items, mean over features and pairs), and of all lists together `coverage` (share
    of the catalogue) and `gini` (how unequally it is recommended).

    Args:
        model ([`Bert4RecForMaskedLM`], *optional*): without one there are the baselines only.
        recent_days (`int`, *optional*, defaults to 30): of the baseline "popular in the last days".
        windows (`Sequence[Window]`, *optional*): days of the targets that are looked at apart; all together if not
            given.
        update_history (`bool`, *optional*, defaults to `False`): recommend in each window after all that a user did
            before it, instead of what was done when training ended.
        num_rounds (`int`, *optional*, defaults to 1000): samples of the bootstrap; 0 for no intervals.
        members (`Mapping[str, Bert4RecForMaskedLM]`, *optional*): models to look at beside it, such as those that vote
            in it, by their names. There are their mean then, and in each window of the report the `"overlap"`: for two
            names and each k the mean share of items that their lists have in common.

    Raises:
        `DataError`: if nobody is left to evaluate, if `k` does not fit, or if the model was trained on a target.
    """
    train = split.apply(interactions).fitted_rows
    models = {MODEL: model, **(members or {})} if model is not None else {}
    recommenders = {name: (of.eval().recommend, of.device) for name, of in models.items()}
    baselines = fit_baselines(interactions, processor, train, recent_days)
    recommenders |= {name: (recommend, "cpu") for name, recommend in baselines.items()}

    windows = list(windows or [None])
    datasets = [
        encode_evaluation(interactions, processor, split, subset, window, update_history) for window in windows
    ]
    asked = datasets
    if not update_history and len(windows) > 1:  # one list will do for all windows
        whole = Window(windows[0].first, windows[-1].end)
        asked = [encode_evaluation(interactions, processor, split, subset, whole)] * len(windows)
    for dataset in asked:
        check_k(k, processor, dataset, exclude_seen)
    ranked = {}
    for name, (recommend, device) in recommenders.items():
        # A rule scores each item for each user, whatever the size of the catalogue.
        at_once = batch_size if name in models else max(1, min(batch_size, 2**24 // processor.vocab_size))
        how = (processor, max(k), exclude_seen, at_once, device, f"ranking {name}" if progress else None)
        lists = {dataset: recommend_all(recommend, dataset, *how) for dataset in dict.fromkeys(asked)}
        ranked[name] = [
            lists[other][np.searchsorted(_rows(other), _rows(dataset))] for other, dataset in zip(asked, datasets)
        ]

    having = item_popularity(interactions, processor, train, of_users=True)
    # An item that was added without training rows counts as one user's.
    scorer = ListScorer(processor, np.maximum(having, 1) / len(np.unique(interactions.user[train])), k)
    everywhere = reduce(np.intersect1d, map(_rows, datasets))
    report, tables = [], []
    for n, (window, dataset) in enumerate(zip(windows, datasets)):
        targets = Targets(dataset, processor)
        scores = {name: scorer(lists[n], targets) for name, lists in ranked.items()}
        if members:
            of_each = [scores[name] for name in members]
            scores[MEMBERS] = {name: np.mean([values[name] for values in of_each], axis=0) for name in of_each[0]}
        scores[CEILING] = scorer(targets.best_lists(max(k)), targets)
        users = _rows(dataset)
        groups = {ALL_USERS: np.ones(len(users), dtype=bool)}
        if not targets.num_history.all():
            groups["users with history"] = targets.num_history > 0
        if len(windows) > 1:
            groups[PANEL] = np.isin(users, everywhere)
        figures = {name: _figures(scores, group, num_rounds, seed) for name, group in groups.items() if group.any()}
        of_all = figures[ALL_USERS]["results"]
        for name, lists in ranked.items():
            for cutoff in k:
                exposed = _exposure(lists[n][:, :cutoff] - NUM_SPECIAL_TOKENS, scorer.num_items, num_rounds, seed)
                of_all[name] |= {f"{metric}@{cutoff}": figure for metric, figure in exposed.items()}
        name = window.name if window else subset
        report.append({"name": name, **targets.describe(), "groups": figures})
        if members:
            report[-1]["overlap"] = _overlaps({name: ranked[name][n] for name in models}, k)
        known = {
            "split": pa.array([str(split)] * len(users)).dictionary_encode(),
            "origin": pa.array([split.cutoff if split.split == "temporal" else split.split] * len(users)),
            "window": pa.array([name] * len(users)).dictionary_encode(),
            "user": interactions.user_ids.take(pa.array(users)),
            "of_all_windows": np.isin(users, everywhere),
            **targets.counts(),
        }
        tables += [
            pa.table({"recommender": pa.array([name] * len(users)).dictionary_encode(), **known, **columns})
            for name, columns in scores.items()
        ]
    description = {
        "split": str(split),
        "subset": subset,
        "k": list(k),
        "exclude_seen": exclude_seen,
        "history": "updated" if update_history else "frozen",
        "num_rounds": num_rounds,
    }
    if members:
        description["members"] = list(members)
    return Evaluation({**description, "windows": report}, pa.concat_tables(tables, promote_options="default"))


def _figures(scores: dict[str, dict[str, np.ndarray]], group: np.ndarray, num_rounds: int, seed: int) -> dict:
    """Means over a group of users, of each recommender and of the model's lead over the others, with intervals."""
    places = {name: list(columns) for name, columns in scores.items()}
    values = np.stack([values[group] for columns in scores.values() for values in columns.values()], axis=1)
    with warnings.catch_warnings():  # nobody may have targets of a kind
        warnings.simplefilter("ignore", RuntimeWarning)
        means = np.nanmean(values, axis=0)
        resampled = resampled_means(values, num_rounds, seed) if num_rounds else values[:0]
        ends = np.cumsum([len(names) for names in places.values()])[:-1]
        means = dict(zip(scores, np.split(means, ends)))
        resampled = dict(zip(scores, np.split(resampled, ends, axis=1)))
        results = {name: with_intervals(places[name], means[name], resampled[name]) for name in scores}
        against = {}
        for name in scores:
            if MODEL in scores and name not in (MODEL, CEILING):
                leads = means[MODEL] - means[name], resampled[MODEL] - resampled[name]
                against[name] = with_intervals(places[name], *leads)
    return {"num_users": int(group.sum()), "results": results, "against": against}


def _overlaps(ranked: dict[str, np.ndarray], k: Sequence[int]) -> dict[str, dict[str, dict[str, float]]]:
    return {
        a: {b: {f"overlap@{cutoff}": overlap(ranked[a], ranked[b], cutoff) for cutoff in k} for b in ranked if b != a}
        for a in ranked
    }


def _exposure(ranked: np.ndarray, num_items: int, num_rounds: int, seed: int) -> dict[str, dict]:
    figures = coverage_and_gini(np.bincount(ranked.ravel(), minlength=num_items).astype(np.float64))
    resampled = resampled_exposure(ranked, num_items, num_rounds, seed) if num_rounds else figures[None][:0]
    return with_intervals(["coverage", "gini"], figures, resampled)
