# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Ranks the whole catalogue for each user and compares the lists with simple rules, as `bert4rec-hf evaluate`."""

from bert4rec_hf.cli import evaluate
from bert4rec_hf.cli.arguments import run


if __name__ == "__main__":
    run(evaluate.main)
