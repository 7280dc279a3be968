# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
import csv

import numpy as np
import pyarrow as pa
import pytest
import torch
from test_encoding import make
from test_trainer import make_model

from bert4rec_hf import (
    DataError,
    check_k,
    encode_evaluation,
    encode_histories,
    evaluate,
    fit_processor,
    metrics_table,
    recommend_all,
    write_submission,
)
from bert4rec_hf.evaluation import popularity


EVENTS = [(user, item) for user, items in enumerate(("aabcb", "abcca", "aacbc", "bc")) for item in items]


def test_ranking_many_users_is_ranking_each(interactions, fitted):
    processor, split = fitted
    model = make_model(processor).eval()
    dataset = encode_evaluation(interactions, processor, split)
    ranked = recommend_all(model.recommend, dataset, processor, 7, batch_size=16)
    for row in range(0, len(dataset), 11):
        example = dataset[row]
        inputs = torch.tensor([example["input_ids"]]), None, torch.tensor([example["user_features"]])
        assert model.recommend(*inputs, k=7).item_ids[0].tolist() == ranked[row].tolist()


def test_popularity_counts_the_rows_it_is_given_and_breaks_ties_by_id():
    interactions, split = make(EVENTS)
    processor = fit_processor(interactions, split)
    rows = split.rows(interactions)["train"]  # aab abc aac bc
    recommend = popularity(interactions, processor, rows)
    history = torch.tensor([[3, 0]])
    assert processor.decode(recommend(history, k=3).item_ids) == [["a", "b", "c"]]
    assert processor.decode(recommend(history, k=2, exclude_seen=True).item_ids) == [["b", "c"]]


def test_evaluation_by_hand():
    interactions, split = make(EVENTS)
    processor = fit_processor(interactions, split)
    evaluation = evaluate(make_model(processor), processor, interactions, split, k=[1, 3], progress=False)
    assert evaluation["num_users"] == evaluation["num_targets"] == 3  # the user of two events only trains
    popular = evaluation["results"]["most popular"]  # a, b, c for targets b, a, c
    assert popular["recall@1"] == pytest.approx(1 / 3)
    assert popular["recall@3"] == 1
    assert popular["mrr@3"] == pytest.approx((1 / 2 + 1 + 1 / 3) / 3)
    assert popular["ndcg@3"] == pytest.approx((1 / np.log2(3) + 1 + 1 / 2) / 3)
    assert popular["score@3"] == pytest.approx(0.75 + 0.25 * popular["ndcg@3"])


def test_recent_popularity_looks_at_the_last_days_of_training():
    interactions, split = make(EVENTS, split="none")
    processor = fit_processor(interactions, split)
    split = type(split)("leave_one_out")
    train = np.flatnonzero(split.rows(interactions)["train"])
    interactions.day[train[:-2]] -= 10  # only "b" and "c" of the last user are recent
    results = evaluate(make_model(processor), processor, interactions, split, k=[1], recent_days=5, progress=False)
    assert results["results"]["popular in the last 5 days"]["recall@1"] == pytest.approx(1 / 3)  # target b


def test_targets_outside_the_vocabulary_are_misses_and_reported():
    interactions, split = make([(1, item) for item in "abaz"] + [(2, item) for item in "abaa"])
    processor = fit_processor(interactions, split)
    evaluation = evaluate(make_model(processor), processor, interactions, split, k=[2], progress=False)
    assert evaluation["unknown_targets"] == 0.5
    assert evaluation["results"]["most popular"]["recall@2"] == 0.5


def test_table_has_a_column_for_each_recommender():
    interactions, split = make(EVENTS)
    processor = fit_processor(interactions, split)
    evaluation = evaluate(make_model(processor), processor, interactions, split, k=[1], progress=False)
    header, rule, *rows = metrics_table(evaluation).splitlines()
    assert header.split(" | ")[1:] == ["BERT4Rec", "most popular", "popular in the last 30 days |"]
    assert len(rows) == 6 and all(line.count("|") == 5 for line in (header, rule, *rows))


@pytest.mark.parametrize("k", [[0], [10, 51], []])
def test_k_that_does_not_fit_is_refused(processor, k):
    with pytest.raises(DataError, match="from 1 to 50, the number of items"):
        check_k(k, processor)


def test_k_beyond_the_unseen_items_of_a_user_is_refused():
    interactions, split = make(EVENTS)
    processor = fit_processor(interactions, split)
    with pytest.raises(DataError, match="k is 3; it must be from 1 to 0, .* has not seen"):
        evaluate(make_model(processor), processor, interactions, split, k=[3], exclude_seen=True, progress=False)


@pytest.mark.parametrize("id_type", [int, str])
def test_submission_is_in_the_order_of_its_file(tmp_path, id_type):
    items = {"a": 7, "b": 5, "c": 9} if id_type is int else {"a": "가'1", "b": "b\\", "c": "c,d"}
    interactions, split = make([(user + 10, items[item]) for user, item in EVENTS])
    processor = fit_processor(interactions, split)
    model = make_model(processor).eval()
    order = ["13", "abc", "10", "12", "007", "13"]
    (tmp_path / "sample.csv").write_text("profile_id,predicted_list\n" + "".join(f"{user},\n" for user in order))
    output_file = tmp_path / "submission.csv"
    counts = write_submission(
        model, processor, interactions, str(tmp_path / "sample.csv"), str(output_file), k=2, exclude_seen=False
    )
    with open(output_file, encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["profile_id"] for row in rows] == order
    for row in rows:
        known = [str(user) for user in interactions.user_ids.to_pylist()]
        code = known.index(row["profile_id"]) if row["profile_id"] in known else -1
        history = encode_histories(interactions, processor, [code])[0]["input_ids"]
        expected = processor.decode(model.recommend(torch.tensor([history], dtype=torch.long), k=2).item_ids)[0]
        assert eval(row["predicted_list"]) == expected
        assert all(isinstance(item, id_type) for item in expected)
    assert counts["profiles written"] == 6 and counts["of them in no table, recommended from nothing"] == 2
    assert not (tmp_path / "submission.csv.part").exists()


def test_scores_agree_with_relevant_items_of_any_number(interactions, fitted):
    split = type(fitted[1])("temporal", "2022-04-20")
    processor = fit_processor(interactions, split)
    evaluation = evaluate(make_model(processor), processor, interactions, split, k=[10], progress=False)
    dataset = encode_evaluation(interactions, processor, split)
    popular = popularity(interactions, processor, split.rows(interactions)["train"])
    ranked = recommend_all(popular, dataset, processor, 10)
    recalls = [len(set(top) & set(row)) / min(10, len(row)) for top, row in zip(ranked, dataset["relevant"])]
    assert evaluation["results"]["most popular"]["recall@10"] == pytest.approx(np.mean(recalls))
    assert evaluation["num_targets"] == sum(map(len, dataset["relevant"]))
    assert pa.types.is_integer(interactions.user_ids.type)
