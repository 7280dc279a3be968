# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Ranking the whole catalogue for many users, and how good the ranking is beside simple baselines."""

import os
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import torch
from datasets import Dataset
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from .data_collator import DataCollatorForHistories
from .encoding import encode_evaluation, encode_histories, history_lengths, token_ids
from .interactions import Interactions, read_user_ids
from .metrics.ranking.ranking import ranking_scores
from .modeling_bert4rec import Bert4RecForMaskedLM
from .processing_bert4rec import NUM_SPECIAL_TOKENS, Bert4RecProcessor
from .ranking_bert4rec import rank_items
from .splits import Split, training_rows
from .tables import DataError, ids_as


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
    order = np.argsort(history_lengths(dataset), kind="stable")
    collator = DataCollatorForHistories(processor)
    batches = DataLoader(dataset.select_columns(_inputs(dataset)).select(order), batch_size, collate_fn=collator)
    ranked = np.empty((len(dataset), k), dtype=np.int64)
    done = 0
    for batch in tqdm(batches, desc=description, disable=description is None, leave=False):
        inputs = {name: values.to(device) for name, values in batch.items()}
        item_ids = recommend(**inputs, k=k, exclude_seen=exclude_seen).item_ids
        ranked[order[done : done + len(item_ids)]] = item_ids.cpu().numpy()
        done += len(item_ids)
    return ranked


def _inputs(dataset: Dataset) -> list[str]:
    return [name for name in ("input_ids", "user_features") if name in dataset.column_names]


def popularity(interactions: Interactions, processor: Bert4RecProcessor, rows: np.ndarray) -> Callable:
    """
    A baseline that is called like [`Bert4RecForMaskedLM.recommend`]: the items with the most events.

    Args:
        rows (`np.ndarray` of bool, shape `(num_rows,)`): the rows of the log that count.
    """
    tokens = token_ids(interactions, processor)[interactions.item[rows]]
    counts = np.bincount(tokens[tokens >= 0], minlength=processor.vocab_size)
    # Ties go to the lower id, on every machine.
    scores = torch.from_numpy(counts - np.arange(len(counts)) / len(counts))
    scores[:NUM_SPECIAL_TOKENS] = -torch.inf

    def recommend(input_ids, attention_mask=None, user_features=None, k=10, exclude_seen=False):
        return rank_items(scores.expand(len(input_ids), -1), input_ids, k, exclude_seen)

    return recommend


def evaluate(
    model: Bert4RecForMaskedLM,
    processor: Bert4RecProcessor,
    interactions: Interactions,
    split: Split,
    subset: str = "test",
    k: Sequence[int] = (10, 25),
    exclude_seen: bool = False,
    recent_days: int = 30,
    batch_size: int = 128,
    progress: bool = True,
) -> dict:
    """
    Metrics of a model over the whole catalogue, beside two baselines on the same users: the most popular items of the
    training rows, and those of their last `recent_days` days.

    Returns:
        `dict`: `"results"`, a dict of metrics (means over users, `"recall@10"`, ...) for each recommender;
        `"num_users"`, `"num_targets"`; `"unknown_targets"`, the share of targets that are outside the vocabulary and
        count as misses; `"split"`, `"subset"`, `"exclude_seen"`.

    Raises:
        `DataError`: if nobody is left to evaluate, or `k` does not fit.
    """
    dataset = encode_evaluation(interactions, processor, split, subset)
    check_k(k, processor, dataset, exclude_seen)
    relevant = dataset.with_format("arrow")["relevant"].combine_chunks()
    train, _, _ = training_rows(interactions, split)
    last_day = int(interactions.day[train].max())
    recent = train & (interactions.day > last_day - recent_days)
    recommenders = {
        "BERT4Rec": (model.eval().recommend, model.device),
        "most popular": (popularity(interactions, processor, train), "cpu"),
        f"popular in the last {recent_days} days": (popularity(interactions, processor, recent), "cpu"),
    }
    results = {}
    for name, (recommend, device) in recommenders.items():
        description = f"ranking {name}" if progress else None
        ranked = recommend_all(
            recommend, dataset, processor, max(k), exclude_seen, batch_size, device, description=description
        )
        scores = ranking_scores(ranked, relevant.to_numpy(zero_copy_only=False), k)
        results[name] = {metric: float(np.nanmean(values)) for metric, values in scores.items()}
    return {
        "results": results,
        **describe_targets(dataset, processor),
        "split": str(split),
        "subset": subset,
        "exclude_seen": exclude_seen,
    }


def describe_targets(dataset: Dataset, processor: Bert4RecProcessor) -> dict:
    """`"num_users"`, `"num_targets"` and `"unknown_targets"` of a data set of [`encode_evaluation`]."""
    targets = dataset.with_format("arrow")[:]["relevant"].combine_chunks().flatten().to_numpy()
    return {
        "num_users": len(dataset),
        "num_targets": len(targets),
        "unknown_targets": float((targets >= processor.vocab_size).mean()),
    }


def metrics_table(evaluation: dict) -> str:
    """The result of [`evaluate`] as a Markdown table, a column a recommender."""
    results = evaluation["results"]
    metrics = list(next(iter(results.values())))
    width = max(map(len, metrics))
    lines = [
        f"| {'':{width}} | {' | '.join(results)} |",
        f"|{'-' * (width + 2)}|{'|'.join('-' * (len(name) + 1) + ':' for name in results)}|",
    ]
    for metric in metrics:
        values = " | ".join(f"{result[metric]:>{len(name)}.4f}" for name, result in results.items())
        lines.append(f"| {metric:{width}} | {values} |")
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
    items = pa.array(processor.vocabulary["item_ids"]).take(pa.array(ranked[row].ravel() - NUM_SPECIAL_TOKENS))
    if pa.types.is_string(items.type):
        quoted = pc.replace_substring(pc.replace_substring(items, "\\", "\\\\"), "'", "\\'")
        items = pc.binary_join_element_wise("'", quoted, "'", "")
    offsets = pa.array(np.arange(len(codes) + 1, dtype=np.int32) * k)
    lists = pc.binary_join(pa.ListArray.from_arrays(offsets, items.cast(pa.string())), ", ")
    table = pa.table({column: ids, "predicted_list": pc.binary_join_element_wise("[", lists, "]", "")})
    part = f"{output_file}.part"
    pa.csv.write_csv(table, part, pa.csv.WriteOptions(quoting_style="needed"))
    os.replace(part, output_file)
    with_events = np.isin(codes, interactions.user)
    return {
        "profiles written": len(codes),
        "of them without events, recommended from their profile": int((~with_events & (codes >= 0)).sum()),
        "of them in no table, recommended from nothing": int((codes < 0).sum()),
    }
