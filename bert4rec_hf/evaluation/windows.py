# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Evaluation over the whole catalogue: by windows and kinds of targets, compared with baselines."""

import warnings
from collections.abc import Callable, Mapping, Sequence
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
from .baselines import fit_baselines, item_popularity, with_shuffled_histories
from .bootstrap import coverage_and_gini, resampled_exposure, resampled_means, with_intervals
from .evaluator import RankingEvaluator
from .rivals import fit_rivals
from .targets import ListScorer, Targets, overlap


MODEL, CEILING, MEMBERS = "BERT4Rec", "best possible", "mean of the members"
SHUFFLED = f"{MODEL}, histories shuffled"
ALL_USERS, PANEL = "all users", "users of all windows"


@dataclass
class Evaluation:
    """
    What [`evaluate`] returns.

    Args:
        report (`dict`): the figures, ready for JSON. `"windows"` has one `dict` per window: `"name"`, `"num_users"`,
            `"num_targets"`, `"repeat_targets"`, `"unknown_targets"` and `"tied_targets"` (shares of the targets that
            are in the user's history, that are outside the vocabulary, and that share their time with another event
            of the user, so that the file says which is first), and `"groups"`: for groups of users `"num_users"`,
            `"results"` (for each recommender and metric `"mean"`, `"low"` and `"high"`) and `"against"` (the same for
            the model's lead over each baseline). `"rivals"`, if asked for, tells what [`fit_rivals`] tried.
        users (`pa.Table`): one row per window, recommender and user, one column per metric; `"origin"` (a cut-off, or
            the name of another split) tells the windows of several evaluations apart.
    """

    report: dict
    users: pa.Table


def recommenders_of(report: dict) -> list[str]:
    """The names of the evaluated recommenders, the model first if given."""
    return [name for name in report["windows"][0]["groups"][ALL_USERS]["results"] if name != CEILING]


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
    allow_fewer: bool = False,
    rivals: bool = False,
    shuffle_histories: bool = False,
    request_time: bool = False,
) -> Evaluation:
    """
    Metrics of a model over the whole catalogue, compared with those of baselines on the same users and of the best
    lists that the vocabulary allows, with bootstrap intervals over users.

    Each ranking metric, such as `recall@k`, is also computed as `repeat_recall@k`, for targets in the user's history,
    and as `new_recall@k`, for the other targets in the vocabulary; recall and NDCG also as `head_recall@k`,
    `mid_recall@k` and `tail_recall@k`, for targets among the most popular items, which have a third of the training
    events, among those with the next third, and among the others. Besides the accuracy there are, for each
    `k`, `novelty` (mean self-information in bits, by the share of training users who have the item), `diversity` (1 -
    cosine between the values of two items, mean over features and pairs), and of all lists together `coverage` (share
    of the catalogue) and `gini` (how unequally it is recommended).

    Args:
        model ([`Bert4RecForMaskedLM`], *optional*): if not given, only the baselines are evaluated.
        recent_days (`int`, *optional*, defaults to 30): days of the baseline "popular in the last days".
        windows (`Sequence[Window]`, *optional*): days of the targets, evaluated window by window; all together if not
            given.
        update_history (`bool`, *optional*, defaults to `False`): whether the histories run up to each window, instead
            of ending where the targets of the split begin.
        num_rounds (`int`, *optional*, defaults to 1000): samples of the bootstrap; 0 for no intervals.
        members (`Mapping[str, Bert4RecForMaskedLM]`, *optional*): further models by name, such as the ensemble's
            members; "member NAME" where the name is taken. Adds their mean and, in each window of the report,
            `"overlap"`: for each pair of names and each k, the mean share of items that their lists have in
            common.
        allow_fewer (`bool`, *optional*, defaults to `False`): whether lists may be shorter than `k`, where there are
            not that many items. They have no novelty and no diversity.
        rivals (`bool`, *optional*, defaults to `False`): compare also with ItemKNN, EASE and ALS, tuned on the
            validation rows; see [`fit_rivals`].
        shuffle_histories (`bool`, *optional*, defaults to `False`): compare also with the model itself on histories
            in a random order: its lead over this is what it has learnt from the order.
        request_time (`bool`, *optional*, defaults to `False`): whether a model that reads times knows the moment of
            each user's first target.

    Raises:
        `DataError`: if nobody is left to evaluate, if `k` does not fit, or if the model was trained on a target.
    """
    split, request_time = split.of(interactions), request_time and processor.reads_times
    log = split.apply(interactions)
    train = log.fitted_rows
    baselines = fit_baselines(interactions, processor, train, recent_days)
    exclude_seen = exclude_seen or (model is not None and model.config.exclude_seen_in_loss)
    told = None
    if rivals:
        fitted, told = fit_rivals(interactions, processor, split, max(k), exclude_seen, progress=progress)
        baselines |= fitted
    if shuffle_histories and model is not None:
        baselines[SHUFFLED] = with_shuffled_histories(model)
    models = {MODEL: model} if model is not None else {}
    members = _unique_names(members or {}, (MODEL, CEILING, MEMBERS, *baselines))
    windows = list(windows or [None])
    settings = {"k": k, "exclude_seen": exclude_seen, "batch_size": batch_size, "allow_fewer": allow_fewer}

    def evaluator_of(window: Window | None) -> RankingEvaluator:
        rows = encode_evaluation(interactions, processor, split, subset, window, update_history, request_time)
        return RankingEvaluator(rows, processor, **settings)

    evaluators = [evaluator_of(window) for window in windows]
    rankers = evaluators
    if not (update_history or request_time) and len(windows) > 1:  # one ranking serves all windows
        rankers = [evaluator_of(Window(windows[0].first, windows[-1].end))]
    for evaluator in rankers:
        evaluator.progress = progress
    ranked = {name: _lists(model, name, rankers, evaluators) for name, model in {**models, **members}.items()}
    for evaluator in rankers:  # baselines need dense scores, whatever the size of the catalogue
        evaluator.batch_size = max(1, min(batch_size, 2**24 // processor.vocab_size))
    ranked |= {name: _lists(baseline, name, rankers, evaluators) for name, baseline in baselines.items()}

    event_counts = item_popularity(interactions, processor, train)
    user_counts = item_popularity(interactions, processor, train, of_users=True)
    # An item without training rows counts as watched by one user.
    user_share = np.maximum(user_counts, 1) / len(np.unique(interactions.user[train]))
    scorer = ListScorer(processor, user_share, event_counts, k)
    users_of_all_windows = reduce(np.intersect1d, [evaluator.targets.rows for evaluator in evaluators])
    report, tables = [], []
    for number, (window, evaluator) in enumerate(zip(windows, evaluators)):
        name, targets = window.name if window else subset, evaluator.targets
        lists = {recommender: lists_per_window[number] for recommender, lists_per_window in ranked.items()}
        scores = {recommender: scorer(item_ids, targets) for recommender, item_ids in lists.items()}
        if members:
            member_scores = [scores[member] for member in members]
            scores[MEMBERS] = {
                metric: np.mean([values[metric] for values in member_scores], axis=0) for metric in member_scores[0]
            }
        scores[CEILING] = scorer(targets.best_lists(max(k)), targets)
        panel = np.isin(targets.rows, users_of_all_windows)
        groups = _groups(targets, panel if len(windows) > 1 else None)
        figures = {group: _figures(scores, users, num_rounds, seed) for group, users in groups.items()}
        for recommender, item_ids in lists.items():
            exposure = _exposure(item_ids, k, scorer.num_items, num_rounds, seed)
            figures[ALL_USERS]["results"][recommender] |= exposure
        target_rows = log.history_and_targets(subset, window, update_history)[1]
        tied = None if interactions.tied is None else float(interactions.tied[target_rows].mean())
        report.append({"name": name, **targets.describe(), "tied_targets": tied, "groups": figures})
        if members:
            report[-1]["overlap"] = _overlaps({name: lists[name] for name in (MODEL, *members)}, k)
        columns = {
            "split": _repeated(str(split), targets),
            "origin": pa.array([split.cutoff if split.split == "temporal" else split.split] * len(panel)),
            "window": _repeated(name, targets),
            "user": interactions.user_ids.take(pa.array(targets.rows)),
            "of_all_windows": panel,
            **targets.counts(),
        }
        tables += [pa.table({"recommender": _repeated(name, targets), **columns, **scores[name]}) for name in scores]
    description = {
        "split": str(split),
        "subset": subset,
        "k": list(k),
        "exclude_seen": exclude_seen,
        "history": "updated" if update_history else "frozen",
        "request_time": request_time if processor.reads_times else None,
        "num_rounds": num_rounds,
    }
    if told:
        description["rivals"] = told
    if members:
        description["members"] = list(members)
    return Evaluation({**description, "windows": report}, pa.concat_tables(tables, promote_options="default"))


def _unique_names(members: Mapping[str, Bert4RecForMaskedLM], taken: Sequence[str]) -> dict[str, Bert4RecForMaskedLM]:
    """The members, under names that are unique in the report."""
    named = {}
    for name, member in members.items():
        while name in taken or name in named:
            name = f"member {name}"
        named[name] = member
    return named


def _lists(
    recommender: Bert4RecForMaskedLM | Callable,
    name: str,
    rankers: Sequence[RankingEvaluator],
    evaluators: Sequence[RankingEvaluator],
) -> list[np.ndarray]:
    """A recommender's lists for the users of each window; `rankers` may be one evaluator for all windows."""
    lists = [evaluator.rank(recommender, f"ranking {name}") for evaluator in rankers]
    if len(rankers) == len(evaluators):
        return lists
    return [lists[0][np.searchsorted(rankers[0].targets.rows, evaluator.targets.rows)] for evaluator in evaluators]


def _groups(targets: Targets, panel: np.ndarray | None) -> dict[str, np.ndarray]:
    """Masks of the user groups of a report, without empty groups."""
    groups = {ALL_USERS: np.ones(len(targets.rows), dtype=bool)}
    if not targets.num_history.all():
        groups["users with history"] = targets.num_history > 0
    if panel is not None:
        groups[PANEL] = panel
    return {name: users for name, users in groups.items() if users.any()}


def _repeated(value: str, targets: Targets) -> pa.Array:
    return pa.array([value] * len(targets.rows)).dictionary_encode()


def _figures(scores: dict[str, dict[str, np.ndarray]], group: np.ndarray, num_rounds: int, seed: int) -> dict:
    """Means over a group of users, of each recommender and of the model's lead over the others, with intervals."""
    places = {name: list(columns) for name, columns in scores.items()}
    values = np.stack([values[group] for columns in scores.values() for values in columns.values()], axis=1)
    with warnings.catch_warnings():  # a metric may be NaN for all users
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


def _exposure(ranked: np.ndarray, k: Sequence[int], num_items: int, num_rounds: int, seed: int) -> dict[str, dict]:
    """Coverage and Gini index of lists `(num_users, max(k))` of token ids, for each k, with intervals."""
    exposure = {}
    for cutoff in k:
        items = ranked[:, :cutoff] - NUM_SPECIAL_TOKENS
        figures = coverage_and_gini(np.bincount(items[items >= 0], minlength=num_items).astype(np.float64))
        resampled = resampled_exposure(items, num_items, num_rounds, seed) if num_rounds else figures[None][:0]
        exposure |= with_intervals([f"coverage@{cutoff}", f"gini@{cutoff}"], figures, resampled)
    return exposure
