# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""
The whole workflow in under a minute: generates data of a children's video service, trains a recommender on March,
tests it on April, saves it, loads it and recommends to two children.

    bert4rec-hf quickstart

All output is written to the folder quickstart.
"""

import math
import sys

from transformers import pipeline

from ..data.interactions import DataArguments, read_interactions
from ..data.sample_data import write_sample_data
from ..errors import DataError
from . import train


DATA_DIR, MODEL_DIR = "quickstart/data", "quickstart/model"


def main():
    """The command."""
    if {"-h", "--help"} & {*sys.argv}:
        return print(__doc__.strip())
    if sys.argv[1:]:
        raise DataError("quickstart takes no arguments; see --help.")

    # 1. Viewing logs, a table of albums and a table of profiles
    print(f"1. Generating data of a children's video service in {DATA_DIR}", flush=True)
    write_sample_data(DATA_DIR)

    # 2. Train on the events before April and evaluate on all of April: half of the training rows have the last 1 to 10
    # items as targets (a finished run is only evaluated again)
    flags = ["--data_dir", DATA_DIR, "--save_dir", MODEL_DIR, "--split", "temporal", "--cutoff", "2022-04-01"]
    flags += ["--hidden_size", "64", "--num_head", "2", "--max_length", "64", "--mlm_probability", "0.3"]
    flags += ["--last_item_probability", "0.5", "--last_items", "10", "--epochs", "25", "--k", "10", "25", "--resume"]
    print(f"\n2. bert4rec-hf train {' '.join(flags)}", flush=True)
    train.main(flags)

    # 3. Load the checkpoint and recommend items to two children
    print(f"\n3. Loading {MODEL_DIR} and recommending", flush=True)
    interactions = read_interactions(DataArguments(data_dir=DATA_DIR))
    children = []
    for user in (0, 2):
        history = interactions.item[interactions.user == user][-5:]
        profile = {name: values[user].as_py() for name, values in interactions.user_features.items()}
        children.append({"history": interactions.item_ids.take(history).to_pylist(), "profile": profile})
    recommend = pipeline("item-recommendation", model=MODEL_DIR)
    for child, items in zip(children, recommend(children, k=5)):
        print(f"\nA child ({', '.join(f'{name} {value}' for name, value in child['profile'].items())}) watched")
        for title in recommend.processor.titles(recommend.processor.encode_items(child["history"])):
            print(f"        {title or 'an album without a title'}")
        print("and may watch next")
        for item in items:
            print(f"  {math.exp(item['score']):5.1%}  {item['title']}")
