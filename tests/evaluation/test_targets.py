# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Kinds of targets."""

import numpy as np
import pyarrow as pa
import pytest

from bert4rec_hf import DataArguments, Split, evaluate, fit_processor, read_interactions
from bert4rec_hf.evaluation.targets import popularity_thirds


@pytest.mark.parametrize(
    "counts, thirds",
    [
        ([6, 3, 2, 1], [0, 1, 2, 2]),  # 0, 6, 9 and 11 of 12 events are before
        ([1, 2, 3, 6], [2, 2, 1, 0]),
        ([2, 2, 2], [0, 1, 2]),
        ([0, 0, 9], [2, 2, 0]),
        ([0, 0], [0, 0]),
    ],
)
def test_each_third_of_the_items_has_a_third_of_the_events(counts, thirds):
    assert popularity_thirds(np.array(counts)).tolist() == thirds


def test_targets_by_popularity_and_ties_by_hand():
    """Six users take item 0 twice over; the last rows are 0 (popular), 1 and 9 (rare), and two of six are tied."""
    last = [0, 0, 1, 1, 9, 9]
    rows = [(user, item, 10 + n) for user in range(6) for n, item in enumerate([0, 1, 2, 0])]
    rows += [(user, item, 13 if user in (2, 5) else 14) for user, item in enumerate(last)]
    table = pa.table({"profile_id": [r[0] for r in rows], "album_id": [r[1] for r in rows]})
    table = table.append_column("log_time", pa.array([20220101000000 + r[2] for r in rows]))
    interactions = read_interactions(DataArguments(item_features=[], user_features=[]), table)
    assert interactions.tied.sum() == 4
    split = Split("leave_one_out")
    evaluation = evaluate(None, fit_processor(interactions, split), interactions, split, k=[1], progress=False)
    window = evaluation.report["windows"][0]
    assert window["tied_targets"] == pytest.approx(2 / 6)
    results = window["groups"]["all users"]["results"]["most popular"]
    # Items 0, 1 and 2 have 6 of 18 training events each; 9 is in no training row.
    assert results["head_recall@1"]["mean"] == 1 and results["mid_recall@1"]["mean"] == 0
    assert results["tail_recall@1"]["mean"] is None
    assert results["recall@1"]["mean"] == pytest.approx(2 / 6)
