# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
import os
import random
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from helpers import make_processor, model_of

from bert4rec_hf import DataError, ItemRecommendationPipeline, LivePipeline, load_checkpoint
from bert4rec_hf.serving import live as live_module


USER = {"history": ["i1", "i2", "i1"], "profile": {"sex": "F", "age": 7}}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Two checkpoints of the same items, and their pipelines."""
    processor, folders = make_processor(), tmp_path_factory.mktemp("checkpoints")
    model = model_of(processor, "prior")
    for name in ("old", "new"):
        model.save_pretrained(folders / name)
        processor.save_pretrained(folders / name)
        for weight in model.parameters():
            torch.nn.init.normal_(weight, std=0.3)
    pipelines = []
    for name in ("old", "new"):
        model, processor = load_checkpoint(str(folders / name))
        pipelines.append(ItemRecommendationPipeline(model=model, processor=processor))
    return folders, *pipelines


@pytest.fixture
def folder(checkpoints, tmp_path):
    """What is served: a copy of the old checkpoint."""
    return str(shutil.copytree(checkpoints[0] / "old", tmp_path / "served"))


class Gate:
    """Holds a worker at its first call, until opened; keeps how many users each call had."""

    def __init__(self, monkeypatch):
        self.calls, self.reached, self.open, call = [], threading.Event(), threading.Event(), self.wait
        original = ItemRecommendationPipeline.__call__
        monkeypatch.setattr(
            ItemRecommendationPipeline, "__call__", lambda self, users, **kw: call(original, self, users, **kw)
        )

    def wait(self, original, pipeline, users, **settings):
        self.calls.append(len(users))
        self.reached.set()
        assert self.open.wait(5)
        return original(pipeline, users, **settings)

    def hold(self, live):
        future = live.submit(USER)
        assert self.reached.wait(5)
        return future


def are_same(items, expected):
    return [item["item_id"] for item in items] == [item["item_id"] for item in expected] and np.allclose(
        [item["score"] for item in items], [item["score"] for item in expected], atol=1e-5, rtol=1e-5
    )


def make_requests():
    """Users and settings, each with other filters."""
    generator, items = random.Random(0), [f"i{n}" for n in range(50)]
    for number in range(40):
        user = {"history": generator.choices(items, k=generator.randrange(30))}
        if number % 2:
            user["profile"] = {"sex": generator.choice("FM")}
        if number % 3 == 0:
            user["candidates"] = generator.sample(items, 20)
        if number % 4 == 0:
            user["exclude"] = generator.sample(items, 5)
        settings = {"k": generator.choice([1, 5, 60]), "exclude_seen": generator.random() < 0.3}
        yield user, settings | ({"max_per": {"genre": 2}} if number % 5 == 0 else {})


def test_each_of_many_threads_gets_what_the_pipeline_gives_it_alone(checkpoints, folder):
    requests = [
        (user, settings, checkpoints[1](user, **settings)) for user, settings in make_requests() for _ in range(5)
    ]
    random.Random(1).shuffle(requests)
    with LivePipeline(folder, max_batch=8) as live, ThreadPoolExecutor(16) as threads:
        answers = threads.map(lambda request: live.submit(request[0], **request[1]).result(5), requests)
        assert all(are_same(items, request[2]) for items, request in zip(answers, requests, strict=True))


@pytest.mark.parametrize("max_batch, calls", [(64, [1, 7, 2]), (4, [1, 4, 3, 1, 1])])
def test_requests_that_wait_together_are_ranked_in_one_call(folder, monkeypatch, max_batch, calls):
    gate = Gate(monkeypatch)
    with LivePipeline(folder, max_batch=max_batch) as live:
        gate.hold(live)
        futures = [live.submit(USER, k=k) for k in (3, 3, 3, 2, 3, 4, 4)]
        futures += [live.submit(USER, k=k, max_per={"genre": 2}) for k in (3, 3)]  # these apart
        gate.open.set()
        lengths = [len(future.result(5)) for future in futures]
        assert lengths == [3, 3, 3, 2, 3, 4, 4, 3, 3] and gate.calls == calls


def test_settings_may_be_none_and_a_folder_must_be_there(folder, tmp_path):
    with LivePipeline(folder) as live:
        futures = [live.submit(USER, k=None, exclude_seen=None) for _ in range(5)]
        assert [len(future.result(5)) for future in futures] == [10] * 5
    with pytest.raises(DataError, match="nowhere cannot be read"):
        LivePipeline(str(tmp_path / "nowhere"))


def test_a_bad_request_raises_for_its_own_client_alone(checkpoints, folder, monkeypatch):
    expected = checkpoints[1](USER)
    bad = [
        ({"history": [3]}, {}, ValueError, "item id 3 is a int"),
        ({"history": ["i1"], "candidates": ["new"]}, {}, ValueError, "none of the candidates"),
        (None, {}, ValueError, "a user is"),
        (USER, {"k": 0}, ValueError, "k is 0"),
        (USER, {"max_per": {"genre": 2**70}}, (ValueError, OverflowError), "."),
        (USER, {"size": 3}, TypeError, "no argument 'size'"),
        (USER, {"max_per": {"genre": 1, 2: 3}}, (ValueError, TypeError), "."),
    ]
    gate = Gate(monkeypatch)
    with LivePipeline(folder) as live:
        gate.hold(live)
        futures = [(live.submit(USER), live.submit(user, **settings)) for user, settings, *_ in bad]
        gate.open.set()
        for (good, refused), (*_, error, words) in zip(futures, bad):
            assert are_same(good.result(5), expected)
            with pytest.raises(error, match=words):
                refused.result(5)
        assert are_same(live.submit(USER).result(5), expected)


# The repr of a long array leaves out its middle, and these two are taken for the same filter.
def test_two_requests_never_share_a_filter(checkpoints, folder, monkeypatch):
    filters = [np.array(["new"] * 1000 + [item] + ["new"] * 1000) for item in ("i3", "i4")]
    gate = Gate(monkeypatch)
    with LivePipeline(folder) as live:
        gate.hold(live)
        futures = [live.submit(USER, candidates=candidates) for candidates in filters]
        gate.open.set()
        assert [[item["item_id"] for item in future.result(5)] for future in futures] == [["i3"], ["i4"]]


def ask_until(live, expected, seconds=10):
    """All answers up to the first that is as expected."""
    answers, end = [], time.monotonic() + seconds
    while not answers or not are_same(answers[-1], expected):
        assert time.monotonic() < end
        answers.append(live.submit(USER).result(5))
    return answers


@pytest.mark.parametrize("way", ["saved", "copied", "linked", "linked, of the same times"])
def test_a_new_checkpoint_is_taken_and_each_answer_is_of_one_of_the_two(checkpoints, tmp_path, way):
    checkpoints, old, new = checkpoints
    answers, served = (old(USER), new(USER)), tmp_path / "served"
    shutil.copytree(checkpoints / "old", served if "linked" not in way else tmp_path / "first")
    if "linked" in way:
        shutil.copytree(checkpoints / "new", tmp_path / "second")
        served.symlink_to("first")
    if "times" in way:  # as of archives that are built to be reproducible; times alone do not tell the two apart
        for path in tmp_path.glob("*/*"):
            os.utime(path, (1e9, 1e9))
    with LivePipeline(str(served), reload_seconds=0.05) as live, ThreadPoolExecutor(3) as threads:
        ask_until(live, answers[0])
        asked = [threads.submit(ask_until, live, answers[1]) for _ in range(3)]
        if way == "saved":
            new.save_pretrained(served)
        elif way == "copied":
            for path in sorted((checkpoints / "new").iterdir(), key=lambda path: path.suffix == ".safetensors"):
                shutil.copy(path, tmp_path / "copy")
                os.replace(tmp_path / "copy", served / path.name)
        else:
            (tmp_path / "link").symlink_to("second")
            os.replace(tmp_path / "link", served)
        for future in asked:
            assert all(are_same(items, answers[0]) for items in future.result()[:-1])
        assert are_same(live.submit(USER).result(5), answers[1])


# safetensors maps its file: the model changes with it, and a file that is cut off ends the process by SIGBUS.
def test_weights_that_are_written_over_do_not_change_the_model_that_is_served(checkpoints, folder):
    with LivePipeline(folder, reload_seconds=60) as live:
        with open(f"{folder}/model.safetensors", "r+b") as file:
            file.write((checkpoints[0] / "new" / "model.safetensors").read_bytes())
        assert are_same(live.submit(USER).result(5), checkpoints[1](USER))


def test_a_broken_folder_keeps_the_old_model_and_is_tried_again(checkpoints, folder, monkeypatch):
    warnings = []
    monkeypatch.setattr(live_module.logger, "warning", lambda text, *values: warnings.append(text % values))

    def wait_for(words):
        end = time.monotonic() + 5
        while not any(words in line for line in warnings):
            assert time.monotonic() < end, warnings
            time.sleep(0.01)
        assert are_same(live.submit(USER).result(5), checkpoints[1](USER))
        assert not any("\n" in line for line in warnings)
        warnings.clear()

    with LivePipeline(folder, reload_seconds=0.05) as live:
        (checkpoints[0] / "half").write_bytes((checkpoints[0] / "new" / "model.safetensors").read_bytes()[:5000])
        os.replace(checkpoints[0] / "half", f"{folder}/model.safetensors")
        wait_for("model.safetensors cannot be read")
        wait_for("model.safetensors cannot be read")
        os.rename(folder, f"{folder} is gone")
        wait_for("No such file")
        os.mkdir(folder)
        wait_for("holds no checkpoint")
        os.rmdir(folder)
        shutil.copytree(checkpoints[0] / "new", folder)
        ask_until(live, checkpoints[2](USER))
    with pytest.raises(DataError, match="holds no checkpoint"):
        LivePipeline(str(checkpoints[0]))


def test_what_was_asked_before_it_closes_is_answered(checkpoints, folder, monkeypatch):
    expected = checkpoints[1](USER)
    gate = Gate(monkeypatch)
    live = LivePipeline(folder, max_batch=4)
    futures = [gate.hold(live), *(live.submit(USER) for _ in range(10))]
    closing = threading.Thread(target=live.close)
    closing.start()
    gate.open.set()
    assert all(are_same(future.result(5), expected) for future in futures)
    closing.join(5)
    assert not closing.is_alive() and not any(thread.is_alive() for thread in live._threads)
    with pytest.raises(RuntimeError, match="closed"):
        live.submit(USER).result(1)


def test_nothing_is_ranked_for_a_client_that_has_gone(folder, monkeypatch):
    gate = Gate(monkeypatch)
    with LivePipeline(folder) as live:
        gate.hold(live)
        gone, stays = live.submit(USER), live.submit(USER)
        assert gone.cancel()
        gate.open.set()
        assert len(stays.result(5)) == 10 and gate.calls == [1, 1]
