# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Pipeline of BERT4Rec: a user's history to recommended items, as raw ids."""

import math
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from transformers import Pipeline

from .layers_bert4rec import is_item
from .ranking_bert4rec import ALL_ITEMS
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
                user feature names to values, `"candidates"` and `"exclude"`, as below but for this user alone; and,
                for a model that reads times, `"times"`, when the events were, and `"request_time"`, the moment to
                recommend for, as of [`Bert4RecProcessor.__call__`].
            k (`int`, *optional*):
                Length of the lists, less where fewer items can be recommended to a user; 10 by default.
            exclude_seen (`bool`, *optional*, defaults to `False`):
                Leave out the items of a user's history.
            candidates (`list`, *optional*):
                Raw ids; recommend nothing else. Those outside the vocabulary are left out. Where a user has candidates
                too, what is in both is recommended.
            exclude (`list`, *optional*):
                Raw ids not to recommend, besides the user's own. Those outside the vocabulary are ignored.
            max_per, diversity (*optional*):
                As for [`~RecommendationMixin.recommend`].
            batch_size (`int`, *optional*, defaults to 1):
                Users that are ranked at once.

        Returns:
            For each user a list of `{"item_id", "title", "score", "rank"}`, best first: raw id in its own type, title
            or `None`, log-probability among all items, rank from 1.

        Raises:
            `ValueError`: for an invalid user, if no candidate is in the vocabulary, or for `k` below 1.
        """
        return super().__call__(inputs, **kwargs) if inputs != [] else []

    def similar(self, item_id: int | str, k: int = 10) -> list[dict]:
        """
        The items most similar to one, as of [`~RecommendationMixin.similar_items`], in the form of `__call__`; `score`
        is the cosine. At most the number of other items.

        Raises:
            `ValueError`: for an id outside the vocabulary.
        """
        item_ids = self._encode_known([item_id])
        similar = self.model.similar_items(item_ids, min(k, max(1, self.processor.vocab_size - 4)))
        return self.postprocess({name: values.cpu() for name, values in similar.items()})

    def explain(self, user: dict, item_ids: int | str | list) -> dict | list[dict]:
        """
        Why items are recommended to a user: how much each event of the history raises their log-probability.

        Args:
            user (`dict`): as for `__call__`.
            item_ids: raw id of any item, or a list of them.

        Returns:
            `dict`, or a list of such: `"item_id"`, `"title"`, `"score"`, the log-probability (`None` where the model
            never recommends the item), `"repeat_share"`, the share of the item's probability that comes from its being
            in the history, or `None` for a model without a repeat prior, and `"because"`: `{"item_id", "title",
            "raised"}` of each event of the history in the vocabulary, the one that raises the score most first.

        Raises:
            `ValueError`: for an invalid user or an id outside the vocabulary.
        """
        if not isinstance(item_ids, (list, tuple)):
            return self.explain(user, [item_ids])[0]
        tokens = self._encode_known(item_ids)
        inputs = self.ensure_tensor_on_device(**self.preprocess(user))
        inputs = {name: inputs[name] for name in self.processor.model_input_names if name in inputs}
        explained = self.model.explain(item_ids=tokens, **inputs)
        is_event = is_item(self.model.config, inputs["input_ids"][0])
        history = inputs["input_ids"][0][is_event]
        events = [*zip(self.processor.decode(history), self.processor.titles(history))]
        repeat_shares = [None] * len(tokens) if explained.repeat_share is None else explained.repeat_share.tolist()
        reasons = []
        for raised in explained.raised[:, is_event].tolist():
            order = sorted(range(len(events)), key=raised.__getitem__, reverse=True)
            reasons.append([{"item_id": events[n][0], "title": events[n][1], "raised": raised[n]} for n in order])
        names = ("item_id", "title", "score", "repeat_share", "because")
        scores = [None if score == -math.inf else score for score in explained.scores.tolist()]
        columns = (self.processor.decode(tokens), self.processor.titles(tokens), scores)
        return [dict(zip(names, values)) for values in zip(*columns, repeat_shares, reasons)]

    def _encode_known(self, item_ids: list) -> torch.LongTensor:
        tokens = self.processor.encode_items(item_ids, unknown_items="error")
        return torch.tensor(tokens, dtype=torch.long, device=self.device)

    def _sanitize_parameters(self, candidates=None, exclude=None, **kwargs):
        unknown = set(kwargs) - {"k", "exclude_seen", "max_per", "diversity"}
        if unknown:
            raise TypeError(f"the pipeline has no argument {min(unknown)!r}.")
        forward = {name: value for name, value in kwargs.items() if value is not None}
        if candidates is not None:
            candidates = self._encode_ids("candidates", candidates)
            forward["candidate_ids"] = torch.tensor(candidates, device=self.device)
        if exclude is not None:
            exclude = self._encode_ids("exclude", exclude)
            forward["exclude_ids"] = torch.tensor(exclude, dtype=torch.long, device=self.device)
        return {} if candidates is None else {"candidate_ids": {*candidates}}, forward, {}

    def _encode_ids(self, name: str, item_ids, among: set | None = None) -> list[int]:
        """The token ids of a filter, without those outside the vocabulary or not `among` others."""
        if isinstance(item_ids, (str, bytes, dict)):
            raise ValueError(f"{name} is a list of item ids, not {item_ids!r:.200}.")
        known = {*self.processor.encode_items(list(item_ids), unknown_items="skip")}
        if name == "candidates" and not known:
            raise ValueError("none of the candidates is in the vocabulary.")
        return sorted(known if among is None else known & among)

    def preprocess(self, user: dict, candidate_ids: set | None = None) -> dict:
        names = {"history", "profile", "candidates", "exclude", "times", "request_time"}
        if not isinstance(user, dict) or "history" not in user or set(user) - names:
            raise ValueError(
                "a user is {'history': [...], 'profile': {...}}, perhaps with 'candidates', 'exclude', 'times' and "
                f"'request_time', not {user!r:.200}."
            )
        if not isinstance(user["history"], (list, tuple, np.ndarray)):
            raise ValueError(f"a history is a list of item ids, not {user['history']!r}.")
        if not isinstance(user.get("profile"), (dict, type(None))):
            raise ValueError(f"a profile is a dict of user features, not {user['profile']!r}.")
        if not isinstance(user.get("times"), (list, tuple, np.ndarray, type(None))):
            raise ValueError(f"times is a list, of a time for each event, not {user['times']!r:.200}.")
        times = {} if user.get("times") is None else {"times": [user["times"]]}
        if user.get("request_time") is not None:
            times["request_times"] = [user["request_time"]]
        inputs = self.processor([list(user["history"])], [user.get("profile")], **times)
        if not inputs["input_ids"].shape[1]:  # Pipeline's batching needs at least one column
            for name in {"input_ids", "attention_mask", "timestamps"} & inputs.keys():
                inputs[name] = torch.nn.functional.pad(inputs[name], (1, 0), value=self.processor.pad_token_id)
        # Every user has a row of each filter, so that users of a batch never share one; batching pads it with PAD.
        candidates, excluded = [ALL_ITEMS], []
        if user.get("candidates") is not None:
            candidates = self._encode_ids("candidates", user["candidates"], candidate_ids)
        if user.get("exclude") is not None:
            excluded = self._encode_ids("exclude", user["exclude"])
        for name, ids in (("candidate_ids", candidates), ("exclude_ids", excluded)):
            inputs[name] = torch.tensor([ids or [self.processor.pad_token_id]])
        return inputs

    def _forward(self, inputs, candidate_ids=None, exclude_ids=None, **kwargs):
        own = inputs.pop("candidate_ids")
        has_none = (own == ALL_ITEMS).any(1, keepdim=True)
        if has_none.all():
            own = candidate_ids
        elif candidate_ids is not None:  # those of all users are allowed to the users without candidates
            others = candidate_ids.expand(len(own), -1).masked_fill(~has_none, self.processor.pad_token_id)
            own = torch.cat([own.clamp(min=0), others], dim=1)
        excluded = inputs.pop("exclude_ids")
        if exclude_ids is not None:
            excluded = torch.cat([excluded, exclude_ids.expand(len(excluded), -1)], dim=1)
        return self.model.recommend(
            **inputs, candidate_ids=own, exclude_ids=excluded if excluded.any() else None, allow_fewer=True, **kwargs
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
