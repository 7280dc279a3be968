# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""
Serves a checkpoint by examples/server.py to clients that ask without pause, copies another one over it half way, and
compares each answer with the pipeline's; then sends what no client should send.

    python examples/benchmarks/server_load.py --model_dir exps/seed1 --other_model_dir exps/seed2
"""

import asyncio
import json
import multiprocessing
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np

from bert4rec_hf import DataError, ItemRecommendationPipeline, load_checkpoint
from bert4rec_hf.cli.arguments import parse_arguments, run


TOLERANCE = 1e-4  # of scores; items whose scores are as near may swap places
RELOAD_SECONDS = 6  # after which every answer is the new model's
MEMORY_SECONDS = 10
FAILED, OLD, NEW = -1, 1, 2  # an answer may be both models', OLD | NEW, or neither's, 0
JSON = {"Content-Type": "application/json"}


@dataclass
class LoadArguments:
    """What is served, and to how many."""

    model_dir: str = field(metadata={"help": "Checkpoint that is served first."})
    other_model_dir: str = field(metadata={"help": "Checkpoint of the same items that replaces it half way."})
    clients: int = field(default=64, metadata={"help": "Clients that ask at the same time."})
    seconds: float = field(default=60, metadata={"help": "How long they ask."})
    pool: int = field(default=300, metadata={"help": "Different requests."})
    malformed: int = field(default=1000, metadata={"help": "Malformed requests."})
    seed: int = field(default=0, metadata={"help": "Seed of the requests."})
    output_file: str | None = field(default=None, metadata={"help": "JSON file of the figures."})


def make_requests(items: list, number: int, seed: int) -> list[dict]:
    moments = random.Random(seed)
    requests = []
    for _ in range(number):
        body = {"history": moments.choices(items, k=moments.randint(0, 50)), "k": moments.randint(1, 20)}
        if moments.random() < 0.3:
            body["exclude_seen"] = True
        for name in ("candidates", "exclude"):
            if moments.random() < 0.3:
                body[name] = moments.sample(items, min(len(items), moments.randint(1, 200)))
        requests.append(body)
    return requests


def rank_all(pipeline: ItemRecommendationPipeline, request: dict) -> dict:
    """The scores of all items that may be recommended, best first."""
    user = {name: value for name, value in request.items() if name not in ("k", "exclude_seen")}
    settings = {"exclude_seen": request.get("exclude_seen", False), "k": pipeline.processor.vocab_size}
    return {item["item_id"]: item["score"] for item in pipeline(user, **settings)}


def is_right(answer: list[dict], k: int, expected: dict) -> bool:
    ids, scores = [item["item_id"] for item in answer], np.array([item["score"] for item in answer])
    best = np.array([*expected.values()][:k])
    return (
        len({*ids}) == len(ids) == len(best)
        and expected.keys() >= {*ids}
        and [item["rank"] for item in answer] == list(range(1, len(ids) + 1))
        and np.allclose(scores, best, rtol=0, atol=TOLERANCE)
        and np.allclose(scores, [expected[item] for item in ids], rtol=0, atol=TOLERANCE)
    )


async def ask(url: str, requests: list[dict], answers: list, begin: float, end: float, seed: int):
    """One client: for each request when it was sent, how long it took, and whose answer it got."""
    moments = random.Random(seed)
    # One connection each: a pool of many takes httpx longer than the server's answer.
    async with httpx.AsyncClient(base_url=url, timeout=30, verify=False) as client:
        await asyncio.sleep(begin - time.monotonic())
        while (sent := time.monotonic()) < end:
            request = moments.choice(requests)
            try:
                response = await client.post("/recommend", content=request["body"], headers=JSON)
            except httpx.HTTPError:
                response = None
            seconds, whose = time.monotonic() - sent, FAILED
            if response is not None and response.status_code == 200:
                answer = response.json()
                whose = sum(name * is_right(answer, request["k"], request[name]) for name in (OLD, NEW))
            else:
                await asyncio.sleep(0.1)  # a server that is gone refuses at once
            answers.append((sent, seconds, whose))


def ask_all(url: str, requests: list[dict], clients: int, begin: float, end: float, results):
    """The clients' process, so that the server has a core of its own."""

    async def main():
        await asyncio.gather(*(ask(url, requests, answers, begin, end, seed) for seed in range(clients)))

    answers: list = []
    asyncio.run(main())
    results.send(answers)


def memory_of(pid: int) -> int:
    """The resident memory of a process in MB; 0 when it has ended, a zombie until it is waited for."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) // 1000 for line in lines if line.startswith("VmRSS:")), 0)


def start_server(folder: Path, log: Path) -> tuple[subprocess.Popen, str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(Path(__file__).parents[1]), "server:app"]
    command += ["--port", str(port), "--log-level", "warning"]
    with log.open("w") as file:
        server = subprocess.Popen(command, env=os.environ | {"MODEL_DIR": str(folder)}, stdout=file, stderr=file)
    for _ in range(600):
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                return server, f"http://127.0.0.1:{port}"
        except httpx.HTTPError:
            time.sleep(0.1)
        if server.poll() is not None:
            break
    server.kill()
    raise DataError(f"the server does not start: {(log.read_text().splitlines() or ['it says nothing'])[-1]}")


def copy_checkpoint(source: str, folder: Path):
    """As `cp` does it, into the files that are there; weights last."""
    files = [path for path in Path(source).iterdir() if path.is_file()]
    for path in sorted(files, key=lambda path: path.suffix == ".safetensors"):
        shutil.copyfile(path, folder / path.name)


def load(args: LoadArguments, requests: list[dict], folder: Path, server: subprocess.Popen, url: str) -> dict:
    """The figures of the load, while which the checkpoint is replaced."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    begin = time.monotonic() + 5  # the process has to import
    arguments = (url, requests, args.clients, begin, begin + args.seconds, sender)
    process = multiprocessing.get_context("spawn").Process(target=ask_all, args=arguments)
    process.start()
    sender.close()
    memory, replaced = [], None
    while process.is_alive() and not receiver.poll(0.1):
        if replaced is None and time.monotonic() >= begin + args.seconds / 2:
            replaced = time.monotonic()
            copy_checkpoint(args.other_model_dir, folder)
        if time.monotonic() >= begin + MEMORY_SECONDS * len(memory):
            memory.append(memory_of(server.pid))
    sent, seconds, whose = np.array(receiver.recv()).T
    process.join()
    at = sent + seconds - replaced
    too_early = (whose == NEW) & (at < 0)
    too_late = (whose == OLD) & (sent > replaced + RELOAD_SECONDS)
    is_wrong = (whose == 0) | too_early | too_late
    wrong_at = np.round(at[is_wrong], 1).tolist()
    return {
        "requests a second": round(len(sent) / float((sent + seconds).max() - sent.min()), 1),
        "median, ms": round(1000 * float(np.median(seconds)), 1),
        "99th percentile, ms": round(1000 * float(np.quantile(seconds, 0.99)), 1),
        "requests": len(sent),
        "answers of the old model": int((whose == OLD).sum()),
        "answers of the new model": int((whose == NEW).sum()),
        "answers of both": int((whose == OLD | NEW).sum()),
        "wrong answers": int(is_wrong.sum()),
        "their first and last, seconds after the replacement": wrong_at and [min(wrong_at), max(wrong_at)],
        "failed requests": int((whose == FAILED).sum()),
        f"server's memory every {MEMORY_SECONDS} s, MB": memory,
    }


def malformed_requests(vocabulary: dict) -> list[tuple[str, bytes]]:
    """A path and a body of each kind."""
    items, features = vocabulary["item_ids"], [feature["name"] for feature in vocabulary.get("item_features", [])]
    history = {"history": items[:3]}
    other = 1 if isinstance(items[0], str) else "one"
    bodies = [
        *({}, None, [history], "history", {"history": None}, {"history": items[0]}, {"history": [[items[0]]]}),
        *({"history": [other]}, {"history": [float("nan")]}, {"history": [None] * 1000}, history | {"x": 1}),
        *(history | {"k": k} for k in (0, 1001, 2**70, 10**400, 2.5, "many")),
        *(history | {"max_per": limits} for limits in ({"no such": 1}, {(features or ["x"])[0]: 2**70}, [1], None)),
        *(history | {"diversity": diversity} for diversity in (2, float("nan"), float("inf"), 10**400)),
        *(history | {"candidates": ids} for ids in ([], [other], "all", 2**70)),
        *(history | {"profile": profile} for profile in (["F"], {"sex": ["F"]}, {"sex": {}})),
    ]
    texts = ["", "{", "history=1", '{"history": ' + "[" * 100_000, '{"history": [' + "1" * 5000 + "]}", " " * 2**21]
    raw = [json.dumps(body).encode() for body in bodies] + [text.encode() for text in texts] + [b"\xff\xfe\xfd"]
    return [
        *(("/recommend", body) for body in raw),
        *(("/similar", json.dumps(body).encode()) for body in ({}, {"item_id": 10**400}, {"item_id": [1]})),
        *(("/explain", json.dumps(body).encode()) for body in ({}, {"user": history}, {"user": {}, "item_id": 1})),
    ]


def send_malformed(url: str, vocabulary: dict, number: int, seed: int) -> dict:
    moments, kinds, counts, others = random.Random(seed), malformed_requests(vocabulary), Counter(), set()
    # A connection each: an error of the server closes it, which must not be counted for the next request.
    limits = httpx.Limits(max_keepalive_connections=0)
    with httpx.Client(base_url=url, timeout=30, limits=limits) as client:
        for _ in range(number):
            path, body = moments.choice(kinds)
            try:
                status = client.post(path, content=body, headers=JSON).status_code
            except httpx.HTTPError as error:
                status = type(error).__name__
            counts[status] += 1
            if status not in (400, 413, 422):
                others.add(f"{status}: {path} {body[:80]!r}")
    refused = {f"malformed requests: {status}": counts[status] for status in (422, 413, 400)}
    return refused | {"malformed requests: anything else": number - sum(refused.values()), "these": sorted(others)}


def measure(args: LoadArguments, work_dir: Path) -> dict:
    folder, log = work_dir / "model", work_dir / "log.txt"
    folder.mkdir()
    copy_checkpoint(args.model_dir, folder)
    wishes, requests = [], []
    for name, model_dir in ((OLD, args.model_dir), (NEW, args.other_model_dir)):
        model, processor = load_checkpoint(model_dir)
        pipeline = ItemRecommendationPipeline(model=model, processor=processor)
        if not wishes:
            wishes = make_requests(processor.vocabulary["item_ids"], args.pool, args.seed)
            requests = [{"k": wish["k"], "body": json.dumps(wish).encode()} for wish in wishes]
        for wish, request in zip(wishes, requests):
            request[name] = rank_all(pipeline, wish)
    server, url = start_server(folder, log)
    try:
        figures = load(args, requests, folder, server, url)
        figures |= send_malformed(url, processor.vocabulary, args.malformed, args.seed)
        figures["memory after them, MB"] = memory_of(server.pid)
        figures["a good request is answered"] = False
        if server.poll() is None:
            answer = httpx.post(f"{url}/recommend", content=requests[0]["body"], headers=JSON).json()
            figures["a good request is answered"] = is_right(answer, requests[0]["k"], requests[0][NEW])
        else:
            figures["the server ended with"] = server.returncode
    finally:
        server.terminate()
        server.wait()
    return figures


def main():
    (args,) = parse_arguments(LoadArguments, description=__doc__)
    with tempfile.TemporaryDirectory() as work_dir:
        figures = measure(args, Path(work_dir))
    print(f"| {args.clients} clients, {args.seconds:g} s | |\n|---|---:|")
    for name, value in figures.items():
        print(f"| {name} | {value} |")
    if args.output_file:
        Path(args.output_file).write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    run(main)
