# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""The whole workflow in under a minute, on generated data, as `bert4rec-hf quickstart`."""

from bert4rec_hf.cli import quickstart
from bert4rec_hf.cli.arguments import run


if __name__ == "__main__":
    run(quickstart.main)
