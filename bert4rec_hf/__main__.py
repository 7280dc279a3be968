# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""The command `bert4rec-hf`, also started by `python -m bert4rec_hf`, as torchrun needs it."""

import importlib
import sys

from .cli.arguments import run
from .errors import DataError


COMMANDS = {
    "quickstart": "generate data of a video service, train, evaluate and recommend: everything in a minute",
    "train": "train a model on viewing logs, a table of items and a table of profiles",
    "evaluate": "rank the whole catalogue for each user and compare the lists with simple rules",
    "predict": "write the items recommended to each user",
    "ensemble": "train several models that vote, evaluate them, or predict with them",
    "analyze": "statistics of a log, before training on it",
    "export": "export a checkpoint to ONNX or OpenVINO, or its vectors to Parquet",
    "demo": "serve a page on which people try a model, or push it as a Space",
    "push": "push a checkpoint, or the ranking metric, to the Hub",
    "nightly": "train the live model of a Hub repository further, test it, and push it if it is not worse",
}
HELP = f"""usage: bert4rec-hf COMMAND [settings.yaml ...] [--flag value ...]

{chr(10).join(f"  {name:12}{text}" for name, text in COMMANDS.items())}

bert4rec-hf COMMAND --help shows the flags of a command."""


def main():
    """Runs the command that the first argument names."""
    run(_main)


def _main():
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help"):
        print(HELP)
    elif name == "--version":
        print(sys.modules[__package__].__version__)
    elif name in COMMANDS:
        sys.argv = [f"bert4rec-hf {name}", *sys.argv[2:]]  # the name is shown by --help
        importlib.import_module(f".cli.{name}", __package__).main()
    else:
        raise DataError(f"there is no command {name!r}; it must be one of {', '.join(COMMANDS)}.")


if __name__ == "__main__":
    main()
