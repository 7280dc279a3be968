# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""
How long one user's ten items take, from raw ids to raw ids with the seen ones left out, on one thread: the pipeline
in torch, the exported model under ONNX Runtime, its int8 version and OpenVINO, beside RePlay's model in torch and
compiled by OpenVINO, of the same sizes. Weights are random, which changes no time. Milliseconds; ours and RePlay's
take turns, and the quietest of three rounds counts. Where a CPU has bfloat16, OpenVINO uses it in RePlay's model.

    python examples/benchmarks/latency.py --replay_python ../replay/bin/python

RePlay's environment: torch==2.13.0 (the CPU build), then "replay-rec[torch]==0.22.0" openvino onnx onnxscript.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch


# Items, hidden size, heads and length, as MovieLens-1M and a service of 20,695 items have them; always two layers.
SIZES = [(3_704, 64, 2, 200), (20_695, 256, 4, 128)]
# What a layer is like, as RePlay's
BERT = {"position_embedding_type": "absolute", "norm_first": False, "head_transform": True}
NUM_REQUESTS = 1000
K = 10


def milliseconds(recommend: Callable[[list[int]], list], length: int, num_items: int) -> dict:
    """The median and the 99th percentile of requests with histories of `length`, each another one."""
    generator = np.random.default_rng(0)
    histories = [generator.integers(num_items, size=length).tolist() for _ in range(NUM_REQUESTS + 50)]
    times = []
    for history in histories:
        start = time.perf_counter()
        items = recommend(history)
        times.append(1000 * (time.perf_counter() - start))
        assert len(items) == K and not {*items} & {*history}
    median, p99 = np.percentile(times[50:], [50, 99])
    return {"median_ms": round(median, 3), "p99_ms": round(p99, 3)}


def measure_ours(folder: str, lengths: list[int], num_items: int, hidden: int, heads: int, max_length: int) -> dict:
    from bert4rec_hf import (
        Bert4RecConfig,
        Bert4RecForMaskedLM,
        Bert4RecProcessor,
        ItemRecommendationPipeline,
        export_model,
    )
    from bert4rec_hf.serving.export import METRIC
    from bert4rec_hf.serving.recommend import Recommender

    processor = Bert4RecProcessor({"item_ids": list(range(num_items))})
    sizes = {"hidden_size": hidden, "num_hidden_layers": 2, "num_attention_heads": heads}
    sizes |= {"intermediate_size": 4 * hidden, "max_position_embeddings": max_length, **BERT}
    model = Bert4RecForMaskedLM(Bert4RecConfig(**processor.config_kwargs(), **sizes)).eval()
    pipe = ItemRecommendationPipeline(model=model, processor=processor)
    if not Path(folder, "openvino").exists():  # in the first round
        lists = {"k": K, "exclude_seen": True}
        export_model(model, processor, f"{folder}/onnx", **lists, int8_evaluator=lambda model: {METRIC: 0.0})
        export_model(model, processor, f"{folder}/openvino", "openvino", **lists)
    runners = {
        "ONNX": Recommender(f"{folder}/onnx", num_threads=1),
        "ONNX int8": Recommender(f"{folder}/onnx", "model_int8.onnx", num_threads=1),
        "OpenVINO": Recommender(f"{folder}/openvino", num_threads=1),
    }
    calls = {"torch": lambda user: pipe(user, k=K, exclude_seen=True)}
    calls |= {name: lambda user, runner=runner: runner(user, K) for name, runner in runners.items()}

    def items_of(call):
        return lambda history: [item["item_id"] for item in call({"history": history})]

    return {
        f"{name}, history of {length}": milliseconds(items_of(call), length, num_items)
        for length in lengths
        for name, call in calls.items()
    }


def measure_replay(folder: str, lengths: list[int], num_items: int, hidden: int, heads: int, max_length: int) -> dict:
    from replay.data import FeatureHint, FeatureSource, FeatureType
    from replay.data.nn import TensorFeatureInfo, TensorFeatureSource, TensorSchema
    from replay.models.nn.sequential import Bert4Rec
    from replay.models.nn.sequential.compiled import Bert4RecCompiled

    name = "item_sequence"
    feature = TensorFeatureInfo(
        **{"name": name, "feature_type": FeatureType.CATEGORICAL, "is_seq": True, "cardinality": num_items},
        **{"feature_hint": FeatureHint.ITEM_ID, "embedding_dim": hidden},
        feature_sources=[TensorFeatureSource(FeatureSource.INTERACTIONS, "item")],
    )
    sizes = {"block_count": 2, "head_count": heads, "hidden_size": hidden, "max_seq_len": max_length}
    model = Bert4Rec(TensorSchema(feature), **sizes, enable_embedding_tying=True).eval()
    compiled = Bert4RecCompiled.compile(model, mode="one_query", num_threads=1)
    raw_ids = list(range(num_items))  # looked up by dict, which is less than its own label encoder does
    codes = {item: code for code, item in enumerate(raw_ids)}

    @torch.inference_mode()
    def recommend(predict, history):
        ids = torch.tensor([[codes[item] for item in history]])[:, -(max_length - 1) :]
        batch = {"inputs": {name: ids}, "pad_mask": torch.ones_like(ids, dtype=torch.bool)}
        scores = predict(batch)
        scores[:, [codes[item] for item in history]] = -torch.inf
        return [raw_ids[code] for code in scores.topk(K).indices[0].tolist()]

    figures = {}
    for length in lengths:
        for kind, predict in (("compiled", compiled.predict), ("in torch", model.predict)):
            figures[f"RePlay {kind}, history of {length}"] = milliseconds(
                lambda history, predict=predict: recommend(predict, history), length, num_items
            )
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replay_python", help="the Python of RePlay's virtual environment")
    parser.add_argument("--output_file", help="JSON file for the figures")
    parser.add_argument("--measure", choices=["ours", "replay"], help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        torch.set_num_threads(1)
        size = SIZES[args.size]
        figures = globals()[f"measure_{args.measure}"](args.folder, [10, size[-1] - 1], *size)
        print(json.dumps(figures))
        return
    packages = ("torch", "transformers", "onnxruntime", "openvino")
    results = {"versions": {name: version(name) for name in packages}}
    print(" ".join(f"{name} {number}" for name, number in results["versions"].items()))
    print("\n| items, hidden | what | median ms | 99th percentile ms |\n|---|---|---|---|")
    for number, (num_items, hidden, *_) in enumerate(SIZES):
        figures = {}
        with tempfile.TemporaryDirectory() as folder:
            for what, python in 3 * [("ours", sys.executable), ("replay", args.replay_python)]:
                if python:
                    command = [python, __file__, "--measure", what, "--size", str(number), "--folder", folder]
                    measured = json.loads(subprocess.check_output(command, text=True).splitlines()[-1])
                    for name, times in measured.items():
                        figures[name] = min(times, figures.get(name, times), key=lambda times: times["median_ms"])
        results[f"{num_items} items, hidden {hidden}"] = figures
        for name, times in figures.items():
            print(f"| {num_items}, {hidden} | {name} | {times['median_ms']:.2f} | {times['p99_ms']:.2f} |", flush=True)
    if args.output_file:
        Path(args.output_file).write_text(json.dumps(results, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
