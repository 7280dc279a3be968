# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Adding new items, item feature values and user feature values to a trained model."""

import copy

import pyarrow as pa
import pyarrow.compute as pc
import torch
from huggingface_hub.errors import StrictDataclassError
from numpy.typing import ArrayLike
from torch import nn

from ..data.columns import ids_as
from ..errors import DataError, one_line
from ..model.layers_bert4rec import Bert4RecItemEmbeddings
from ..model.modeling_bert4rec import Bert4RecForMaskedLM, Bert4RecPreTrainedModel
from ..model.modeling_bert4rec_ensemble import Bert4RecEnsembleForMaskedLM
from ..model.processing_bert4rec import Bert4RecProcessor
from ..model.vocabulary_bert4rec import NUM_SPECIAL_TOKENS, are_numbers
from .load import load_checkpoint


# How many items of the nearest vectors a new item's rows start from.
NUM_NEAREST = 10


@torch.no_grad()
def add_items(
    model: Bert4RecPreTrainedModel,
    processor: Bert4RecProcessor,
    item_ids: list,
    titles: list | None = None,
    item_features: dict[str, list] | None = None,
    user_features: dict[str, list] | None = None,
    vector_features: dict[str, ArrayLike] | None = None,
) -> list:
    """
    Adds items and feature values to a processor and its model. Existing entries keep their ids, rows and order. The
    rows of a new item are initialised with the mean over its feature values of the mean of the items with that value,
    and over its vectors of the mean of the ten items with the nearest; with the mean of all items if it has neither. A
    new value of an item feature is initialised with the mean of the others, one of a user feature with 0.

    Args:
        model ([`Bert4RecForMaskedLM`] or [`Bert4RecModel`]):
            Extended in place, with its config. Create optimizers afterwards: the parameters are new.
        processor ([`Bert4RecProcessor`]):
            Extended in place.
        item_ids, titles, item_features, user_features, vector_features:
            As for [`Bert4RecProcessor.add_items`].

    Returns:
        `list`: the new ids; known ones are unchanged.

    Raises:
        `ValueError`: if the processor is not the model's, for an ensemble, or for what [`Bert4RecProcessor.add_items`]
        refuses; nothing has changed then.

    Example:

    ```python
    >>> add_items(model, processor, [9001, 9002], titles=["곰 13화", None], item_features={"genre": ["노래", "동화"]})
    [9001, 9002]
    ```"""
    if isinstance(model, Bert4RecEnsembleForMaskedLM):
        raise ValueError("an ensemble cannot grow; add the items to each of its members and make it anew.")
    processor.check_config(model.config)
    grown = copy.copy(processor)
    added = grown.add_items(item_ids, titles, item_features, user_features, vector_features)
    sizes = grown.config_kwargs()
    try:
        type(model.config)(**sizes)
    except StrictDataclassError as error:
        raise ValueError(one_line(error)) from None
    processor.set_vocabulary(grown.vocabulary)
    processor.vectors = grown.vectors
    num_before = model.config.vocab_size

    model.resize_token_embeddings(sizes["vocab_size"], mean_resizing=False)
    embeddings = model.get_input_embeddings()
    if embeddings.max_values:
        embeddings.max_values = [feature["max_values"] for feature in sizes["item_features"]]
        table = torch.from_numpy(processor.item_features())
        embeddings.item_features = table.to(embeddings.item_features.device)
    if embeddings.vector_sizes and added:
        embeddings.vectors[num_before:] = torch.from_numpy(grown.vectors[-len(added) :])
    for bag, feature in zip(embeddings.feature_embeddings, sizes["item_features"]):
        _grow(bag, feature["num_values"], bag.weight[1:].mean(0).nan_to_num())
    for embedding, feature in zip(model.base_model.embeddings.user_embeddings, sizes["user_features"]):
        _grow(embedding, feature["num_values"], torch.zeros_like(embedding.weight[0]))

    tables = [embeddings.weight]
    if (decoder := model.get_output_embeddings()) is not None:
        tables += [decoder.bias[:, None]]
        if decoder.weight is not embeddings.weight:
            tables += [decoder.weight]
    for table in tables:
        table[num_before:] = _mean_of_similar_items(table[:num_before], embeddings)
    for name, value in sizes.items():
        setattr(model.config, name, value)
    return added


def load_and_grow(
    model_dir: str, fitted: Bert4RecProcessor, revision: str | None = None
) -> tuple[Bert4RecForMaskedLM, Bert4RecProcessor]:
    """
    The model and the processor of a checkpoint, a folder or an id on the Hub, extended by the items and values of a
    newly fitted processor, and with its data settings, its split and its `unknown_items`.

    Raises:
        `DataError`: if the checkpoint cannot be loaded, or its features or the type of its ids differ from `fitted`.
    """
    model, processor = load_checkpoint(model_dir, revision)
    for kind in ("item_features", "user_features", "vector_features"):
        before, now = (
            ", ".join(
                f"{feature['name']} (numbers)" if are_numbers(feature.get("values", [])) else feature["name"]
                for feature in owner.vocabulary.get(kind, [])
            )
            or "none"
            for owner in (processor, fitted)
        )
        if before != now:
            raise DataError(f"{model_dir} was trained with {kind} {before}, not {now}; leave --{kind} out.")
    before, now = processor.time_intervals, fitted.time_intervals
    if before != now:
        raise DataError(f"{model_dir} was trained with time_intervals {before}, not {now}; leave it out.")
    catalogue = fitted.catalogue()
    known = pa.array(processor.vocabulary["item_ids"])
    ids = ids_as(pa.array(catalogue["item_ids"]), known)
    if not ids.null_count and pc.any(pc.is_in(ids, known)).as_py():  # a log may hold integers alone one night
        catalogue["item_ids"] = ids.to_pylist()
    try:
        add_items(model, processor, **catalogue)
    except ValueError as error:
        raise DataError(f"{model_dir} cannot grow to this data: {error}") from None
    processor.data, processor.split, processor.unknown_items = fitted.data, fitted.split, fitted.unknown_items
    return model, processor


def _grow(embedding: nn.Embedding | nn.EmbeddingBag, num_values: int, start: torch.Tensor):
    """Extends an embedding to `num_values` rows; the new ones are `start`."""
    new = start.expand(num_values - embedding.num_embeddings, -1)
    embedding.weight = nn.Parameter(torch.cat([embedding.weight, new]))
    embedding.num_embeddings = num_values


def _mean_of_similar_items(rows: torch.Tensor, embeddings: Bert4RecItemEmbeddings) -> torch.Tensor:
    """Initial rows `(num_new, width)` of the new tokens, from the rows `(num_before, width)` of the old ones."""
    items = rows[NUM_SPECIAL_TOKENS:]
    num_new = embeddings.num_embeddings - len(rows)
    total, count = rows.new_zeros(num_new, rows.shape[1]), rows.new_zeros(num_new, 1)
    if embeddings.max_values:
        values = embeddings.item_features.long().split(embeddings.max_values, dim=1)
        for ids, bag in zip(values, embeddings.feature_embeddings):
            old_values, new_values = ids[NUM_SPECIAL_TOKENS : len(rows)], ids[len(rows) :]
            item, column = old_values.nonzero(as_tuple=True)
            value = old_values[item, column]
            item_counts = torch.bincount(value, minlength=bag.num_embeddings)
            means = rows.new_zeros(bag.num_embeddings, rows.shape[1]).index_add_(0, value, items[item])
            means /= item_counts.clamp(min=1)[:, None]
            shared = new_values * (item_counts[new_values] > 0)
            total += nn.functional.embedding_bag(shared, means, mode="sum", padding_idx=0)
            count += (shared > 0).sum(1, keepdim=True)
    for vectors in embeddings.vectors.split(embeddings.vector_sizes, dim=1) if embeddings.vector_sizes else ():
        old_vectors = vectors[NUM_SPECIAL_TOKENS : len(rows)].to(rows.dtype)
        num_nearest = min(NUM_NEAREST, len(old_vectors))
        for start in range(len(rows), embeddings.num_embeddings, 1024):
            new_vectors = vectors[start : start + 1024].to(rows.dtype)
            has_vector = new_vectors.any(1, keepdim=True)
            nearest = (new_vectors @ old_vectors.T).topk(num_nearest).indices
            place = slice(start - len(rows), start - len(rows) + 1024)
            total[place] += items[nearest].mean(1) * has_vector
            count[place] += has_vector
    return torch.where(count > 0, total / count.clamp(min=1), items.mean(0).nan_to_num())
