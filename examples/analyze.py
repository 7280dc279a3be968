# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Prints statistics of a log, before training on it, as `bert4rec-hf analyze`."""

from bert4rec_hf.cli import analyze
from bert4rec_hf.cli.arguments import run


if __name__ == "__main__":
    run(analyze.main)
