# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""
Time and memory of training, ranking, reading and answering, beside other systems in the same run.

    python examples/benchmarks/speed.py --data_dir ./ml-1m --peers replay=./venv-replay/bin/python

A peer is one of those of peers.py and the Python of its virtual environment; plain transformers runs in ours. Every
measurement is a process of its own, and its peak memory is the operating system's figure; nothing else may run
meanwhile. `--rows` picks some of the measurements; their docstrings say what each does.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path


# Nothing heavy is imported here: a child process begins with the peak memory of its parent.
HERE = Path(__file__).parent
SIZES = ["--max_length", "200", "--hidden_size", "64", "--num_head", "2", "--num_layers", "2"]
BERT = {"position_embedding_type": "absolute", "norm_first": False, "head_transform": True}  # as the others are


def run_child(*command) -> tuple[str, int]:
    """What a process prints, and its peak memory in MB."""
    child = subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    out = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"error: {' '.join(map(str, command))} failed; run it alone to see why.")
    return out, round(usage.ru_maxrss / 1024)


def timed(function, repeats: int = 3) -> float:
    """Seconds of the fastest of a few calls, after one that does not count."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def gemm_peak() -> float:
    """Multiply-adds of matrices too large for overheads to count, in GFLOP a second."""
    import torch

    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    return 2 * 2048**3 / timed(lambda: a @ b, repeats=10) / 1e9


def encoded(data_dir: str):
    """The training rows of a log without features, their processor and their lengths, at most 200."""
    import numpy as np

    from bert4rec_hf import DataArguments, Split, encode_training, fit_processor, read_interactions
    from bert4rec_hf.data.encoding import history_lengths

    interactions = read_interactions(DataArguments(data_dir=data_dir, item_features=[], user_features=[]))
    processor = fit_processor(interactions, Split("leave_one_out"))
    dataset = encode_training(interactions, processor, Split("leave_one_out"))
    return interactions, processor, dataset, np.minimum(history_lengths(dataset), 200)


def make_model(processor, hidden_size: int, num_layers: int, num_heads: int, **kwargs):
    from bert4rec_hf import Bert4RecConfig, Bert4RecForMaskedLM

    sizes = {"hidden_size": hidden_size, "num_hidden_layers": num_layers, "num_attention_heads": num_heads}
    sizes |= {"intermediate_size": 4 * hidden_size, "max_position_embeddings": 200, **BERT}
    return Bert4RecForMaskedLM(Bert4RecConfig(**processor.config_kwargs(), **(sizes | kwargs)))


def measure_share(args) -> dict:
    """
    What of the machine's matrix multiplication a training step uses, at three sizes: 2 x the multiply-adds of encoder,
    attention and projection of the labels, forward and backward, of real tokens alone, by time and GEMM peak. "needed"
    counts what is left when the last layer computes the labelled positions only, as it does.
    """
    import torch

    from bert4rec_hf import DataCollatorForItemMasking
    from bert4rec_hf.training.sampler import SimilarLengthSampler

    _, processor, dataset, lengths = encoded(args.data_dir)
    collator = DataCollatorForItemMasking(processor, max_length=200, mlm_probability=0.2, last_item_probability=0)
    shares = {}
    for hidden, layers, heads, batch_size, steps in ((64, 2, 2, 128, 24), (256, 2, 4, 128, 8), (768, 12, 12, 32, 2)):
        model = make_model(processor, hidden, layers, heads).train()
        optimizer = torch.optim.AdamW(model.parameters())
        order = list(SimilarLengthSampler(lengths, batch_size))[: batch_size * (steps + 1)]
        batches = [
            collator([dataset[row] for row in order[n : n + batch_size]]) for n in range(0, len(order), batch_size)
        ]
        nominal = needed = seconds = 0.0
        for step, batch in enumerate(batches):
            peak = gemm_peak()
            start = time.perf_counter()
            model(**batch).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step:  # the first warms up
                seconds += (time.perf_counter() - start) * peak
                items, labels = batch["attention_mask"].sum(1).double(), (batch["labels"] != -100).sum(1).double()
                layer = (12 * items * hidden**2 + 2 * items**2 * hidden).sum()
                last = (2 * items * hidden**2 + 10 * labels * hidden**2 + 2 * items * labels * hidden).sum()
                head = labels.sum() * (hidden**2 + processor.vocab_size * hidden)
                nominal += 6e-9 * (layers * layer + head).item()
                needed += 6e-9 * ((layers - 1) * layer + last + head).item()
        shares[f"hidden {hidden}"] = {"nominal": round(nominal / seconds, 3), "needed": round(needed / seconds, 3)}
    return shares


def measure_rank(args) -> dict:
    """The ten best items that each user has not seen, among all; random weights, which changes no time."""
    from bert4rec_hf import Split, encode_evaluation
    from bert4rec_hf.evaluation.evaluator import recommend_all

    interactions, processor, _, _ = encoded(args.data_dir)
    dataset = encode_evaluation(interactions, processor, Split("leave_one_out"))
    model = make_model(processor, 64, 2, 2).eval()
    return {"rank_s": round(timed(lambda: recommend_all(model.recommend, dataset, processor, 10, True)), 2)}


def measure_read(args) -> dict:
    """A log of made-up rows, users and items in random order, to encoded sequences."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    from bert4rec_hf import DataArguments, Split, encode_training, fit_processor, read_interactions

    rows, kind = int(args.detail.split("-")[0]), args.detail.split("-")[1]
    file = f"log.{kind}"
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        columns = {"profile_id": rng.integers(0, rows // 100, rows), "album_id": rng.zipf(1.3, rows) % 20_000}
        table = pa.table({**columns, "log_time": 1_600_000_000 + rng.integers(0, 10**7, rows)})
        write = pa.csv.write_csv if kind == "csv" else pa.parquet.write_table
        write(table, f"{folder}/{file}")
        del table, columns
        none = {"meta_data_file": "none", "meta_data_plus_file": "none", "profile_data_file": "none"}
        data = DataArguments(folder, file, item_features=[], user_features=[], **none)
        start = time.perf_counter()
        interactions = read_interactions(data)
        split = Split("leave_one_out")
        encode_training(interactions, fit_processor(interactions, split), split)
        return {"read_s": round(time.perf_counter() - start, 2)}


def measure_large(args) -> dict:
    """
    A training step of 128 users x 200 items of a catalogue of `detail` items, hidden 128, two layers, with a sampled
    softmax of 256 negatives or the exact one.
    """
    import torch

    from bert4rec_hf import Bert4RecProcessor, DataCollatorForItemMasking

    num_items, loss = int(args.detail.split("-")[0]), args.detail.split("-")[1]
    processor = Bert4RecProcessor({"item_ids": list(range(num_items))})
    model = make_model(processor, 128, 2, 4, loss=loss).train()
    optimizer = torch.optim.AdamW(model.parameters())
    collator = DataCollatorForItemMasking(processor, max_length=200)
    rows = torch.randint(3, processor.vocab_size, (128, 200)).tolist()
    batch = collator([{"input_ids": row} for row in rows])
    times = {"forward_backward_s": [], "optimizer_s": []}
    for _ in range(2 if loss == "cross_entropy" else 5):
        start = time.perf_counter()
        model(**batch).loss.backward()
        middle = time.perf_counter()
        optimizer.step()
        optimizer.zero_grad()
        times["forward_backward_s"].append(middle - start)
        times["optimizer_s"].append(time.perf_counter() - middle)
    return {name: round(min(values[1:]), 2) for name, values in times.items()}


def measure_vectors(args) -> dict:
    """
    With vectors of 384 numbers over without them, at 100,000 items, hidden 128, two layers: a training step of 128
    users x 200 items with the loss `detail`, and a request of one user. They take turns, as the machine drifts.
    """
    import statistics

    import numpy as np
    import torch

    from bert4rec_hf import Bert4RecProcessor, DataCollatorForItemMasking

    plain, vectors = (Bert4RecProcessor({"item_ids": list(range(100_000))}) for _ in range(2))
    vectors.set_vectors({"text": np.random.default_rng(0).normal(size=(100_000, 384))})
    models = [make_model(processor, 128, 2, 4, loss=args.detail) for processor in (plain, vectors)]
    models[1].set_vector_features(vectors.vector_features())
    optimizers = [torch.optim.AdamW(model.parameters()) for model in models]
    rows = torch.randint(3, plain.vocab_size, (128, 200)).tolist()
    batch = DataCollatorForItemMasking(plain, max_length=200)([{"input_ids": row} for row in rows])
    steps, requests = ([], []), ([], [])
    for _ in range(5 if args.detail == "cross_entropy" else 12):
        for model, optimizer, times in zip(models, optimizers, steps):
            start = time.perf_counter()
            model.train()(**batch).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            times.append(time.perf_counter() - start)
    history = torch.randint(3, plain.vocab_size, (1, 200))
    for _ in range(200):
        for model, times in zip(models, requests):
            start = time.perf_counter()
            model.eval() if model.training else None
            model.recommend(history, k=10)
            times.append(time.perf_counter() - start)
    figures = {}
    for name, (without, with_vectors) in (("step", steps), ("request", requests)):
        before, after = statistics.median(without[2:]), statistics.median(with_vectors[2:])
        figures |= {f"{name}_ms": round(1000 * after, 1), f"{name}, times that without": round(after / before, 2)}
    return figures


def measure_million(args) -> dict:
    """Loads a model of 1,000,000 items with vectors of 384 numbers, hidden 128, and recommends: see the peak."""
    import torch

    from bert4rec_hf import Bert4RecForMaskedLM

    model = Bert4RecForMaskedLM.from_pretrained(args.detail).eval()
    start = time.perf_counter()
    model.recommend(torch.randint(3, 10**6, (1, 200)), k=10)
    first = time.perf_counter() - start
    request = timed(lambda: model.recommend(torch.randint(3, 10**6, (1, 200)), k=10))
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 2**20
    return {"first_s": round(first, 2), "request_s": round(request, 3), "resident_mb": resident}


def million_items(folder: str):
    """Saves a model for `measure_million`, in a process of its own."""
    import torch

    from bert4rec_hf import Bert4RecConfig, Bert4RecForMaskedLM

    model = Bert4RecForMaskedLM(Bert4RecConfig(vocab_size=10**6, vector_features=[{"name": "text", "size": 384}]))
    model.get_input_embeddings().vectors[3:] = torch.randn(10**6 - 3, 384) / 384**0.5
    model.save_pretrained(folder)


def measure_top_k(args) -> dict:
    """Top 10 of 1,000,000 items, hidden 128, of 256 users at once, beside a bare product into memory that is there."""
    import torch

    from bert4rec_hf.model.ranking_bert4rec import Projection, stream_top_k

    weight, bias, states = torch.randn(10**6, 128), torch.zeros(10**6), torch.randn(256, 128)
    seen = torch.randint(3, 10**6, (256, 200))
    out = torch.empty(256, 10**6)
    matmul = timed(lambda: torch.mm(states, weight.T, out=out))
    streamed = timed(lambda: stream_top_k(Projection(states, weight, bias, (0, 1, 2)), 10, seen))
    return {"matmul_s": round(matmul, 3), "log-probabilities": f"{matmul / streamed:.0%}"}


def measure_latency(args) -> dict:
    """Median milliseconds from the raw ids of one user's full history to those of ten items, seen ones left out."""
    import statistics

    from bert4rec_hf import Bert4RecProcessor

    medians = {}
    for num_items, hidden, length, heads in ((3704, 64, 200, 2), (20_695, 256, 128, 4)):
        processor = Bert4RecProcessor({"item_ids": list(range(num_items))})
        model = make_model(processor, hidden, 2, heads, max_position_embeddings=length).eval()
        history, times = list(range(100, 100 + length)), []
        for _ in range(300):
            start = time.perf_counter()
            processor.decode(model.recommend(**processor([history]), k=10, exclude_seen=True).item_ids)
            times.append(time.perf_counter() - start)
        medians[f"{num_items} items, hidden {hidden}"] = round(1000 * statistics.median(times[50:]), 2)
    return medians


def measure_memory(args) -> dict:
    """Peak memory in MB of train.py after one epoch and after five: batches of ever new lengths must not add up."""
    return {f"{epochs} epochs": train_once(args, epochs)["peak_mb"] for epochs in (1, 5)}


def measure_import(args) -> dict:
    """Milliseconds that the pipelines of transformers take to import, and the package after them: medians of nine."""
    import statistics

    code = """
import time
start = time.perf_counter()
import transformers.pipelines
between = time.perf_counter()
import bert4rec_hf
print(between - start, time.perf_counter() - between)
"""
    times = [map(float, run_child(sys.executable, "-c", code)[0].split()) for _ in range(9)]
    before, after = (round(1000 * statistics.median(values)) for values in zip(*times))
    return {"transformers.pipelines_ms": before, "bert4rec_hf_ms": after}


def measure_peak(args) -> dict:
    """The machine's speed, to compare runs by."""
    return {"gemm_gflops": round(gemm_peak())}


MEASURES = {name.removeprefix("measure_"): function for name, function in globals().items() if name[:8] == "measure_"}
DETAILS = {
    "read": ["1000000-parquet", "1000000-csv", "10000000-parquet", "10000000-csv"],
    "vectors": ["sampled_softmax", "cross_entropy"],
    "large": ["100000-sampled_softmax", "1000000-sampled_softmax", "1000000-cross_entropy"],
}


def train_once(args, epochs: int = 1) -> dict:
    """Passes over the log by train.py, hidden dropout 0.1: what its Trainer took, saving included."""
    with tempfile.TemporaryDirectory() as folder:
        flags = ["--data_dir", args.data_dir, "--save_dir", f"{folder}/run", "--epochs", epochs]
        flags += ["--train_batch_size", 128, "--mlm_probability", 0.2, *SIZES]
        flags += [word for name, value in BERT.items() for word in (f"--{name}", value)]
        flags += ["--item_features", "none", "--user_features", "none", "--exclude_seen", "--k", 10]
        out, peak_mb = run_child(sys.executable, HERE.parent / "train.py", *flags)
    return {"train_s": float(re.search(r"'train_runtime': '([\d.]+)'", out)[1]), "peak_mb": peak_mb}


def measured(row: str, args, detail: str = "") -> dict:
    """The figures of one of `MEASURES`, in a process of its own."""
    command = [sys.executable, __file__, "--data_dir", args.data_dir, "--measure", row, "--detail", detail]
    out, peak_mb = run_child(*command)
    return {**json.loads(out.splitlines()[-1]), f"{row}_peak_mb": peak_mb}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", required=True, help="MovieLens-1M as the tables that train.py reads")
    parser.add_argument("--peers", nargs="*", default=[], metavar="NAME=PYTHON", help="peers and their Python")
    parser.add_argument("--rows", nargs="*", default=["train", *MEASURES], choices=["train", *MEASURES])
    parser.add_argument("--output_file", help="JSON file for the figures")
    parser.add_argument("--measure", choices=MEASURES, help=argparse.SUPPRESS)
    parser.add_argument("--detail", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(MEASURES[args.measure](args)))
        return
    results = {}

    def note(name: str, figures: dict):
        results[name] = figures
        print(f"| {name} | {', '.join(f'{what} {value}' for what, value in figures.items())} |", flush=True)

    print("| what | figures |\n|---|---|")
    for row in args.rows:
        if row == "train":
            # A peer between two of our runs, whose mean it is compared with: the machine drifts.
            before = {**train_once(args), **measured("rank", args)}
            note("train and rank: bert4rec_hf", before)
            for peer in ["transformers=" + sys.executable, *args.peers]:
                name, _, python = peer.partition("=")
                out, _ = run_child(python, HERE / "peers.py", name, "--data_dir", args.data_dir)
                theirs = json.loads(out.splitlines()[-1])
                after = {**train_once(args), **measured("rank", args)}
                for figure in ("train_s", "rank_s"):
                    if theirs[figure]:
                        times = 2 * theirs[figure] / (before[figure] + after[figure])
                        theirs[f"{figure}, times ours"] = round(times, 1)
                note(f"train and rank: {name}", theirs)
                note(f"train and rank: bert4rec_hf after {name}", after)
                before = after
            continue
        if row == "million":
            with tempfile.TemporaryDirectory() as folder:
                code = f"import sys; sys.path[0] = {str(HERE)!r}; import speed; speed.million_items({folder!r})"
                run_child(sys.executable, "-c", code)
                note(row, measured(row, args, folder))
            continue
        for detail in DETAILS.get(row, [""]):
            note(f"{row} {detail}".strip(), measured(row, args, detail))
    if args.output_file:
        Path(args.output_file).write_text(json.dumps(results, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
