# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Trains a BERT4Rec on viewing logs, a table of items and a table of profiles, as `bert4rec-hf train`."""

from bert4rec_hf.cli import train
from bert4rec_hf.cli.arguments import run


if __name__ == "__main__":
    run(train.main)
