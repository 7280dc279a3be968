# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
import pyarrow as pa
import pytest
from helpers import make

from bert4rec_hf import (
    DataArguments,
    DataError,
    Split,
    encode_evaluation,
    encode_training,
    fit_processor,
)
from bert4rec_hf.data import encoding
from bert4rec_hf.data.encoding import encode_histories


def test_vocabulary_holds_the_items_of_training_rows_and_no_others():
    interactions, split = make([(1, "a"), (1, "b"), (1, "c"), (1, "d"), (2, "b")])
    processor = fit_processor(interactions, split)
    assert processor.vocabulary["item_ids"] == ["a", "b"]
    assert fit_processor(interactions, Split("none")).vocabulary["item_ids"] == ["a", "b", "c", "d"]


def test_values_that_only_held_out_items_and_users_have_are_unknown():
    interactions, split = make(
        [(1, "a"), (1, "b"), (1, "c"), (2, "a")],
        profiles={"profile_id": [1, 2, 3], "sex": ["F", "M", "X"]},
        items={"album_id": ["a", "b", "c"], "genre": ["동화", "노래 율동", "영어"]},
        item_features=["genre"],
        user_features=["sex"],
    )
    processor = fit_processor(interactions, split)
    assert processor.vocabulary["item_features"] == [{"name": "genre", "max_values": 1, "values": ["동화"]}]
    assert processor.vocabulary["user_features"] == [{"name": "sex", "values": ["F", "M"]}]
    users = encode_histories(interactions, processor, [0, 1, 2])
    assert users["user_features"] == [[1], [2], [0]]


def test_two_spellings_are_one_value():
    interactions, split = make(
        [(1, "a"), (1, "b")],
        items={"album_id": ["a", "b"], "genre": ["노래 율동", "노래율동"]},
        item_features=["genre"],
    )
    processor = fit_processor(interactions, split)
    assert processor.item_features()[3:].tolist() == [[1], [1]]
    assert interactions.counts["spellings of genre merged with another"] == 1


def test_unknown_values_are_missing_and_counted():
    interactions, split = make(
        [(1, "a"), (2, "a"), (3, "a")],
        "none",
        {"profile_id": [1, 2, 3], "age": ["7", "unknown", None]},
        user_features=["age"],
    )
    processor = fit_processor(interactions, split)
    assert processor.vocabulary["user_features"] == [{"name": "age", "values": ["7"]}]
    assert interactions.counts["values of age that are empty or unknown, taken as missing"] == 2


def test_keywords_beyond_the_limit_are_cut_and_counted():
    interactions, split = make(
        [(1, "a"), (1, "b")],
        keywords={
            "album_id": ["a"] * 4 + ["b"],
            "keyword_name": ["가", "나", "다", "나", "가"],
            "keyword_value": [3, 5, 9, 4, 3],
        },
        item_features=["keyword_name"],
        keyword_max_length=2,
    )
    processor = fit_processor(interactions, split)
    feature = processor.vocabulary["item_features"][0]
    named = [[feature["values"][i - 1] for i in row] for row in processor.vocabulary["item_feature_values"][0]]
    assert named == [["다", "나"], ["가"]]
    assert interactions.counts["values of keyword_name beyond the 2 heaviest of an item, cut"] == 1


def test_all_keywords_are_kept_where_memory_allows(monkeypatch):
    keywords = {
        "album_id": ["a"] * 50 + ["b"],
        "keyword_name": [f"k{n}" for n in range(51)],
        "keyword_value": [5] * 51,
    }
    for name, limit, kept in (("MAX_PLACES", 2**27, 50), ("MIN_PLACES", 0, 50), ("MAX_PLACES", 60, 30)):  # two items
        monkeypatch.setattr(encoding, name, limit)
        interactions, split = make([(1, "a"), (1, "b")], keywords=keywords, item_features=["keyword_name"])
        (feature,) = fit_processor(interactions, split).vocabulary["item_features"]
        assert feature["max_values"] == kept
        cut = interactions.counts.get(f"values of keyword_name beyond the {kept} heaviest of an item, cut", 0)
        assert cut == 50 - kept


def test_training_and_evaluation_histories_of_leave_one_out():
    interactions, split = make([(1, item) for item in "abcade"] + [(2, "a"), (2, "b")])
    processor = fit_processor(interactions, split)
    a, b, c = 3, 4, 5
    training = encode_training(interactions, processor, split)
    assert training["input_ids"] == [[a, b, c, a], [a, b]]
    assert training["length"] == [4, 2] and training["row"] == [0, 1]
    validation = encode_evaluation(interactions, processor, split, "validation")
    assert validation["input_ids"] == [[a, b, c, a]]
    test = encode_evaluation(interactions, processor, split)
    assert test["input_ids"] == [[a, b, c, a]]  # "d" was never trained on: it is skipped
    assert interactions.counts["events of histories outside the vocabulary"] == 1


def test_targets_outside_the_vocabulary_stay_targets():
    interactions, split = make([(1, item) for item in "abcade"])
    processor = fit_processor(interactions, split)
    (target,) = encode_evaluation(interactions, processor, split)["relevant"][0]
    assert target >= processor.vocab_size


def test_several_targets_are_distinct_items():
    interactions, _ = make([(1, item) for item in "ababbaa"])
    interactions.day[3:] += 1
    split = Split("temporal", "2022-03-02")
    evaluation = encode_evaluation(interactions, fit_processor(interactions, split), split)
    assert evaluation["relevant"] == [[3, 4]] and evaluation["input_ids"] == [[3, 4, 3]]


@pytest.mark.parametrize("unknown_items, expected", [("skip", [3, 4]), ("unk", [3, 2, 4])])
def test_unknown_items_of_a_log_are_skipped_or_read_as_unk(unknown_items, expected):
    interactions, _ = make([(1, "a"), (1, "z"), (1, "b")])
    known, split = make([(1, "a"), (1, "b")], split="none")
    processor = fit_processor(known, split, unknown_items)
    assert encode_histories(interactions, processor, [0])["input_ids"] == [expected]


@pytest.mark.parametrize("trained, later", [([7, 12], ["7", "X9", "12"]), (["7", "X9", "12"], [7, 12])])
def test_a_later_log_may_hold_ids_of_another_type(trained, later):
    known, split = make([(1, item) for item in trained], split="none")
    processor = fit_processor(known, split)
    interactions, _ = make([(1, item) for item in later])
    tokens = encode_histories(interactions, processor, [0])[0]["input_ids"]
    assert [str(item) for item in processor.decode(tokens)] == ["7", "12"]


def test_a_later_log_may_lack_a_user_feature():
    known, split = make([(1, "a"), (2, "a")], "none", {"profile_id": [1, 2], "sex": ["F", "M"]}, user_features=["sex"])
    interactions, _ = make([(1, "a")])
    assert encode_histories(interactions, fit_processor(known, split), [0])["user_features"] == [[0]]


def test_unknown_items_of_a_log_are_refused_by_choice():
    interactions, _ = make([(1, "a"), (1, "z"), (1, "b")])
    known, split = make([(1, "a"), (1, "b")], split="none")
    with pytest.raises(DataError, match="album_id 'z' is not in the vocabulary"):
        encode_histories(interactions, fit_processor(known, split, "error"), [0])


def test_items_below_min_events_are_left_out_or_teach_unk():
    events = [(user, item) for user in (1, 2) for item in "ab"] + [(1, "z")]
    interactions, split = make(events, split="none", min_events=2)
    assert encode_training(interactions, fit_processor(interactions, split), split)["input_ids"] == [[3, 4], [3, 4]]
    assert interactions.counts["items with fewer than 2 training events, left out"] == 1
    with_unk = fit_processor(interactions, split, "unk")
    assert encode_training(interactions, with_unk, split)["input_ids"] == [[3, 4, 2], [3, 4]]


def test_bulk_and_single_encoding_agree(interactions, fitted):
    processor, _ = fitted
    users = list(range(len(interactions.user_ids)))
    bulk = encode_histories(interactions, processor, users)
    for user in users[::7]:
        items = interactions.item_ids.take(pa.array(interactions.item[interactions.user == user])).to_pylist()
        profile = {name: values[user].as_py() for name, values in interactions.user_features.items()}
        single = processor(items, profile, return_tensors=None)
        assert single["input_ids"][0] == bulk[user]["input_ids"]
        assert single["user_features"][0] == bulk[user]["user_features"]


def test_a_user_nobody_knows_has_no_history_and_no_features(interactions, fitted):
    unknown = encode_histories(interactions, fitted[0], [-1, 0])[0]
    assert unknown["input_ids"] == [] and unknown["user_features"] == [0, 0]


def test_rules_and_split_travel_with_the_processor(interactions, fitted):
    processor, split = fitted
    assert processor.split == split.settings()
    assert DataArguments(**processor.data).rules() == interactions.arguments.rules()
    rules = DataArguments(data_dir="/home/me", history_data_file="/home/me/log.csv").rules()
    assert rules["history_data_file"] == "log.csv" and "data_dir" not in rules
    assert "data_dir" not in processor.data


def test_nothing_to_evaluate_is_an_error():
    interactions, split = make([(1, "a"), (1, "b")])
    with pytest.raises(DataError, match="nobody is left to evaluate: no test rows"):
        encode_evaluation(interactions, fit_processor(interactions, split), split)


AGES = {"profile_id": [1, 2, 3, 4, 5], "age": [3, 7, 40, 8.5, None]}


def test_a_number_is_read_as_the_nearest_of_the_training_rows():
    interactions, _ = make(
        [(1, "a"), (2, "a"), (3, "b")],
        profiles=AGES,
        items={"album_id": ["a", "b"], "run_time": ["12.50", ""]},
        item_features=["run_time"],
        user_features=["age"],
        number_features=["run_time", "age"],
    )
    processor = fit_processor(interactions, Split("none"))
    assert processor.vocabulary["user_features"] == [{"name": "age", "values": [3, 7, 40]}]
    assert processor.vocabulary["item_features"] == [{"name": "run_time", "max_values": 1, "values": [12.5]}]
    assert processor.item_features()[3:].tolist() == [[1], [0]]
    assert encode_histories(interactions, processor, range(5))["user_features"] == [[1], [2], [3], [2], [0]]
    assert processor([[]] * 5, [{"age": age} for age in (-1, "7.0", 1e300, 23.4, "없음")])[
        "user_features"
    ].tolist() == [[1], [2], [3], [2], [0]]
    assert type(processor)(processor.vocabulary).vocabulary_hash == processor.vocabulary_hash


def test_many_numbers_are_quantiles_of_equally_many_users():
    interactions, _ = make(
        [(user, "a") for user in range(1000)],
        profiles={"profile_id": range(1000), "income": [n**3 for n in range(1000)]},
        user_features=["income"],
        number_features=["income"],
    )
    processor = fit_processor(interactions, Split("none"))
    ids = [row[0] for row in encode_histories(interactions, processor, range(1000))["user_features"]]
    assert ids == sorted(ids) and len({*ids}) == 32
    assert max(map(ids.count, {*ids})) < 2.5 * min(map(ids.count, {*ids}))


def test_a_feature_of_numbers_holds_no_text_and_is_a_feature():
    profiles = {"profile_id": [1, 2], "age": ["7", "일곱"]}
    interactions, _ = make([(1, "a"), (2, "a")], profiles=profiles, user_features=["age"], number_features=["age"])
    with pytest.raises(DataError, match="age is '일곱', not a number; leave it out of --number_features"):
        fit_processor(interactions, Split("none"))
    interactions, _ = make([(1, "a")], profiles=profiles, number_features=["age"])
    with pytest.raises(DataError, match="number_features age are none of the item_features and user_features"):
        fit_processor(interactions, Split("none"))


@pytest.mark.parametrize("as_text", [False, True])
def test_a_profile_may_have_several_values(as_text):
    likes = [["노래", "동화"], ["동화", "동화"], None, [], ["새것", "노래"]]
    if as_text:
        likes = [None if values is None else "|".join(values) for values in likes]
    interactions, _ = make(
        [(user, "a") for user in (1, 2, 3, 4)],
        profiles={"profile_id": [1, 2, 3, 4, 5], "likes": likes},
        user_features=["likes"],
        multi_value_separator="|" if as_text else None,
    )
    processor = fit_processor(interactions, Split("none"))
    assert processor.vocabulary["user_features"] == [{"name": "likes", "values": ["노래", "동화"], "max_values": 2}]
    rows = encode_histories(interactions, processor, range(5))["user_features"]
    assert rows == [[1, 2], [2, 0], [0, 0], [0, 0], [1, 0]]
    assert processor([[]], {"likes": ["동화", "없음", "노래"]})["user_features"].tolist() == [[2, 1]]
    assert processor([[]], {"likes": "동화"})["user_features"].tolist() == [[2, 0]]
