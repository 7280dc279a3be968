# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""examples/server.py, where FastAPI is installed."""

import importlib.util
import json
import sys

import pytest
from helpers import EXAMPLES, make_processor, model_of

from bert4rec_hf import Bert4RecProcessor, ItemRecommendationPipeline


pytest.importorskip("fastapi")
pytest.importorskip("httpx")  # of the client

from fastapi.testclient import TestClient


USER = {"history": ["i1", "new", "i2", "i1"], "profile": {"sex": "F", "age": 7}}


@pytest.fixture(scope="module")
def pipe():
    processor = Bert4RecProcessor(make_processor().vocabulary, data={"time_intervals": "input"})
    return ItemRecommendationPipeline(model=model_of(processor, "prior"), processor=processor)


@pytest.fixture(scope="module")
def client(pipe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    pipe.save_pretrained(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODEL_DIR", str(folder))
        spec = importlib.util.spec_from_file_location("server", EXAMPLES / "server.py")
        server = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, "server", server)  # pydantic looks up annotations there
        spec.loader.exec_module(server)
        with TestClient(server.app, raise_server_exceptions=False) as client:
            yield client


def post(client, path, body):
    """The answer to a body: text, or what is sent as JSON."""
    text = body if isinstance(body, (str, bytes)) else json.dumps(body)
    return client.post(path, content=text, headers={"Content-Type": "application/json"})


def assert_same(found, expected):
    """Nested values are equal, floats nearly."""
    if isinstance(expected, float):
        assert found == pytest.approx(expected, abs=1e-5)
    elif isinstance(expected, (dict, list)):
        assert type(found) is type(expected) and len(found) == len(expected)
        for key in expected if isinstance(expected, dict) else range(len(expected)):
            assert_same(found[key], expected[key])
    else:
        assert found == expected


@pytest.mark.parametrize(
    "wishes",
    [
        {},
        {"k": 3, "exclude_seen": True},
        {"k": 1000, "candidates": ["i3", "i7", "new", "i9"], "exclude": ["i7"]},
        {"max_per": {"genre": 2}, "k": 4},
        {"profile": {"age": "7", "sex": None}, "exclude": []},
        {"history": []},
        {"times": [10**9, None, 1.00001e9, "2001-09-09T12:00Z"], "request_time": "2001-09-10T01:00+09:00"},
    ],
)
def test_it_recommends_what_the_pipeline_recommends(client, pipe, wishes):
    names = ("history", "profile", "candidates", "exclude", "times", "request_time")
    own = {name: wishes[name] for name in names if name in wishes}
    settings = {name: value for name, value in wishes.items() if name not in own}
    response = post(client, "/recommend", USER | wishes)
    assert response.status_code == 200
    assert_same(response.json(), pipe(USER | own, **settings))


def test_the_other_routes_give_what_the_pipeline_gives(client, pipe):
    assert_same(post(client, "/similar", {"item_id": "i4", "k": 3}).json(), pipe.similar("i4", 3))
    assert_same(post(client, "/similar", {"item_id": "i4"}).json(), pipe.similar("i4"))
    assert_same(post(client, "/explain", {"user": USER, "item_id": "i2"}).json(), pipe.explain(USER, "i2"))
    assert client.get("/health").json() == {"items": 50}
    assert client.get("/docs").status_code == 200


@pytest.mark.parametrize(
    "path, body, status",
    [
        ("recommend", "", 422),
        ("recommend", "{history: 1}", 422),
        ("recommend", b"\xff\xfe{", 400),
        ("recommend", '{"history": ' + "[" * 100_000 + "]" * 100_000 + "}", 400),
        ("recommend", '{"history": [], "k": 1' + "0" * 5000 + "}", 400),
        ("recommend", '{"history": ["' + "x" * 2**20 + '"]}', 413),
        ("recommend", "null", 422),
        ("recommend", [USER], 422),
        ("recommend", {}, 422),
        ("recommend", {"history": None}, 422),
        ("recommend", {"history": "i1"}, 422),
        ("recommend", {"history": ["i1"], "times": ["noon"]}, 422),
        ("recommend", {"history": ["i1"], "times": [1, 2]}, 422),
        ("recommend", {"history": [["i1"]]}, 422),
        ("recommend", {"history": [3]}, 422),
        ("recommend", {"history": [10**400]}, 422),
        ("recommend", {"history": [float("nan")]}, 422),
        ("recommend", USER | {"candidates": ["\ud800"]}, 422),
        ("recommend", {"history": [None] * 10_000}, 422),
        ("recommend", {"histroy": ["i1"]}, 422),
        ("recommend", USER | {"a\nb": 1}, 422),
        ("recommend", USER | {"\ud800": 1}, 422),
        ("recommend", USER | {"profile": ["F"]}, 422),
        ("recommend", USER | {"profile": {"sex": {"a": 1}}}, 422),
        ("recommend", USER | {"k": 0}, 422),
        ("recommend", USER | {"k": 1001}, 422),
        ("recommend", USER | {"k": 2**70}, 422),
        ("recommend", USER | {"k": 2.5}, 422),
        ("recommend", USER | {"candidates": []}, 422),
        ("recommend", USER | {"candidates": ["new"]}, 422),
        ("recommend", USER | {"exclude": {"i1": 1}}, 422),
        ("recommend", USER | {"max_per": {"colour": 2}}, 422),
        ("recommend", USER | {"max_per": {"genre": 0}}, 422),
        ("recommend", USER | {"max_per": {"genre": 2**70}}, 422),
        ("recommend", USER | {"max_per": {"genre": 10**400}}, 422),  # the same
        ("recommend", USER | {"diversity": 2}, 422),
        ("recommend", USER | {"diversity": float("nan")}, 422),
        ("recommend", USER | {"diversity": 10**400}, 422),
        ("similar", {"item_id": "new"}, 422),
        ("similar", {"item_id": True}, 422),
        ("similar", {"item_id": 10**400}, 422),
        ("similar", {"k": 3}, 422),
        ("explain", {"user": USER | {"k": 3}, "item_id": "i1"}, 422),
        ("explain", {"user": {"history": [3]}, "item_id": "i1"}, 422),
        ("explain", {"user": {"history": ["i1"] * 150_000}, "item_id": "i1"}, 422),
    ],
)
def test_a_malformed_request_is_refused_in_one_line(client, pipe, path, body, status):
    response = post(client, f"/{path}", body)
    assert response.status_code == status
    detail = response.json()["detail"]
    assert isinstance(detail, str) and detail.isprintable() and 5 < len(detail) <= 300
    assert_same(post(client, "/recommend", USER).json(), pipe(USER))


def test_a_body_of_unknown_length_or_another_type_is_refused(client):
    assert client.post("/recommend", content=iter([b'{"history": []}'])).status_code == 413
    assert client.post("/recommend", data={"history": "i1"}).status_code == 422
    assert client.get("/recommend").status_code == 405


# Each text is kept for good by warning_once's cache: the memory of a service grows with what strangers send.
def test_what_strangers_send_is_not_kept(client):
    from transformers.utils import logging

    warning_once = logging.get_logger("bert4rec_hf").warning_once.__func__
    post(client, "/recommend", {"history": ["i1", "neu"], "profile": {"alter": 3}})
    kept = warning_once.cache_info().currsize
    for number in range(20):
        post(client, "/recommend", {"history": ["i1", f"neu {number}"], "profile": {f"alter {number}": 3}})
    assert warning_once.cache_info().currsize == kept
