# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Item and user vectors as data sets, for a nearest-neighbour index such as faiss, usearch or Qdrant."""

import numpy as np
import pyarrow as pa
from datasets import Dataset

from ..data.encoding import encode_histories
from ..data.interactions import Interactions
from ..errors import DataError
from ..evaluation.evaluator import batches_of
from ..model.modeling_bert4rec import Bert4RecForMaskedLM
from ..model.processing_bert4rec import Bert4RecProcessor
from ..model.vocabulary_bert4rec import NUM_SPECIAL_TOKENS


def item_vectors(model: Bert4RecForMaskedLM, processor: Bert4RecProcessor) -> Dataset:
    """
    The vectors of all items, [`~Bert4RecForMaskedLM.item_vectors`]: their inner product with [`user_vectors`] orders
    items as `recommend` does.

    Returns:
        `Dataset` with `item_id` (raw), `title` and `vector` (float32, `hidden_size + 1` numbers).

    Raises:
        `DataError`: for a model that has no vectors: with a repeat prior, or an ensemble.

    Example:

    ```python
    >>> item_vectors(model, processor).to_parquet("items.parquet")
    ```"""
    try:
        vectors = model.item_vectors()[NUM_SPECIAL_TOKENS:].float().cpu().numpy()
    except ValueError as error:
        raise DataError(str(error)) from None
    vocabulary = processor.vocabulary
    titles = pa.array(vocabulary.get("titles") or [None] * len(vectors), pa.string())
    return Dataset(pa.table({"item_id": vocabulary["item_ids"], "title": titles, "vector": _vector_column(vectors)}))


def user_vectors(
    model: Bert4RecForMaskedLM, processor: Bert4RecProcessor, interactions: Interactions, batch_size: int = 128
) -> Dataset:
    """
    The vectors of all users of a log and its profiles, after their whole histories.

    Returns:
        `Dataset` with the user column of the log and `vector`, one row per user.

    Raises:
        `DataError`: for a model that has no vectors.
    """
    rows = encode_histories(interactions, processor, np.arange(len(interactions.user_ids)))
    parts, order = [], []
    try:
        for users, inputs in batches_of(rows, processor, batch_size, model.device, "users"):
            parts.append(model.user_vectors(**inputs).float().cpu().numpy())
            order.append(users)
    except ValueError as error:
        raise DataError(str(error)) from None
    vectors = np.concatenate(parts)[np.argsort(np.concatenate(order))]
    columns = {interactions.arguments.user_column: interactions.user_ids, "vector": _vector_column(vectors)}
    return Dataset(pa.table(columns))


def _vector_column(vectors: np.ndarray) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
