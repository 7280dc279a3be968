# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""What the example scripts share: arguments from the command line, a file or a checkpoint, and how they fail."""

import argparse
import json
import os
import sys
from collections.abc import Callable

import yaml
from huggingface_hub.errors import StrictDataclassError
from transformers import HfArgumentParser

from .tables import DataError
from .trainer import load_processor


def parse_arguments(*dataclass_types, description: str | None = None, from_checkpoint: bool = False) -> tuple:
    """
    The command line as dataclasses, one of each type. A YAML or JSON file as the first argument gives defaults, and so
    does, with `from_checkpoint`, how the checkpoint in `--model_dir` was made; flags overrule both.

    Raises:
        `DataError`: for a file that cannot be used, or a name in it that is no flag.
    """
    parser = HfArgumentParser(
        dataclass_types, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    args = sys.argv[1:]
    if args and args[0].endswith((".yaml", ".yml", ".json")):
        values = _read_values(args.pop(0))
        for name in values:
            if f"--{name}" not in parser._option_string_actions:
                raise DataError(f"{name!r} is no argument of this script; see --help.")
        args = _as_flags(values) + args
    if from_checkpoint:
        first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        first.add_argument("--model_dir", "--model-dir")
        model_dir = first.parse_known_args(args)[0].model_dir
        if model_dir is not None:
            processor = load_processor(model_dir)
            values = {**(processor.data or {}), **(processor.split or {})}
            known = {name: value for name, value in values.items() if f"--{name}" in parser._option_string_actions}
            args = _as_flags(known) + args
    return parser.parse_args_into_dataclasses(args)


def _as_flags(values: dict) -> list[str]:
    """Names and values as flags before the others, so that they are checked alike and overruled."""
    flags = []
    for name, value in values.items():
        if isinstance(value, list):
            flags += [f"--{name}", *(map(str, value) if value else ["none"])]
        elif value is not None:
            flags.append(f"--{name}={value}")
    return flags


def _read_values(file: str) -> dict:
    try:
        with open(file, encoding="utf-8") as stream:
            values = json.load(stream) if file.endswith(".json") else yaml.safe_load(stream)
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}.") from None
    except (ValueError, yaml.YAMLError) as error:
        raise DataError(f"{file}: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise DataError(f"{file}: it must hold names and values, as in 'epochs: 10'.")
    return values


def check_output_file(path: str | None):
    """
    Checks that a file can be written before any work is done for it.

    Raises:
        `DataError`: if its folder does not exist, or it is a folder itself.
    """
    if path is not None and (os.path.isdir(path) or not os.path.isdir(os.path.dirname(path) or ".")):
        raise DataError(f"{path} cannot be written: its folder does not exist, or it is a folder itself.")


def run(main: Callable[[], None]):
    """Runs a script's `main`; bad input is one line on stderr and exit code 2."""
    try:
        main()
    except (DataError, StrictDataclassError) as error:
        # A StrictDataclassError names its validator in a first line that says nothing to the person.
        message = str(error).strip().splitlines()[-1].strip().removeprefix("ValueError: ")
        print(f"error: {message}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("\ninterrupted; train.py goes on from its last checkpoint with --resume.", file=sys.stderr)
        sys.exit(130)
