# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
import json

import pytest
import torch
from torch.testing import assert_close
from transformers import pipeline

from bert4rec_hf import Bert4RecProcessor, ItemRecommendationPipeline


USERS = [
    {"history": ["i1", "i2", "i1"], "profile": {"sex": "F", "age": 7}},
    {"history": [], "profile": {"sex": "M"}},
    {"history": [f"i{n}" for n in range(30)]},
    {"history": [], "profile": None},
    {"history": ("i5", "i6")},
]


@pytest.fixture
def pipe(model, processor, tmp_path):
    model.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    return pipeline("item-recommendation", model=str(tmp_path / "model"))


def recommended(pipe, user, **kwargs):
    inputs = pipe.processor([list(user["history"])], [user.get("profile")])
    return pipe.model.recommend(**inputs, **kwargs)


def test_it_recommends_what_the_model_recommends(pipe):
    assert type(pipe) is ItemRecommendationPipeline
    for user in USERS:
        items, expected = pipe(user, k=7), recommended(pipe, user, k=7)
        assert [item["item_id"] for item in items] == pipe.processor.decode(expected.item_ids)[0]
        assert [item["title"] for item in items] == pipe.processor.titles(expected.item_ids)[0]
        assert_close(torch.tensor([item["score"] for item in items]), expected.scores[0], atol=1e-5, rtol=1e-5)
        assert [item["rank"] for item in items] == list(range(1, 8))
        assert json.loads(json.dumps(items)) == items


@pytest.mark.parametrize("batch_size", [1, 2, 5])
@pytest.mark.parametrize("of", [list, iter])
def test_many_users_get_what_each_gets_alone(pipe, batch_size, of):
    users = USERS if of is list else (user for user in USERS)
    together = list(pipe(users, k=4, batch_size=batch_size))
    for items, alone in zip(together, [pipe(user, k=4) for user in USERS], strict=True):
        assert [item["item_id"] for item in items] == [item["item_id"] for item in alone]
        assert_close([item["score"] for item in items], [item["score"] for item in alone], atol=1e-5, rtol=1e-5)


def test_seen_items_may_come_again_or_not(pipe):
    def ids(**kwargs):
        return {item["item_id"] for item in pipe(USERS[0], **kwargs)}

    assert {"i1", "i2"} <= ids(k=50)
    assert ids(k=48, exclude_seen=True) == {f"i{n}" for n in range(50)} - {"i1", "i2"}


def test_candidates_alone_are_ranked_in_the_order_of_all(pipe):
    everything = [item["item_id"] for item in pipe(USERS[0], k=50)]
    candidates = ["i9", "i3", "i30", "new"]
    assert [item["item_id"] for item in pipe(USERS[0], candidates=candidates)] == [
        item for item in everything if item in candidates
    ]
    assert len(pipe(USERS[0], candidates=[f"i{n}" for n in range(20)])) == 10
    pipe.processor.unknown_items = "error"
    assert pipe(USERS[0], candidates=["i9", "new"], k=1)[0]["item_id"] == "i9"


@pytest.mark.parametrize("batch_size", [1, 2, 5])
@pytest.mark.parametrize("shared", [{}, {"exclude": ["i0", "i9"]}, {"candidates": [f"i{n}" for n in range(30)]}])
def test_two_requests_never_share_a_filter(pipe, batch_size, shared):
    filters = [{}, {"candidates": ["i7", "i20", "i40", "new"]}, {"exclude": ["i3", "new"]}, {"exclude": []}]
    filters += [{"candidates": ("i1", "i2"), "exclude": ["i1"]}]
    lists = pipe([user | own for user, own in zip(USERS, filters)], k=50, batch_size=batch_size, **shared)
    for user, own, items in zip(USERS, filters, lists, strict=True):
        allowed = [item["item_id"] for item in pipe(user, k=50)]
        for wishes in (shared, own):
            allowed = [item for item in allowed if item in wishes.get("candidates", allowed)]
            allowed = [item for item in allowed if item not in wishes.get("exclude", [])]
        assert [item["item_id"] for item in items] == allowed


def test_lists_may_be_limited_and_diverse(pipe):
    items = pipe(USERS[0], k=6, max_per={"genre": 3})
    assert sorted(int(item["item_id"][1:]) % 2 for item in items) == [0, 0, 0, 1, 1, 1]
    best, diverse = pipe(USERS[0], k=5), pipe(USERS[0], k=5, diversity=0.9)
    assert best != diverse and best[0] == diverse[0] and [item["rank"] for item in diverse] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("wishes", [{"diversity": 0.9}, {"diversity": 0.9, "max_per": {"genre": 3}}])
def test_a_short_list_changes_no_other_list_of_the_batch(pipe, wishes):
    users = [USERS[0], USERS[1] | {"candidates": ["i5", "i9"]}, USERS[2]]
    together = pipe(users, k=6, batch_size=3, **wishes)
    ids = [
        [item["item_id"] for item in items] for items in (*together, *(pipe(user, k=6, **wishes) for user in users))
    ]
    assert ids[:3] == ids[3:] and [*map(len, ids[:3])] == [6, 2, 6]
    assert len(pipe(USERS[0], k=10**6, max_per={"genre": 3})) == 6


def test_events_outside_the_vocabulary_explain_nothing(pipe):
    pipe.processor.unknown_items = "unk"
    why = pipe.explain({"history": ["new", "i1"]}, "i30")
    assert [event["item_id"] for event in why["because"]] == ["i1"]


def test_items_that_are_similar(pipe):
    similar, token_id = pipe.similar("i4", k=3), pipe.processor.encode_items(["i4"])
    expected = pipe.model.similar_items(torch.tensor(token_id), 3)
    assert [item["item_id"] for item in similar] == pipe.processor.decode(expected.item_ids[0])
    assert [item["score"] for item in similar] == expected.scores[0].tolist()
    assert len(pipe.similar("i4", k=1000)) == 49
    with pytest.raises(ValueError, match="item 'new' is not in the vocabulary"):
        pipe.similar("new")


def test_why_an_item_is_recommended(pipe):
    user = {"history": ["i1", "new", "i2", "i1"], "profile": {"sex": "F"}}
    why = pipe.explain(user, "i30")
    assert [event["item_id"] for event in why["because"]] in (
        ["i1", "i1", "i2"],
        ["i1", "i2", "i1"],
        ["i2", "i1", "i1"],
    )
    raised = [event["raised"] for event in why["because"]]
    assert raised == sorted(raised, reverse=True) and why["repeat_share"] is None and why["title"] == "제목 30"
    score = {item["item_id"]: item["score"] for item in pipe(user, k=50)}["i30"]
    without = {item["item_id"]: item["score"] for item in pipe(user | {"history": ["i1", "i1"]}, k=50)}["i30"]
    of_i2 = next(event["raised"] for event in why["because"] if event["item_id"] == "i2")
    assert_close(torch.tensor([why["score"], of_i2]), torch.tensor([score, score - without]), atol=1e-5, rtol=1e-5)
    assert json.loads(json.dumps(why)) == why
    assert pipe.explain({"history": []}, "i30")["because"] == []


@pytest.mark.parametrize("k", [{}, {"k": 60}])
def test_a_list_is_short_where_nothing_is_left_to_recommend(pipe, k):
    lists = pipe(USERS, candidates=["i0", "i1", "i40"], exclude_seen=True, batch_size=2, **k)
    assert [[item["item_id"] for item in items] for items in lists[2:3]] == [["i40"]]
    assert [len(items) for items in lists] == [2, 3, 1, 3, 3]
    assert [item["rank"] for item in lists[1]] == [1, 2, 3]
    assert pipe({"history": ["i1"]}, candidates=["i1"], exclude_seen=True, **k) == []
    assert len(pipe({"history": []}, k=1000)) == 50


def test_the_defaults_can_be_set_when_it_is_made(pipe):
    own = ItemRecommendationPipeline(model=pipe.model, processor=pipe.processor, k=3, exclude_seen=True)
    assert own(USERS[0]) == pipe(USERS[0], k=3, exclude_seen=True)
    assert len(own(USERS[0], k=2)) == 2


def test_unknown_items_are_as_if_not_watched(pipe):
    assert pipe({"history": ["new", "i1", "i2", "newer", "i1"], "profile": USERS[0]["profile"]}) == pipe(USERS[0])
    assert pipe({"history": ["new"]}) == pipe({"history": []})


@pytest.mark.parametrize("num_none", [0, 1])
def test_no_users_no_lists(pipe, num_none):
    assert pipe([{"history": []}] * num_none) == [pipe({"history": []})] * num_none


@pytest.mark.parametrize(
    "user, kwargs, words",
    [
        ({"histroy": ["i1"]}, {}, "a user is {'history'"),
        ({"history": ["i1"], "sex": "F"}, {}, "a user is {'history'"),
        ("i1", {}, "a user is"),
        ({"history": [3]}, {}, "item id 3 is a int, the vocabulary holds ids of type str"),
        ({"history": []}, {"k": 0}, "k is 0"),
        ({"history": None}, {}, "a history is a list of item ids, not None"),
        ({"history": "i1"}, {}, "a history is a list of item ids, not 'i1'"),
        ({"history": [["i1"]]}, {}, "a history is a list of item ids"),
        ({"history": ["i1"], "profile": ["F"]}, {}, "a profile is a dict"),
        ({"history": []}, {"candidates": ["new"]}, "none of the candidates"),
        ({"history": [], "candidates": ["new"]}, {}, "none of the candidates"),
        ({"history": [], "candidates": "i1"}, {}, "candidates is a list of item ids, not 'i1'"),
        ({"history": [], "exclude": {"i1": 1}}, {}, "exclude is a list of item ids"),
        ({"history": []}, {"max_per": {"colour": 2}}, "no item feature 'colour'"),
    ],
)
def test_what_cannot_be_recommended_from_is_refused(pipe, user, kwargs, words):
    with pytest.raises(ValueError, match=words):
        pipe(user, **kwargs)


def test_it_refuses_the_processor_of_another_model(pipe, processor):
    titles = [f"another {n}" for n in range(50)]  # of the same sizes
    other = Bert4RecProcessor({**processor.vocabulary, "titles": titles})
    with pytest.raises(ValueError, match="not of the same checkpoint"):
        ItemRecommendationPipeline(model=pipe.model, processor=other)


def test_it_saves_the_whole_recommender(pipe, tmp_path):
    pipe.save_pretrained(tmp_path / "again")
    assert pipeline("item-recommendation", model=str(tmp_path / "again"))(USERS, k=5) == pipe(USERS, k=5)
