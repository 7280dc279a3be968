# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""
The public functions as a type checker sees them: `mypy` reads this file (see pyproject.toml), nothing runs it. A wrong
call must be found: mypy complains about an ignore that is not needed.
"""

from typing import assert_type

import numpy as np
import pyarrow as pa
from datasets import Dataset

import bert4rec_hf as b4r
from bert4rec_hf.data.interactions import Interactions
from bert4rec_hf.data.splits import Window
from bert4rec_hf.evaluation.windows import Evaluation


def data(frame: pa.Table) -> None:
    arguments = b4r.DataArguments(data_dir="hf://datasets/user/name", item_features=["genre"], min_events=5)
    interactions = b4r.read_interactions(arguments)
    assert_type(interactions, Interactions)
    b4r.read_interactions(arguments, history=frame, items=["a.csv", "b.csv"], profiles="profiles.parquet")
    b4r.DataArguments(min_events="5")  # type: ignore[arg-type]
    split = b4r.Split("temporal", cutoff="2022-04-01")
    assert_type(b4r.parse_windows("1M,1M", split), list[Window] | None)
    assert_type(split.apply(interactions), b4r.SplitLog)
    processor = b4r.fit_processor(interactions, split)
    assert_type(processor, b4r.Bert4RecProcessor)
    assert_type(b4r.encode_training(interactions, processor, split), Dataset)
    assert_type(b4r.encode_evaluation(interactions, processor, split, "test"), Dataset)
    assert_type(b4r.analyze(interactions, split), dict)
    b4r.fit_processor(split, interactions)  # type: ignore[arg-type]


def use(interactions: Interactions, split: b4r.Split) -> None:
    model, processor = b4r.load_checkpoint("folder", revision="main")
    assert_type(processor, b4r.Bert4RecProcessor)
    assert_type(b4r.load_processor("folder"), b4r.Bert4RecProcessor)
    inputs = processor([[1, 2]], [{"age": 4}])
    recommended = model.recommend(**inputs, k=5, exclude_seen=True)
    assert_type(processor.decode(recommended.item_ids), list)
    assert_type(processor.encode_items([1, 2]), list[int])
    evaluation = b4r.evaluate(model, processor, interactions, split, k=(10, 25))
    assert_type(evaluation, Evaluation)
    assert_type(evaluation.report, dict)
    assert_type(b4r.write_submission(model, processor, interactions, None, "lists.csv", 25), dict[str, int])
    b4r.evaluate(model, processor, interactions, k=10)  # type: ignore[arg-type, call-arg]
    b4r.add_items(model, processor, item_ids=[7], item_features={"genre": ["x"]})
    b4r.push_checkpoint("folder", "user/name")
    model.set_item_features(np.zeros((5, 2), dtype=np.int32))
    model.recommend(inputs["input_ids"], k="5")  # type: ignore[arg-type]
