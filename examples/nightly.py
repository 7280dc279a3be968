# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Trains the live model of a Hub repository further and pushes it if it is not worse, as `bert4rec-hf nightly`."""

from bert4rec_hf.cli import nightly
from bert4rec_hf.cli.arguments import run


if __name__ == "__main__":
    run(nightly.main)
