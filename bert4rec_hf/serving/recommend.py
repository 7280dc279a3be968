# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""
Recommends with an exported BERT4Rec: raw ids in, raw ids and titles out. It needs numpy and onnxruntime (or openvino)
only, and the files beside it:

    python recommend.py '{"history": [491, 920], "profile": {"sex": "F", "age": 4}}' --k 5
"""

import argparse
import json
import os
import threading
from collections.abc import Callable

import numpy as np


try:
    from ..model.vocabulary_bert4rec import NUM_SPECIAL_TOKENS, FeatureIds, moments_of
except ImportError:  # beside an exported model
    from vocabulary_bert4rec import NUM_SPECIAL_TOKENS, FeatureIds, moments_of


GRAPHS = {"onnx": "model.onnx", "openvino": "openvino_model.xml"}
UNK = 2


def open_graph(path: str, num_threads: int | None = None) -> Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]:
    """
    An exported graph as a function from inputs to outputs, both by name.

    Args:
        path (`str`): a file of ONNX, or of OpenVINO (.xml).
        num_threads (`int`, *optional*): threads of one request; the library's choice by default.
    """
    if path.endswith(".xml"):
        import openvino

        config = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}  # bf16 would change the lists
        config |= {} if num_threads is None else {"INFERENCE_NUM_THREADS": num_threads}
        model = openvino.Core().compile_model(path, "CPU", config)
        names, local = [output.get_any_name() for output in model.outputs], threading.local()

        def run(inputs):
            if not hasattr(local, "request"):  # one serves one thread
                local.request = model.create_infer_request()
            return dict(zip(names, map(np.array, local.request.infer(inputs, share_outputs=True).to_tuple())))

        return run
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads or 0
    # This fusion takes four times as long as the parts do.
    slow = {"disabled_optimizers": ["SkipLayerNormFusion"]}
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"], **slow)
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, inputs)))


def largest(scores: np.ndarray, k: int, group_size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """
    The places of the `k` largest scores of each row, largest first, and the scores, both `(batch_size, k)`. They are
    in the `k` groups with the largest maxima, found in a fifth of the time that a partition of 20,000 takes.
    """
    rows, num_groups = np.arange(len(scores))[:, None], scores.shape[1] // group_size
    if num_groups > k:
        rest = np.arange(num_groups * group_size, scores.shape[1])
        maxima = scores[:, : -len(rest) or None].reshape(len(scores), group_size, num_groups).max(1)
        groups = np.argpartition(maxima, -k, axis=1)[:, -k:]
        places = (groups[:, :, None] + num_groups * np.arange(group_size)).reshape(len(scores), -1)
        places = np.hstack([places, np.broadcast_to(rest, (len(scores), len(rest)))])
        found, values = largest(scores[rows, places], k, scores.shape[1])
        return places[rows, found], values
    places = np.argpartition(scores, -k, axis=1)[:, -k:]
    places = places[rows, np.argsort(-scores[rows, places], axis=1, kind="stable")]
    return places, scores[rows, places]


class Recommender:
    """
    An exported model and its vocabulary.

    Args:
        folder (`str`, *optional*): that of `bert4rec-hf export`; this file's by default.
        file_name (`str`, *optional*): the graph, such as `model_int8.onnx`; `model.onnx` or `openvino_model.xml` by
            default.
        num_threads (`int`, *optional*): as for [`open_graph`].

    Example:

    ```python
    >>> recommend = Recommender("exps/seed1/onnx")
    >>> recommend({"history": [491, 920], "profile": {"sex": "F", "age": 4}}, k=5)
    [{'item_id': 1069, 'title': '...', 'score': -1.28, 'rank': 1}, ...]
    ```"""

    def __init__(self, folder: str | None = None, file_name: str | None = None, num_threads: int | None = None):
        folder = folder or os.path.dirname(os.path.abspath(__file__))
        contents = {}
        for name in ("vocabulary.json", "processor_config.json"):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                contents[name] = json.load(file)
        vocabulary = contents["vocabulary.json"]
        settings = contents["processor_config.json"]
        self.unknown_items = settings.get("unknown_items", "skip")
        self.reads_times = (settings.get("data") or {}).get("time_intervals", "none") != "none"
        self.item_ids = vocabulary["item_ids"]
        self.titles = vocabulary.get("titles") or [None] * len(self.item_ids)
        self.token_ids = {item: token for token, item in enumerate(self.item_ids, start=NUM_SPECIAL_TOKENS)}
        self.user_features = [(f["name"], FeatureIds(f)) for f in vocabulary.get("user_features", [])]
        file_name = file_name or next(
            (name for name in GRAPHS.values() if os.path.exists(os.path.join(folder, name))), None
        )
        if file_name is None:
            raise ValueError(f"{folder} holds no exported model: neither {' nor '.join(GRAPHS.values())}.")
        self.run = open_graph(os.path.join(folder, file_name), num_threads)

    def __call__(self, users: dict | list[dict], k: int = 10, exclude_seen: bool = False) -> list:
        """
        Recommends to one user or to many, ranked at once.

        Args:
            users (`dict` or `list[dict]`):
                `"history"`, raw item ids, oldest first, and, *optional*, `"profile"`, user feature names to values,
                `"candidates"`, the only items to recommend, and `"exclude"`, items not to recommend; for a model that
                reads times also `"times"`, when the events were, and `"request_time"`, the moment to recommend for.
            k (`int`, *optional*, defaults to 10):
                Length of the lists, less where fewer items can be recommended.
            exclude_seen (`bool`, *optional*, defaults to `False`):
                Leave out the items of a user's history.

        Returns:
            For each user a list of `{"item_id", "title", "score", "rank"}`, best first.

        Raises:
            `ValueError`: for an invalid user, `k` below 1, or what a graph exported with `--k` cannot do.
        """
        if isinstance(users, dict):
            return self([users], k, exclude_seen)[0]
        if k < 1:
            raise ValueError(f"k is {k}; it must be at least 1.")
        if not users:
            return []
        inputs = self.encode(users)
        outputs = self.run(inputs)
        if "item_ids" in outputs:
            item_ids, scores = outputs["item_ids"], outputs["scores"]
            is_filtered = any(user.get("exclude") or user.get("candidates") is not None for user in users)
            if k > item_ids.shape[1] or exclude_seen or is_filtered:
                raise ValueError(
                    f"the model was exported with lists of {item_ids.shape[1]} items; export it without --k for "
                    "longer ones and filters."
                )
            item_ids, scores = item_ids[:, :k], scores[:, :k]
        else:
            item_ids, scores = self.top_k(outputs["scores"], inputs["input_ids"], users, k, exclude_seen)
        return [self.decode(*row) for row in zip(item_ids.tolist(), scores.tolist())]

    def encode(self, users: list[dict]) -> dict[str, np.ndarray]:
        """The inputs of the graph: `input_ids` `(batch_size, longest history)`, padded on the left with 0,
        `user_features` `(batch_size, num_user_features)` if the model has any, and `timestamps` `(batch_size, longest
        history + 1)` if it reads times."""
        kinds = dict.fromkeys(("history", "candidates", "exclude", "times"), (list, tuple))
        kinds |= {"profile": dict, "request_time": object}
        for user in users:
            if not isinstance(user, dict) or user.get("history") is None or not user.keys() <= kinds.keys():
                raise ValueError(f"a user is {{'history': [...], 'profile': {{...}}}}, not {user!r:.200}.")
            for name, value in user.items():
                if value is not None and not isinstance(value, kinds[name]):
                    raise ValueError(
                        f"{name} is {value!r:.200}; it must be a {'dict' if name == 'profile' else 'list'}."
                    )
        tokens = [self._tokens(user["history"], self.unknown_items) for user in users]
        input_ids = np.zeros((len(users), max(1, *map(len, tokens))), dtype=np.int64)
        for row, ids in zip(input_ids, tokens):
            row[len(row) - len(ids) :] = ids
        inputs = {"input_ids": input_ids}
        if self.user_features:
            profiles = [user.get("profile") or {} for user in users]
            values = [[value for name, ids in self.user_features for value in ids(p.get(name))] for p in profiles]
            inputs["user_features"] = np.asarray(values, dtype=np.int64)
        if self.reads_times:
            inputs["timestamps"] = np.zeros((len(users), input_ids.shape[1] + 1), dtype=np.int64)
            for row, user in zip(inputs["timestamps"], users):
                times = user.get("times"), user.get("request_time")
                moments = moments_of(user["history"], self.token_ids, self.unknown_items, *times)
                row[len(row) - len(moments) :] = moments
        return inputs

    def _tokens(self, item_ids: list, unknown_items: str = "skip") -> list[int]:
        try:
            tokens = [*map(self.token_ids.get, item_ids)]
        except TypeError:
            raise ValueError(f"item ids are numbers or texts, not {item_ids!r:.200}.") from None
        if None not in tokens:
            return tokens
        unknown = item_ids[tokens.index(None)]
        if self.item_ids and isinstance(unknown, str) != isinstance(self.item_ids[0], str):
            raise ValueError(
                f"item id {unknown!r:.200} is a {type(unknown).__name__}, unlike those of the vocabulary."
            )
        if unknown_items == "error":
            raise ValueError(f"item {unknown!r:.200} is not in the vocabulary.")
        return [UNK if token is None else token for token in tokens if unknown_items == "unk" or token is not None]

    def top_k(
        self, scores: np.ndarray, input_ids: np.ndarray, users: list[dict], k: int, exclude_seen: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Token ids and scores of the `k` best items of each row, both `(batch_size, at most k)`."""
        rows = np.arange(len(scores))[:, None]
        if exclude_seen:
            scores[rows, input_ids] = -np.inf
        for row, user in zip(scores, users):
            if user.get("candidates") is not None:
                allowed = self._tokens(user["candidates"])
                best, row[:] = row[allowed], -np.inf
                row[allowed] = best
            if user.get("exclude"):
                row[self._tokens(user["exclude"])] = -np.inf
        return largest(scores, min(k, scores.shape[1]))

    def decode(self, tokens: list[int], scores: list[float]) -> list[dict]:
        """A list of items, without those that cannot be recommended."""
        return [
            {"item_id": self.item_ids[i], "title": self.titles[i], "score": score, "rank": rank}
            for rank, (i, score) in enumerate(zip((token - NUM_SPECIAL_TOKENS for token in tokens), scores), start=1)
            if score > -np.inf
        ]


def main():
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("user", type=json.loads, help="a user, or a list of users, as JSON")
    parser.add_argument("--k", type=int, default=10, help="number of items")
    parser.add_argument("--exclude_seen", action="store_true", help="leave out the items of the history")
    parser.add_argument("--file", help="the graph, such as model_int8.onnx")
    args = parser.parse_args()
    lists = Recommender(file_name=args.file)(args.user, args.k, args.exclude_seen)
    print(json.dumps(lists, ensure_ascii=False, indent=1))


if __name__ == "__main__":
    main()
