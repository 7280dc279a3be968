# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Ranking the whole catalogue for many users, and how good that is: by windows, kinds of targets, and baselines."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import torch
from datasets import Dataset
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from .baselines import fit_baselines, item_popularity
from .bootstrap import coverage_and_gini, holm, interval, p_value, resampled_exposure, resampled_means
from .data_collator import DataCollatorForHistories
from .encoding import encode_evaluation, encode_histories, history_lengths
from .interactions import Interactions, read_user_ids
from .metrics.ranking.ranking import ranking_scores
from .modeling_bert4rec import Bert4RecForMaskedLM
from .processing_bert4rec import NUM_SPECIAL_TOKENS, Bert4RecProcessor
from .saving import written_aside
from .splits import Split, Window, training_rows
from .tables import DataError, ids_as


MODEL, CEILING, MEMBERS = "BERT4Rec", "best possible", "mean of the members"
ALL_USERS, PANEL = "all users", "users of all windows"


def check_k(
    k: Sequence[int], processor: Bert4RecProcessor, dataset: Dataset | None = None, exclude_seen: bool = False
):
    """
    Checks that lists of `k` items can be made: for the users of `dataset`, if it is given, without those they have
    seen, if `exclude_seen`.

    Raises:
        `DataError`: if one of `k` is below 1 or beyond the number of items.
    """
    num_items, which = processor.vocab_size - NUM_SPECIAL_TOKENS, "the number of items"
    if dataset is not None and exclude_seen:
        histories = dataset.with_format("arrow")[:]["input_ids"].combine_chunks()
        rows, tokens = pc.list_parent_indices(histories).to_numpy(), pc.list_flatten(histories).to_numpy()
        seen = np.unique(rows * np.int64(processor.vocab_size) + tokens) // processor.vocab_size
        num_items -= int(np.bincount(seen, minlength=1).max())
        which = "the number of items that the user with most of them has not seen"
    if not k or min(k) < 1 or max(k) > num_items:
        raise DataError(f"k is {' '.join(map(str, k))}; it must be from 1 to {num_items}, {which}.")


def recommend_all(
    recommend: Callable,
    dataset: Dataset,
    processor: Bert4RecProcessor,
    k: int,
    exclude_seen: bool = False,
    batch_size: int = 128,
    device: torch.device | str = "cpu",
    description: str | None = None,
) -> np.ndarray:
    """
    Recommends to every user of a data set, batch after batch, users of similar history together.

    Args:
        recommend (`Callable`): [`Bert4RecForMaskedLM.recommend`], or a function that is called alike.
        dataset (`Dataset`): a row a user, as the functions of encoding.py make it.
        k (`int`): number of items a list holds.
        exclude_seen (`bool`, *optional*, defaults to `False`): leave out the items of a user's history.
        batch_size (`int`, *optional*, defaults to 128): users at once.
        device (`torch.device`, *optional*, defaults to `"cpu"`): where `recommend` wants its inputs.
        description (`str`, *optional*): shown beside a progress bar; without it there is none.

    Returns:
        `np.ndarray` of int64, shape `(num_users, k)`: token ids, best first, in the order of the data set.

    Raises:
        `ValueError`: if `k` is beyond the number of items that can be recommended to a user; see [`check_k`].
    """
    ranked = np.empty((len(dataset), k), dtype=np.int64)
    for users, inputs in batches_of(dataset, processor, batch_size, device, description):
        ranked[users] = recommend(**inputs, k=k, exclude_seen=exclude_seen).item_ids.cpu().numpy()
    return ranked


def batches_of(
    dataset: Dataset,
    processor: Bert4RecProcessor,
    batch_size: int = 128,
    device: torch.device | str = "cpu",
    description: str | None = None,
) -> Iterator[tuple[np.ndarray, dict[str, torch.Tensor]]]:
    """The users of a data set, those of similar history together: their rows in it, and what a model takes."""
    order = np.argsort(history_lengths(dataset), kind="stable")
    columns = [name for name in ("input_ids", "user_features") if name in dataset.column_names]
    collator = DataCollatorForHistories(processor)
    batches = DataLoader(dataset.select_columns(columns).select(order), batch_size, collate_fn=collator)
    starts = range(0, len(order), batch_size)
    for start, batch in zip(starts, tqdm(batches, desc=description, disable=description is None, leave=False)):
        yield order[start : start + batch_size], {name: values.to(device) for name, values in batch.items()}


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
    train, _, _ = training_rows(interactions, split)
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


def _rows(dataset: Dataset) -> np.ndarray:
    return dataset.with_format("arrow")[:]["row"].to_numpy()


def _padded(users: np.ndarray, values: np.ndarray, num_users: int) -> np.ndarray:
    """Values in order of their users, a row each, filled up with -1."""
    sizes = np.bincount(users, minlength=num_users)
    padded = np.full((num_users, max(sizes.max(initial=0), 1)), -1)
    padded[users, np.arange(len(users)) - (np.cumsum(sizes) - sizes)[users]] = values
    return padded


class Targets:
    """
    The items to find for the users of a data set of [`encode_evaluation`], by kind: in the user's history, new to the
    user, and outside the vocabulary.
    """

    def __init__(self, dataset: Dataset, processor: Bert4RecProcessor):
        columns = dataset.with_format("arrow")[:]
        histories, relevant = columns["input_ids"].combine_chunks(), columns["relevant"].combine_chunks()
        self.num_history = pc.list_value_length(histories).to_numpy()
        self.users, self.items = pc.list_parent_indices(relevant).to_numpy(), pc.list_flatten(relevant).to_numpy()
        size = max(processor.vocab_size, int(self.items.max(initial=0)) + 1)
        seen = np.sort(pc.list_parent_indices(histories).to_numpy() * size + pc.list_flatten(histories).to_numpy())
        wanted = self.users * size + self.items
        self.is_unknown = self.items >= processor.vocab_size
        self.is_repeat = np.append(seen, -1)[np.searchsorted(seen, wanted)] == wanted

    def lists(self, kind: np.ndarray | None = None) -> np.ndarray:
        """The targets of all users, or those of a kind, `(num_users, most)`; filled up with -1."""
        kind = np.ones(len(self.users), dtype=bool) if kind is None else kind
        return _padded(self.users[kind], self.items[kind], len(self.num_history))

    def best_lists(self, k: int) -> np.ndarray:
        """The best lists there can be, `(num_users, k)`: the targets that the vocabulary has; filled up with -1."""
        known = self.lists(~self.is_unknown)[:, :k]
        return np.pad(known, ((0, 0), (0, k - known.shape[1])), constant_values=-1)

    def counts(self) -> dict[str, np.ndarray]:
        kinds = {"num_targets": None, "num_repeat": self.is_repeat, "num_unknown": self.is_unknown}
        size = len(self.num_history)
        counts = {name: np.bincount(self.users, weights=kind, minlength=size) for name, kind in kinds.items()}
        return {"num_history": self.num_history, **{name: count.astype(np.int32) for name, count in counts.items()}}

    def describe(self) -> dict:
        return {
            "num_users": len(self.num_history),
            "num_targets": len(self.items),
            "repeat_targets": float(self.is_repeat.mean()),
            "unknown_targets": float(self.is_unknown.mean()),
        }


class ListScorer:
    """
    Scores of ranked lists, a value a user.

    Args:
        share_having (`np.ndarray` of shape `(vocab_size,)`): of the training users those who have the item.
    """

    def __init__(self, processor: Bert4RecProcessor, share_having: np.ndarray, k: Sequence[int]):
        self.k, self.num_items = list(k), processor.vocab_size - NUM_SPECIAL_TOKENS
        self.information = -np.log2(share_having)
        sizes = [feature["max_values"] for feature in processor.vocabulary.get("item_features", [])]
        table = np.asarray(processor.item_features())
        self.features = np.split(table, np.cumsum(sizes)[:-1], axis=1) if sizes else []

    def __call__(self, ranked: np.ndarray, targets: Targets) -> dict[str, np.ndarray]:
        """
        Args:
            ranked (`np.ndarray` of shape `(num_users, max(k))`): token ids, best first; negative where there is none.
        """
        scores = ranking_scores(ranked, targets.lists(), self.k)
        for kind, which in (("repeat", targets.is_repeat), ("new", ~targets.is_repeat & ~targets.is_unknown)):
            of_kind = ranking_scores(ranked, targets.lists(which), self.k)
            scores |= {f"{kind}_{name}": values for name, values in of_kind.items()}
        if (ranked >= 0).all():
            for k in self.k:
                scores[f"novelty@{k}"] = self.information[ranked[:, :k]].mean(1)
                if self.features and k > 1:
                    scores[f"diversity@{k}"] = self.diversity(ranked[:, :k])
        return scores

    def diversity(self, ranked: np.ndarray) -> np.ndarray:
        """1 - cosine between the values of two items of a list, mean over features and pairs, `(num_users,)`."""
        num_users, k = ranked.shape
        similarity = np.zeros(num_users)
        for values in self.features:
            num_values = int(values.max()) + 1
            at_once = max(1, 2**24 // num_values)
            for start in range(0, num_users, at_once):
                ids = values[ranked[start : start + at_once]]  # (users, k, values)
                weights = (ids > 0) / np.sqrt(np.maximum((ids > 0).sum(2, keepdims=True), 1))
                keys = ids + num_values * np.arange(len(ids))[:, None, None]
                sums = np.bincount(keys.ravel(), weights.ravel(), num_values * len(ids)).reshape(len(ids), -1)
                # Of unit vectors: the square of a sum is the squares, 1 each, and each pair twice.
                pairs = (sums**2).sum(1) - (ids > 0).any(2).sum(1)
                similarity[start : start + at_once] += pairs / (k * (k - 1))
        return 1 - similarity / len(self.features)


def _figure(mean: float, low: float | None = None, high: float | None = None) -> dict[str, float | None]:
    figures = {"mean": mean} if low is None else {"mean": mean, "low": low, "high": high}
    return {name: None if np.isnan(value) else float(value) for name, value in figures.items()}


def _with_intervals(names: list[str], means: np.ndarray, resampled: np.ndarray) -> dict[str, dict]:
    if not len(resampled):
        return {name: _figure(mean) for name, mean in zip(names, means)}
    return {name: _figure(*figures) for name, *figures in zip(names, means, *interval(means, resampled))}


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
        results = {name: _with_intervals(places[name], means[name], resampled[name]) for name in scores}
        against = {}
        for name in scores:
            if MODEL in scores and name not in (MODEL, CEILING):
                leads = means[MODEL] - means[name], resampled[MODEL] - resampled[name]
                against[name] = _with_intervals(places[name], *leads)
    return {"num_users": int(group.sum()), "results": results, "against": against}


def _overlaps(ranked: dict[str, np.ndarray], k: Sequence[int]) -> dict[str, dict[str, dict[str, float]]]:
    return {
        a: {b: {f"overlap@{cutoff}": overlap(ranked[a], ranked[b], cutoff) for cutoff in k} for b in ranked if b != a}
        for a in ranked
    }


def overlap(a: np.ndarray, b: np.ndarray, k: int) -> float:
    """Mean over users of the share of `k` items that two lists `(num_users, at least k)` have in common."""
    both = np.sort(np.concatenate([a[:, :k], b[:, :k]], axis=1), axis=1)
    return float((both[:, 1:] == both[:, :-1]).sum(1).mean() / k)


def _exposure(ranked: np.ndarray, num_items: int, num_rounds: int, seed: int) -> dict[str, dict]:
    figures = coverage_and_gini(np.bincount(ranked.ravel(), minlength=num_items).astype(np.float64))
    resampled = resampled_exposure(ranked, num_items, num_rounds, seed) if num_rounds else figures[None][:0]
    return _with_intervals(["coverage", "gini"], figures, resampled)


def compare(users_a: pa.Table, users_b: pa.Table, num_rounds: int = 1000, seed: int = 0) -> list[dict]:
    """
    What the model of one evaluation gains on that of another, on the users of both, with paired bootstrap intervals.

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
                "a": _with_intervals(names, means[0], resampled[0]),
                "b": _with_intervals(names, means[1], resampled[1]),
                "difference": _with_intervals(names, means[1] - means[0], difference),
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


def metrics_table(results: dict[str, dict[str, dict]]) -> str:
    """The means of each recommender's metrics, as in an [`Evaluation`]'s report, as Markdown, one a column."""
    metrics = [name for name in next(iter(results.values())) if not name.startswith(("repeat_", "new_"))]
    width = max(map(len, metrics))
    lines = [
        f"| {'':{width}} | {' | '.join(results)} |",
        f"|{'-' * (width + 2)}|{'|'.join('-' * (len(name) + 1) + ':' for name in results)}|",
    ]
    for metric in metrics:
        means = [figures.get(metric, {}).get("mean") for figures in results.values()]
        cells = ["" if mean is None else f"{mean:.4f}" for mean in means]
        line = " | ".join(f"{cell:>{len(name)}}" for name, cell in zip(results, cells))
        lines.append(f"| {metric:{width}} | {line} |")
    return "\n".join(lines)


def write_submission(
    model: Bert4RecForMaskedLM,
    processor: Bert4RecProcessor,
    interactions: Interactions,
    submission_file: str,
    output_file: str,
    k: int = 25,
    exclude_seen: bool = False,
    batch_size: int = 128,
) -> dict[str, int]:
    """
    Writes a CSV file with the `k` items to recommend to each user that `submission_file` lists, in its order, after
    the user's whole history: the user column and `predicted_list`, a Python-style list of raw item ids, best first. A
    user without history is recommended from MASK and profile, one without profile from MASK alone.

    Returns:
        `dict[str, int]`: how many users of each kind there were.

    Raises:
        `DataError`: for a file that cannot be used.
    """
    column = interactions.arguments.user_column
    ids = read_user_ids(interactions.arguments, submission_file)
    codes = pc.index_in(ids_as(ids, interactions.user_ids.type), interactions.user_ids).fill_null(-1).to_numpy()
    users, row = np.unique(codes, return_inverse=True)
    dataset = encode_histories(interactions, processor, users)
    check_k([k], processor, dataset, exclude_seen)
    ranked = recommend_all(
        model.eval().recommend, dataset, processor, k, exclude_seen, batch_size, model.device, "recommending"
    )
    items = pa.array([repr(item) for item in processor.vocabulary["item_ids"]], pa.string())
    items = items.take(pa.array(ranked[row].ravel() - NUM_SPECIAL_TOKENS))
    offsets = pa.array(np.arange(len(codes) + 1, dtype=np.int32) * k)
    lists = pc.binary_join(pa.ListArray.from_arrays(offsets, items), ", ")
    table = pa.table({column: ids, "predicted_list": pc.binary_join_element_wise("[", lists, "]", "")})
    with written_aside(output_file) as part:
        pa.csv.write_csv(table, part, pa.csv.WriteOptions(quoting_style="needed"))
    with_events = np.isin(codes, interactions.user)
    return {
        "profiles written": len(codes),
        "of them without events, recommended from their profile": int((~with_events & (codes >= 0)).sum()),
        "of them in no table, recommended from nothing": int((codes < 0).sum()),
    }
