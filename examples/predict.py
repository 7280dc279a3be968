# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Writes the items recommended to each user, as `bert4rec-hf predict`."""

from bert4rec_hf.cli import predict
from bert4rec_hf.cli.arguments import run


if __name__ == "__main__":
    run(predict.main)
