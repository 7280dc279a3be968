# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""The page of the Space: a form to try the metric."""

import json
from pathlib import Path

import evaluate
import gradio as gr


ranking = evaluate.load(str(Path(__file__).with_name("ranking.py")))


def score(predictions: str, references: str, k: str) -> dict:
    try:
        return ranking.compute(predictions=json.loads(predictions), references=json.loads(references), k=json.loads(k))
    except (ValueError, TypeError) as error:  # a gr.Error is shown to the user
        raise gr.Error(str(error)) from error


gr.Interface(
    score,
    [
        gr.Textbox("[[3, 1, 2], [4, 5, 6]]", label="predictions: item ids of each user, best first"),
        gr.Textbox("[[1, 7], [4]]", label="references: the relevant item ids of each user"),
        gr.Textbox("[1, 2]", label="k: the cutoffs"),
    ],
    gr.JSON(label="means over users"),
    title="Ranking metrics for recommenders",
    description=ranking.description,
).launch()
