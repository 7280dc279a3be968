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

from .interactions import DataError
from .processing_bert4rec import Bert4RecProcessor


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
    known = {action.dest: action for action in parser._actions}
    defaults = {}
    if args and args[0].endswith((".yaml", ".yml", ".json")):
        defaults = _read_defaults(args.pop(0))
    for name in defaults:
        if name not in known:
            raise DataError(f"{name!r} is no argument of this script; see --help.")
    if from_checkpoint:
        first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        first.add_argument("--model_dir", default=defaults.get("model_dir"))
        model_dir = first.parse_known_args(args)[0].model_dir
        if model_dir is not None:
            defaults = {**_checkpoint_defaults(model_dir), **defaults}
    for name, value in defaults.items():
        if name in known:  # predict.py has no use for a checkpoint's split
            known[name].required = False
            parser.set_defaults(**{name: value})
    return parser.parse_args_into_dataclasses(args)


def _read_defaults(file: str) -> dict:
    try:
        with open(file, encoding="utf-8") as stream:
            defaults = json.load(stream) if file.endswith(".json") else yaml.safe_load(stream)
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}.") from None
    except (ValueError, yaml.YAMLError) as error:
        raise DataError(f"{file}: {' '.join(str(error).split())}") from None
    if not isinstance(defaults, dict):
        raise DataError(f"{file}: it must hold names and values, as in 'epochs: 10'.")
    return defaults


def _checkpoint_defaults(model_dir: str) -> dict:
    if os.path.exists(model_dir) and not os.path.exists(os.path.join(model_dir, "processor_config.json")):
        raise DataError(f"{model_dir} holds no checkpoint: no processor_config.json.")
    try:
        processor = Bert4RecProcessor.from_pretrained(model_dir)
    except OSError as error:
        raise DataError(f"{model_dir}: {str(error).splitlines()[0]}") from None
    return {**(processor.data or {}), **(processor.split or {})}


def run(main: Callable[[], None]):
    """Runs a script's `main`; bad input is one line on stderr and exit code 2."""
    try:
        main()
    except (DataError, StrictDataclassError) as error:
        # A StrictDataclassError names its validator in a first line that says nothing to the person.
        sys.exit(_fail(str(error).strip().splitlines()[-1].strip().removeprefix("ValueError: ")))
    except KeyboardInterrupt:
        print("interrupted; train.py goes on from its last checkpoint with --resume.", file=sys.stderr)
        sys.exit(130)


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2
