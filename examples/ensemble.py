# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Trains several models that vote, evaluates them, or predicts with them, as `bert4rec-hf ensemble`."""

from bert4rec_hf.cli import ensemble
from bert4rec_hf.cli.arguments import run


if __name__ == "__main__":
    run(ensemble.main)
