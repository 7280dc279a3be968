# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""What the example scripts share: arguments from the command line, a file or a checkpoint, and how they fail."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence

import yaml
from huggingface_hub.errors import StrictDataclassError
from transformers import HfArgumentParser

from ..errors import DataError, one_line
from ..hub.load import find_checkpoint, load_config, load_processor, merge_processors
from ..model.configuration_bert4rec import Bert4RecConfig


def parse_arguments(
    *dataclass_types,
    description: str | None = None,
    checkpoint: str | None = None,
    sizes: dict[str, str] | None = None,
    presets: dict[str, dict] | None = None,
    args: Sequence[str] | None = None,
    merge: bool = False,
    rest: bool = False,
) -> tuple:
    """
    The command line as dataclasses, one of each type. A YAML or JSON file as the first argument gives defaults, and so
    does the checkpoint of a flag; flags overrule both.

    Args:
        checkpoint (`str`, *optional*):
            Name of the flag for a checkpoint: how it read its data and its split are defaults.
        sizes (`dict[str, str]`, *optional*):
            Flags for which the checkpoint's config has defaults, and their names there.
        presets (`dict[str, dict]`, *optional*):
            Defaults by the name that the flag `--preset` gives; a file overrules them too.
        args (`Sequence[str]`, *optional*):
            Instead of the command line.
        merge (`bool`, *optional*, defaults to `False`):
            Where the flag has several checkpoints, they are members of one ensemble; otherwise the first counts.
        rest (`bool`, *optional*, defaults to `False`):
            Return what is not known, a file too, as a list behind the dataclasses, instead of refusing it.

    Raises:
        `DataError`: for a file that cannot be used, or a name in it that is no flag.
    """
    parser = HfArgumentParser(
        dataclass_types,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # the first pass below would not know that --model_di is --model_dir
    )
    args = list(sys.argv[1:] if args is None else args)
    if args and args[0].endswith((".yaml", ".yml", ".json")) and not rest:
        values = _read_values(args.pop(0))
        for name in values:
            if f"--{name}" not in parser._option_string_actions:
                raise DataError(f"{name!r} is no argument of this script; see --help.")
        args = as_flags(values) + args
    if presets:
        first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        first.add_argument("--preset")
        preset = first.parse_known_args(args)[0].preset
        args = as_flags(presets.get(preset, {})) + args  # the parser refuses a name it does not know
    if checkpoint is not None:
        first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        for name in (checkpoint, "revision"):
            first.add_argument(f"--{name}", f"--{name.replace('_', '-')}", dest=name, nargs="+")
        given = vars(first.parse_known_args(args)[0])
        if given[checkpoint] is not None:
            names = given[checkpoint] if merge else given[checkpoint][:1]
            folders = {name: find_checkpoint(name, (given["revision"] or [None])[0]) for name in names}
            processor = merge_processors({name: load_processor(folder) for name, folder in folders.items()})
            values = {**(processor.data or {}), **(processor.split or {})}
            if sizes:
                config = load_config(*folders.values())
                if not isinstance(config, Bert4RecConfig):
                    raise DataError(f"{names[0]} is an ensemble; go on from one of its members.")
                values |= {flag: getattr(config, name) for flag, name in sizes.items()}
            known = {name: value for name, value in values.items() if f"--{name}" in parser._option_string_actions}
            args = as_flags(known) + args
    return parser.parse_args_into_dataclasses(args, return_remaining_strings=rest)


def as_flags(values: dict) -> list[str]:
    """Names and values as flags. Before others they are checked alike, and overruled."""
    flags = []
    for name, value in values.items():
        if isinstance(value, list):
            flags += [f"--{name}", *(map(str, value) if value else ["none"])]
        elif value is not None:
            flags.append(f"--{name}={value}")
    return flags


def read_settings(file: str):
    """
    What a YAML or JSON file holds.

    Raises:
        `DataError`: if it cannot be read.
    """
    try:
        with open(file, encoding="utf-8") as stream:
            return json.load(stream) if file.endswith(".json") else yaml.safe_load(stream)
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}.") from None
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise DataError(f"{file}: {' '.join(str(error).split())}") from None


def _read_values(file: str) -> dict:
    values = read_settings(file)
    if not isinstance(values, dict) or any(
        isinstance(part, (dict, list))
        for value in values.values()
        for part in (value if isinstance(value, list) else [value])
    ):
        raise DataError(f"{file}: it must hold names and values or lists of values, as in 'epochs: 10'.")
    return values


def run(main: Callable[[], None]):
    """Runs a script's `main`; bad input is one line on stderr and exit code 2."""
    try:
        main()
    except (DataError, StrictDataclassError) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("\ninterrupted; a training goes on from its last checkpoint with --resume.", file=sys.stderr)
        sys.exit(130)
