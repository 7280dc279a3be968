# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Exports a checkpoint to ONNX or OpenVINO, or its vectors to Parquet, as `bert4rec-hf export`."""

from bert4rec_hf.cli import export
from bert4rec_hf.cli.arguments import run


if __name__ == "__main__":
    run(export.main)
