# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Ranking the whole catalogue for many users, and scoring the lists."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from accelerate import Accelerator
from datasets import Dataset
from tqdm.auto import tqdm
from transformers.modeling_outputs import ModelOutput

from ..data.collators import DataCollatorForHistories
from ..data.columns import ids_as, list_values
from ..data.encoding import as_dataset, encode_histories, history_lengths
from ..data.interactions import Interactions, read_user_ids
from ..errors import DataError
from ..files import atomic_write
from ..metrics.ranking.ranking import ranking_scores
from ..model.modeling_bert4rec import Bert4RecForMaskedLM, Bert4RecPreTrainedModel
from ..model.processing_bert4rec import Bert4RecProcessor
from ..model.vocabulary_bert4rec import NUM_SPECIAL_TOKENS
from .targets import Targets


class RankingEvaluator:
    """
    Ranks the whole catalogue for the users of a data set, and scores the lists. Called with a model it returns the
    metrics of `metrics/ranking`, means over the users.

    Args:
        dataset (`Dataset`):
            One row per user, as from [`encode_evaluation`]: `input_ids`, `user_features`, and `relevant`, the target
            items. A torch data set, a list of dicts or a stream works too; without `relevant` only
            [`~RankingEvaluator.rank`] does.
        processor ([`Bert4RecProcessor`]):
            The model's.
        k (`Sequence[int]`, *optional*, defaults to `(10,)`):
            Lengths of the lists.
        exclude_seen (`bool`, *optional*, defaults to `False`):
            Leave the items of a user's history out.
        batch_size (`int`, *optional*, defaults to 128):
            Users ranked at once.
        accelerator (`Accelerator`, *optional*):
            Splits the users between its processes, each of which must call the evaluator; all get the same result.
        progress (`bool`, *optional*, defaults to `False`):
            Whether to show a progress bar.
        allow_fewer (`bool`, *optional*, defaults to `False`):
            Whether lists may be shorter, where there are not that many items.

    Raises:
        `DataError`: if `k` does not fit the catalogue, or the rows have no `input_ids`.

    Example:

    ```python
    >>> evaluator = RankingEvaluator(encode_evaluation(interactions, processor, split), processor, k=(10,))
    >>> evaluator(model)["ndcg@10"]
    0.1702
    ```"""

    def __init__(
        self,
        dataset: Dataset,
        processor: Bert4RecProcessor,
        k: Sequence[int] = (10,),
        exclude_seen: bool = False,
        batch_size: int = 128,
        accelerator: Accelerator | None = None,
        progress: bool = False,
        allow_fewer: bool = False,
    ):
        self.dataset, self.processor, self.k = as_dataset(dataset), processor, tuple(k)
        self.exclude_seen, self.batch_size = exclude_seen, batch_size
        self.accelerator, self.progress, self.allow_fewer = accelerator, progress, allow_fewer
        check_k(k, processor, self.dataset, exclude_seen, allow_fewer)

    def __call__(self, model: Bert4RecForMaskedLM | Callable) -> dict[str, float]:
        """The metrics by name, such as `recall@10`, of a model or a function with the signature of its `recommend`."""
        return self.metrics(self.rank(model))

    @cached_property
    def targets(self) -> Targets:
        """The items to find."""
        return Targets(self.dataset, self.processor)

    def rank(self, model: Bert4RecForMaskedLM | Callable, description: str = "ranking") -> np.ndarray:
        """The lists, int64 `(num_users, max(k))`: token ids, best first, in the order of the data set."""
        recommend = getattr(model, "recommend", model)
        device = getattr(model, "device", "cpu" if self.accelerator is None else self.accelerator.device)
        is_training = getattr(model, "training", False)
        settings = (self.processor, max(self.k), self.exclude_seen, self.batch_size, device, self.allow_fewer)
        if is_training:
            model.eval()
        try:
            if self.accelerator is None or self.accelerator.num_processes == 1:
                return recommend_all(recommend, self.dataset, *settings, description if self.progress else None)
            # Each process ranks the same number of users: with sharded parameters all must run in step.
            num_processes, process_index = self.accelerator.num_processes, self.accelerator.process_index
            places = np.arange(-(-len(self.dataset) // num_processes)) * num_processes + process_index
            bar_label = description if self.progress and self.accelerator.is_main_process else None
            ranked = recommend_all(recommend, self.dataset.select(places % len(self.dataset)), *settings, bar_label)
            gathered = self.accelerator.gather(torch.from_numpy(ranked).to(self.accelerator.device)).cpu().numpy()
            by_user = gathered.reshape(num_processes, len(ranked), -1).swapaxes(0, 1)
            return by_user.reshape(-1, ranked.shape[1])[: len(self.dataset)]
        finally:
            if is_training:
                model.train()

    def metrics(self, ranked: np.ndarray) -> dict[str, float]:
        """The means of [`~RankingEvaluator.score`] over the users with targets."""
        return {name: float(np.nanmean(values)) for name, values in self.score(ranked).items()}

    def score(self, ranked: np.ndarray) -> dict[str, np.ndarray]:
        """The metrics of lists `(num_users, max(k))`, one value per user: see `metrics/ranking`."""
        return ranking_scores(ranked, self.targets.lists(), self.k)


def check_k(
    k: Sequence[int],
    processor: Bert4RecProcessor,
    dataset: Dataset | None = None,
    exclude_seen: bool = False,
    allow_fewer: bool = False,
):
    """
    Checks that lists of `k` items are possible, for the users of `dataset` if given, without the items they have seen
    if `exclude_seen`; shorter ones will do if `allow_fewer`.

    Raises:
        `DataError`: if one of `k` is below 1 or beyond the number of items.
    """
    num_items, limit_name = processor.vocab_size - NUM_SPECIAL_TOKENS, "the number of items"
    if allow_fewer:
        num_items, limit_name = max(num_items, 10_000), "the longest list"
    elif dataset is not None and exclude_seen:
        rows, tokens = list_values(dataset.with_format("arrow")[:]["input_ids"])
        seen = np.unique(rows * np.int64(processor.vocab_size) + tokens.to_numpy()) // processor.vocab_size
        num_items -= int(np.bincount(seen, minlength=1).max())
        limit_name = "the number of items that the user with most of them has not seen"
    if not k or min(k) < 1 or max(k) > num_items:
        hint = "" if allow_fewer or min(k, default=0) < 1 else " Shorter lists are made by --allow_fewer."
        raise DataError(f"k is {' '.join(map(str, k))}; it must be from 1 to {num_items}, {limit_name}.{hint}")


def recommend_all(
    recommend: Callable,
    dataset: Dataset,
    processor: Bert4RecProcessor,
    k: int,
    exclude_seen: bool = False,
    batch_size: int = 128,
    device: torch.device | str = "cpu",
    allow_fewer: bool = False,
    description: str | None = None,
) -> np.ndarray:
    """
    Recommends to every user of a data set, in batches of users with similar history lengths.

    Args:
        recommend (`Callable`): [`Bert4RecForMaskedLM.recommend`], or a function with its signature.
        dataset (`Dataset`): one row per user, as from encoding.py.
        k (`int`): length of the lists.
        exclude_seen (`bool`, *optional*, defaults to `False`): leave out the items of a user's history.
        batch_size (`int`, *optional*, defaults to 128): users per batch.
        device (`torch.device`, *optional*, defaults to `"cpu"`): device of the inputs.
        allow_fewer (`bool`, *optional*, defaults to `False`): whether lists may be shorter.
        description (`str`, *optional*): label of the progress bar; no bar if not given.

    Returns:
        `np.ndarray` of int64, shape `(num_users, k)`: token ids, best first, in the order of the data set; -1 where
        there is none.

    Raises:
        `ValueError`: if `k` is beyond the number of items that can be recommended to a user; see [`check_k`].
    """
    ranked = np.full((len(dataset), k), -1, dtype=np.int64)
    settings = {"k": k, "exclude_seen": exclude_seen} | ({"allow_fewer": True} if allow_fewer else {})
    batches = batches_of(dataset, processor, batch_size, device, description)
    num_threads = _num_threads(recommend, device, num_batches=-(-len(dataset) // batch_size))
    for users, lists in _map(lambda inputs: recommend(**inputs, **settings), batches, num_threads):
        item_ids = lists.item_ids.cpu().numpy()
        ranked[users, : item_ids.shape[1]] = np.where(item_ids == processor.pad_token_id, -1, item_ids)
    return ranked


def _num_threads(recommend: Callable, device: torch.device | str, num_batches: int) -> int:
    """How many batches to rank at once: on a CPU two batches with a thread each take 0.6 of one after the other."""
    method = recommend.func if isinstance(recommend, partial) else recommend
    model = getattr(method, "__self__", None)
    # Other functions may not be thread-safe; processes that share weights must run in step.
    if not isinstance(model, Bert4RecPreTrainedModel) or torch.distributed.is_initialized():
        return 1
    has_hooks = any(hasattr(module, "_hf_hook") for module in model.modules())  # offloaded weights come and go
    if torch.device(device).type != "cpu" or has_hooks or torch.is_autocast_enabled("cpu"):
        return 1
    return min(torch.get_num_threads(), num_batches, 8)  # each needs memory for its scores


def _map(function: Callable, batches: Iterator, num_threads: int) -> Iterator[tuple[np.ndarray, ModelOutput]]:
    """The users of each batch, and `function` of its inputs."""
    if num_threads < 2:
        yield from ((users, function(inputs)) for users, inputs in batches)
        return
    all_threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(num_threads, initializer=partial(torch.set_num_threads, 1)) as pool:
            waiting: deque = deque()
            for users, inputs in batches:  # the next batch is made while these are ranked
                waiting.append((users, pool.submit(function, inputs)))
                if len(waiting) > num_threads:
                    users, ranked = waiting.popleft()
                    yield users, ranked.result()
            yield from ((users, ranked.result()) for users, ranked in waiting)
    finally:
        torch.set_num_threads(all_threads)


def batches_of(
    dataset: Dataset,
    processor: Bert4RecProcessor,
    batch_size: int = 128,
    device: torch.device | str = "cpu",
    description: str | None = None,
) -> Iterator[tuple[np.ndarray, dict[str, torch.Tensor]]]:
    """Batches of users with similar history lengths: their row numbers in the data set, and the model inputs."""
    order = np.argsort(history_lengths(dataset), kind="stable")
    names = ("input_ids", "user_features", *(("timestamps", "request_time") if processor.reads_times else ()))
    columns = [name for name in names if name in dataset.column_names]
    collator = DataCollatorForHistories(processor)
    rows = dataset.select_columns(columns).select(order).with_format("arrow")
    starts = range(0, len(order), batch_size)
    for start in tqdm(starts, desc=description, disable=description is None, leave=False):
        lists = {name: _arrays(column) for name, column in zip(columns, rows[start : start + batch_size].columns)}
        batch = collator([dict(zip(lists, row)) for row in zip(*lists.values())])
        yield order[start : start + batch_size], {name: values.to(device) for name, values in batch.items()}


def _arrays(column: pa.ChunkedArray) -> np.ndarray | list[np.ndarray]:
    """A column of lists as one array a row, which takes a third of the time that lists do; one of numbers as it is."""
    if not (pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type)):
        return column.cast(pa.int64()).fill_null(0).to_numpy()
    rows, values = list_values(column)
    ends = np.bincount(rows, minlength=len(column)).cumsum()
    return np.split(values.to_numpy().astype(np.int64, copy=False), ends[:-1])


def write_submission(
    model: Bert4RecForMaskedLM,
    processor: Bert4RecProcessor,
    interactions: Interactions,
    submission_file: str | None,
    output_file: str,
    k: int = 25,
    exclude_seen: bool = False,
    batch_size: int = 128,
    allow_fewer: bool = False,
    max_per: dict[str, int] | None = None,
    diversity: float = 0.0,
    request_time: int = 0,
) -> dict[str, int]:
    """
    Writes a CSV file with the `k` items to recommend to each user that `submission_file` lists, in its order, or to
    all users of the log and of its profiles if it is `None`, after the user's whole history: the user column and
    `predicted_list`, a Python-style list of raw item ids, best first. A missing history leaves MASK and profile as the
    input, a missing profile too leaves MASK alone. If `allow_fewer`, lists are shorter where there are not `k` items;
    otherwise such a `k` is refused. `max_per` and `diversity` are those of [`~Bert4RecForMaskedLM.recommend`];
    `request_time` is the moment to recommend for, in seconds, for a model that reads times.

    Returns:
        `dict[str, int]`: the number of users of each kind.

    Raises:
        `DataError`: for a file that cannot be used.
    """
    both_there = submission_file and os.path.exists(output_file) and os.path.exists(submission_file)
    if both_there and os.path.samefile(submission_file, output_file):
        raise DataError(f"{submission_file} lists the profiles; give another --output_file.")
    column = interactions.arguments.user_column
    ids = interactions.user_ids
    if submission_file is not None:
        ids = read_user_ids(interactions.arguments, submission_file)
    codes = pc.index_in(ids_as(ids, interactions.user_ids), interactions.user_ids).fill_null(-1).to_numpy()
    users, row = np.unique(codes, return_inverse=True)
    dataset = encode_histories(interactions, processor, users, request_time)
    check_k([k], processor, dataset, exclude_seen, allow_fewer)
    settings = (processor, k, exclude_seen, batch_size, model.device, allow_fewer, "recommending")
    recommend = partial(model.eval().recommend, max_per=max_per, diversity=diversity)
    try:
        ranked = recommend_all(recommend, dataset, *settings)[row]
    except ValueError as error:  # of a limit
        raise DataError(str(error)) from None
    items = pa.array([repr(item) for item in processor.vocabulary["item_ids"]], pa.string())
    items = items.take(pa.array(ranked[ranked >= 0] - NUM_SPECIAL_TOKENS))
    offsets = pa.array(np.r_[0, (ranked >= 0).sum(1).cumsum()].astype(np.int32))
    lists = pc.binary_join(pa.ListArray.from_arrays(offsets, items), ", ")
    table = pa.table({column: ids, "predicted_list": pc.binary_join_element_wise("[", lists, "]", "")})
    with atomic_write(output_file) as part:
        pa.csv.write_csv(table, part, pa.csv.WriteOptions(quoting_style="needed"))
    has_events = np.isin(codes, interactions.user)
    return {
        "profiles written": len(codes),
        "of them without events, recommended from their profile": int((~has_events & (codes >= 0)).sum()),
        "of them in no table, recommended from nothing": int((codes < 0).sum()),
    }
