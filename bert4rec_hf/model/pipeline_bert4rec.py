# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Pipeline of BERT4Rec: a user's history to recommended items, as raw ids."""

import math
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from transformers import Pipeline

from .weights_bert4rec import ReplacingPushMixin


if TYPE_CHECKING:  # names every file: transformers saves and copies those that an entry point names itself
    from .configuration_bert4rec import Bert4RecConfig  # noqa: F401
    from .layers_bert4rec import Bert4RecLayer  # noqa: F401
    from .loss_bert4rec import linear_cross_entropy  # noqa: F401
    from .masking_bert4rec import make_mask  # noqa: F401
    from .modeling_bert4rec import Bert4RecForMaskedLM  # noqa: F401
    from .modeling_bert4rec_ensemble import Bert4RecEnsembleForMaskedLM  # noqa: F401
    from .processing_bert4rec import Bert4RecProcessor  # noqa: F401
    from .ranking_bert4rec import rank_items  # noqa: F401
    from .recommendation_bert4rec import RecommendationMixin  # noqa: F401
    from .vocabulary_bert4rec import normalize_value  # noqa: F401


class ItemRecommendationPipeline(ReplacingPushMixin, Pipeline):
    """
    Recommends items to users, under the task name `"item-recommendation"`.

    Example:

    ```python
    >>> from transformers import pipeline
    >>> import bert4rec_hf  # or trust_remote_code=True below

    >>> recommend = pipeline("item-recommendation", model="quickstart/model")
    >>> recommend({"history": [491, 920], "profile": {"sex": "F", "age": 4}}, k=5)
    [{'item_id': 1069, 'title': '...', 'score': -1.28, 'rank': 1}, ...]
    ```"""

    _load_processor = True
    _load_tokenizer = _load_feature_extractor = _load_image_processor = _load_video_processor = False

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.processor.check_config(self.model.config)

    def __call__(self, inputs: dict | list[dict] | Iterator[dict], **kwargs) -> list:
        """
        Recommends to one user or to many.

        Args:
            inputs (`dict` or `list[dict]`, or a generator of such, as `iter(dataset)` is):
                For each user `"history"`, raw item ids, oldest first, possibly empty; and, *optional*, `"profile"`,
                user feature names to values.
            k (`int`, *optional*):
                Length of the lists, less where fewer items can be recommended to a user; 10 by default.
            exclude_seen (`bool`, *optional*, defaults to `False`):
                Leave out the items of a user's history.
            candidates (`list`, *optional*):
                Raw ids; recommend nothing else. Those outside the vocabulary are left out.
            batch_size (`int`, *optional*, defaults to 1):
                Users that are ranked at once.

        Returns:
            For each user a list of `{"item_id", "title", "score", "rank"}`, best first: raw id in its own type, title
            or `None`, log-probability among all items, rank from 1.

        Raises:
            `ValueError`: for an invalid user, if no candidate is in the vocabulary, or for `k` below 1.
        """
        return super().__call__(inputs, **kwargs) if inputs != [] else []

    def _sanitize_parameters(self, k=None, exclude_seen=None, candidates=None):
        forward = {"k": k, "exclude_seen": exclude_seen}
        if candidates is not None:
            forward["candidate_ids"] = torch.tensor(self._encode_candidates(candidates), device=self.device)
        return {}, {name: value for name, value in forward.items() if value is not None}, {}

    def _encode_candidates(self, candidates) -> list[int]:
        known = sorted({*self.processor.encode_items(list(candidates), unknown_items="skip")})
        if not known:
            raise ValueError("none of the candidates is in the vocabulary.")
        return known

    def preprocess(self, user: dict) -> dict:
        if not isinstance(user, dict) or "history" not in user or set(user) - {"history", "profile"}:
            raise ValueError(f"a user is {{'history': [...], 'profile': {{...}}}}, not {user!r}.")
        if not isinstance(user["history"], (list, tuple, np.ndarray)):
            raise ValueError(f"a history is a list of item ids, not {user['history']!r}.")
        if not isinstance(user.get("profile"), (dict, type(None))):
            raise ValueError(f"a profile is a dict of user features, not {user['profile']!r}.")
        inputs = self.processor([list(user["history"])], [user.get("profile")])
        if not inputs["input_ids"].shape[1]:  # Pipeline's batching needs at least one column
            for name in ("input_ids", "attention_mask"):
                inputs[name] = torch.full((1, 1), self.processor.pad_token_id)
        return inputs

    def _forward(self, inputs, k=10, exclude_seen=False, candidate_ids=None):
        return self.model.recommend(
            **inputs, k=k, exclude_seen=exclude_seen, candidate_ids=candidate_ids, allow_fewer=True
        )

    def postprocess(self, recommended: dict) -> list[dict]:
        item_ids, scores = recommended["item_ids"][0], recommended["scores"][0]
        columns = (self.processor.decode(item_ids), self.processor.titles(item_ids), scores.tolist())
        return [
            {"item_id": item_id, "title": title, "score": score, "rank": rank}
            for rank, (item_id, title, score) in enumerate(zip(*columns), start=1)
            if score > -math.inf
        ]

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs) -> None:
        self.model.save_pretrained(save_directory, **kwargs)
        self.processor.save_pretrained(save_directory, **kwargs)


__all__ = ["ItemRecommendationPipeline"]
