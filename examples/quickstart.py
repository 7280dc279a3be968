# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""
The whole workflow in under a minute: generates data of a children's video service, trains a recommender on March,
tests it on April, saves it, loads it in a new process and recommends to two children.

    python examples/quickstart.py

All output is written to the folder quickstart.
"""

import json
import math
import subprocess
import sys
from pathlib import Path


DATA_DIR, MODEL_DIR = "quickstart/data", "quickstart/model"


def main():
    from bert4rec_hf import DataArguments, read_interactions, write_sample_data

    # 1. Viewing logs, a table of albums and a table of profiles
    print(f"1. Generating data of a children's video service in {DATA_DIR}", flush=True)
    write_sample_data(DATA_DIR)

    # 2. Train on the events before April and evaluate on all of April: half of the training rows have the last 1 to 10
    # items as targets (a finished run is only evaluated again)
    train(
        *("--data_dir", DATA_DIR, "--save_dir", MODEL_DIR, "--split", "temporal", "--cutoff", "2022-04-01"),
        *("--hidden_size", "64", "--num_head", "2", "--max_length", "64", "--mlm_probability", "0.3"),
        *("--last_item_probability", "0.5", "--last_items", "10", "--epochs", "25", "--k", "10", "25", "--resume"),
    )

    # 3. Load the checkpoint in a new process and recommend items to two children
    print("\n3. Recommending in a new process", flush=True)
    interactions = read_interactions(DataArguments(data_dir=DATA_DIR))
    children = []
    for user in (0, 2):
        history = interactions.item[interactions.user == user][-5:]
        profile = {name: values[user].as_py() for name, values in interactions.user_features.items()}
        children.append({"history": interactions.item_ids.take(history).to_pylist(), "profile": profile})
    subprocess.run([sys.executable, __file__, "recommend", json.dumps(children)], check=True)


def train(*arguments: str):
    script = Path(__file__).with_name("train.py")
    print(f"\n2. python examples/train.py {' '.join(arguments)}", flush=True)
    code = subprocess.run([sys.executable, str(script), *arguments]).returncode
    if code:
        sys.exit(code)


def recommend(children: list[dict]):
    from transformers import pipeline

    import bert4rec_hf  # noqa: F401 (registers the model with transformers)

    pipe = pipeline("item-recommendation", model=MODEL_DIR)
    for child, items in zip(children, pipe(children, k=5)):
        print(f"\nA child ({', '.join(f'{name} {value}' for name, value in child['profile'].items())}) watched")
        for title in pipe.processor.titles(pipe.processor.encode_items(child["history"])):
            print(f"        {title or 'an album without a title'}")
        print("and may watch next")
        for item in items:
            print(f"  {math.exp(item['score']):5.1%}  {item['title']}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["recommend"]:
        recommend(json.loads(sys.argv[2]))
    elif sys.argv[1:] and not {"-h", "--help"} & {*sys.argv}:
        print("error: quickstart.py takes no arguments; see --help.", file=sys.stderr)
        sys.exit(2)
    elif sys.argv[1:]:
        print(__doc__)
    else:
        main()
