# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Custom handler of Inference Endpoints (https://huggingface.co/docs/inference-endpoints), pushed on request."""

from transformers import pipeline


class EndpointHandler:
    """
    Answers `{"inputs": user or list of users, "parameters": {"k": 5}}` with the lists of
    [`ItemRecommendationPipeline`], whose arguments the parameters are.
    """

    def __init__(self, path: str = ""):
        # The repository's own code: the package is not installed there.
        self.pipeline = pipeline("item-recommendation", model=path, trust_remote_code=True)

    def __call__(self, data: dict) -> list:
        if "inputs" not in data:
            raise ValueError("a request is {'inputs': {'history': [...]}, 'parameters': {'k': 10}}.")
        return self.pipeline(data["inputs"], **(data.get("parameters") or {}))
