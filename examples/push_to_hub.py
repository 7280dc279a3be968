# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Pushes a checkpoint, or the ranking metric, to the Hub, as `bert4rec-hf push`."""

from bert4rec_hf.cli import push
from bert4rec_hf.cli.arguments import run


if __name__ == "__main__":
    run(push.main)
