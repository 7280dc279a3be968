# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Serves a page on which people try a model, as `bert4rec-hf demo`."""

from bert4rec_hf.cli import demo
from bert4rec_hf.cli.arguments import run


if __name__ == "__main__":
    run(demo.main)
