# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Shared by the commands: arguments from the command line, files and checkpoints, help, and error handling."""

import argparse
import inspect
import json
import os
import re
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields, make_dataclass
from difflib import get_close_matches

import torch
import yaml
from huggingface_hub.errors import StrictDataclassError
from transformers import HfArgumentParser
from transformers.hf_argparser import string_to_bool

from ..data.arguments import FITTED
from ..errors import DataError, one_line
from ..hub.load import find_checkpoint, load_config, load_processor, merge_processors
from ..model.configuration_bert4rec import CHOICES, Bert4RecConfig


# Aliases of fields, on the command line and in files: the original system's names and some shorter ones
ALIASES = {
    "save_dir": "output_dir",
    "epochs": "num_train_epochs",
    "train_batch_size": "per_device_train_batch_size",
    "eval_batch_size": "per_device_eval_batch_size",
    "num_workers": "dataloader_num_workers",
    "warmup_ratio": "warmup_steps",
    "resume": "resume_from_checkpoint",
    "max_length": "max_position_embeddings",
    "num_layers": "num_hidden_layers",
    "num_head": "num_attention_heads",
    "dropout_prob": "hidden_dropout_prob",
    "attention_dropout_prob": "attention_probs_dropout_prob",
    "eps": "layer_norm_eps",
    "causal": "is_causal",
}
SETTINGS_FILES = (".yaml", ".yml", ".json")


@dataclass
class ListArguments:
    """The lists of recommended items, and how many users are ranked at once."""

    exclude_seen: bool = field(default=False, metadata={"help": "Leave out the items of a user's history."})
    allow_fewer: bool = field(
        default=False, metadata={"help": "Take shorter lists where there are not k items to recommend."}
    )
    eval_batch_size: int = field(default=128, metadata={"help": "Users per batch."})

    def __post_init__(self):
        if self.eval_batch_size < 1:
            raise DataError("eval_batch_size must be at least 1.")


def arguments_of(cls: type, group: str, leave_out: Iterable[str] = ()) -> type:
    """
    A dataclass with the fields of a config or a collator as arguments, except `leave_out`; the help of a field is its
    text in the docstring.
    """
    texts = dict(re.findall(r"^ {4}(\w+) \(.*\):\n((?: {8}.*\n?)+)", inspect.cleandoc(cls.__doc__), re.MULTILINE))
    parts = []
    for name, hint in cls.__annotations__.items():
        if name not in leave_out:
            hint = {float | int: float, float | int | None: float | None}.get(hint, hint)
            help_text = " ".join(texts[name].split()).replace("`", "").replace("%", "%%")
            metadata = {"help": help_text} | ({"choices": CHOICES[name]} if name in CHOICES else {})
            default = field(default=getattr(cls, name), metadata=metadata)
            parts.append((name, hint, default))
    return make_dataclass(f"{cls.__name__}Arguments", parts, namespace={"_argument_group_name": group})


class CommandParser(HfArgumentParser):
    """
    [`HfArgumentParser`] with one-line errors and a short help.

    Args:
        dataclass_types (`Sequence[type]`): the arguments.
        description (`str`): what the command does.
        common (`Iterable[str]`, *optional*): what `--help` shows; all if not given. `--help-all` shows all.
    """

    def __init__(self, dataclass_types: Sequence[type], description: str, common: Iterable[str] | None = None):
        super().__init__(
            dataclass_types,
            prog=os.path.basename(sys.argv[0]),
            description=description.strip(),
            usage="%(prog)s [settings.yaml ...] [--flag value ...]",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,  # where a checkpoint gives defaults, they are looked up by whole names
            add_help=False,
        )
        names = {action.dest for group in self._action_groups for action in group._group_actions}
        self.common = names if common is None else set(common)
        self.aliases = {alias: name for alias, name in ALIASES.items() if alias not in names and name in names}
        self.flags = [*self._option_string_actions]
        for action in self._actions:
            # HfArgumentParser wants a value for `bool | None`.
            if action.type is string_to_bool and action.nargs is None:
                action.nargs, action.const = "?", True

    def error(self, message: str):
        message = re.sub(r"(--\w+)/--[\w-]+", r"\1", message)
        raise DataError(f"{message.rstrip('.')}; see --help.")

    def resolve_aliases(self, args: Iterable[str]) -> list[str]:
        """The arguments, with aliases and `-` in flags replaced by the names of fields."""
        found = []
        for arg in args:
            flag, equals, value = arg.partition("=")
            name = flag[2:].replace("-", "_") if re.fullmatch(r"--[a-z_-]+", flag) else None
            name = self.aliases.get(name, name)
            found.append(f"--{name}{equals}{value}" if name and f"--{name}" in self.flags else arg)
        return found

    def parse(self, args: Sequence[str], rest: bool = False) -> tuple:
        """
        The arguments as dataclasses, one of each type.

        Args:
            args (`Sequence[str]`): flags by the names of fields, see [`~CommandParser.resolve_aliases`].
            rest (`bool`, *optional*, defaults to `False`): return unknown arguments as a last list instead of an
                error.

        Raises:
            `DataError`: for an unknown flag or an invalid value.
        """
        try:
            *parts, unknown = self.parse_args_into_dataclasses(
                args, return_remaining_strings=True, look_for_args_file=False
            )
        except StrictDataclassError:
            raise
        except (ValueError, TypeError, ImportError, RuntimeError) as error:  # TrainingArguments' own checks
            raise error if isinstance(error, DataError) else DataError(one_line(error)) from None
        if unknown and not rest:
            raise DataError(self.unknown_flag_message(unknown[0]))
        return (*parts, unknown) if rest else tuple(parts)

    def unknown_flag_message(self, word: str) -> str:
        """The error message for an unknown flag."""
        flag = word.partition("=")[0]
        if not flag.startswith("--"):
            return f"{word!r} belongs to no flag; a flag begins with --, and a file with settings comes first."
        names = [name for name in (*self.flags, *(f"--{alias}" for alias in self.aliases)) if name[:2] == "--"]
        close = get_close_matches(flag, names, n=1)
        return f"there is no flag {flag}; " + (f"is it {close[0]}?" if close else "see --help.")

    def print_short_help(self):
        """Prints one line per common flag, by group."""
        width = max(shutil.get_terminal_size().columns, 80) - 1
        lines = [self.format_usage().strip(), "", self.description.partition("\n\n")[0]]
        alias_of = {name: alias for alias, name in self.aliases.items()}
        for group in self._action_groups:
            actions = {action.dest: action for action in group._group_actions if action.dest in self.common}
            lines += [f"{group.title}:"] if actions else []
            for name, action in actions.items():
                text = " ".join((action.help or "").replace("%%", "%").split()).partition(". ")[0].rstrip(".")
                default = action.default
                if isinstance(default, (list, tuple)):
                    default = " ".join(map(str, default))
                if default not in (None, False, "", "none"):
                    text += f" [{default}]"
                flag = f"  --{alias_of.get(name, name)}"
                lines.append(f"{flag:28} " + textwrap.shorten(text, width - 29, placeholder=" ..."))
        if any(action.dest not in self.common for action in self._actions):
            lines.append("--help-all shows the rest: all fields of the config and of TrainingArguments are flags.")
        print("\n".join(lines))


def parse_arguments(
    *dataclass_types,
    description: str = "",
    checkpoint: str | None = None,
    args: Sequence[str] | None = None,
    merge: bool = False,
    rest: bool = False,
    common: Iterable[str] | None = None,
    defaults: dict | None = None,
) -> tuple:
    """
    The command line as dataclasses, one of each type. Defaults come from YAML or JSON files (the first
    arguments) and from a checkpoint; flags override files, later files earlier ones, and all of them the checkpoint.

    Args:
        description (`str`, *optional*): what the command does, for its help.
        checkpoint (`str`, *optional*):
            Name of the flag for a checkpoint, whose data settings, split and config are defaults.
        args (`Sequence[str]`, *optional*):
            Instead of the command line.
        merge (`bool`, *optional*, defaults to `False`):
            Whether several checkpoints are members of one ensemble; otherwise only the first is used.
        rest (`bool`, *optional*, defaults to `False`):
            Return unknown arguments, files too, as a last list, instead of raising an error.
        common (`Iterable[str]`, *optional*):
            The flags that `--help` shows; all if not given, or all but those whose result a checkpoint holds.
        defaults (`dict`, *optional*):
            Values by the names of fields, which all of these override.

    Raises:
        `DataError`: for an invalid file, an unknown flag, or an invalid value.
    """
    if common is None and checkpoint is not None:
        common = {part.name for cls in dataclass_types for part in fields(cls)} - {*FITTED}
    parser = CommandParser(dataclass_types, description, common)
    args = list(sys.argv[1:] if args is None else args)
    if "--help-all" in args or "--help_all" in args:
        parser.print_help()
        sys.exit()
    if "--help" in args or "-h" in args:
        parser.print_short_help()
        sys.exit()
    in_files = []
    while args and args[0].endswith(SETTINGS_FILES) and not rest:
        file = args.pop(0)
        values = _read_values(file)
        for name in values:
            if parser.resolve_aliases([f"--{name}"])[0] not in parser.flags:
                raise DataError(f"{file}: {parser.unknown_flag_message(f'--{name}')}")
        in_files += as_flags(values)
    args = parser.resolve_aliases(in_files + args)
    if checkpoint is not None:
        args = as_flags(_checkpoint_values(parser, checkpoint, args, merge)) + args
    return parser.parse(as_flags(defaults or {}) + args, rest)


def _checkpoint_values(parser: CommandParser, flag: str, args: Sequence[str], merge: bool) -> dict:
    """The values for other flags from the checkpoint of a flag."""
    checkpoint_parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in (flag, "revision"):
        checkpoint_parser.add_argument(f"--{name}", nargs="*")
    given = vars(checkpoint_parser.parse_known_args(args)[0])
    if not given[flag]:
        return {}
    names = given[flag] if merge else given[flag][:1]
    folders = {name: find_checkpoint(name, (given["revision"] or [None])[0]) for name in names}
    processor = merge_processors({name: load_processor(folder) for name, folder in folders.items()})
    values = {**(processor.data or {}), **(processor.split or {})}
    if "--hidden_size" in parser.flags:
        config = load_config(*folders.values())
        if not isinstance(config, Bert4RecConfig):
            raise DataError(f"{names[0]} is an ensemble; go on from one of its members.")
        settings = set(Bert4RecConfig.__annotations__) - {"item_features", "user_features", "vector_features"}
        values |= {name: getattr(config, name) for name in settings}
    return {name: value for name, value in values.items() if f"--{name}" in parser.flags}


def as_flags(values: dict) -> list[str]:
    """Names and values as flags. Put first, they get the same checks as other flags, which override them."""
    flags = []
    for name, value in values.items():
        if isinstance(value, list):
            flags += [f"--{name}", *(map(str, value) if value else ["none"])]
        elif isinstance(value, dict):  # as TrainingArguments takes it
            flags.append(f"--{name}={json.dumps(value)}")
        elif value is not None:
            flags.append(f"--{name}={value}")
    return flags


def read_settings(file: str):
    """
    The contents of a YAML or JSON file.

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
        isinstance(part, (dict, list)) for value in values.values() if isinstance(value, list) for part in value
    ):
        raise DataError(f"{file}: it must hold names and values or lists of values, as in 'epochs: 10'.")
    return {str(name): value for name, value in values.items()}


def run(main: Callable[[], None]):
    """Runs a command's `main`; bad input is one line on stderr and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # what its encoding lacks is printed as \u escapes
            stream.reconfigure(errors="backslashreplace")
    try:
        main()
        sys.stdout.flush()
        if torch.distributed.is_initialized():
            time.sleep(0.1)  # for gloo's threads: one that frees a tensor after Python has ended aborts the process
            torch.distributed.destroy_process_group()
    except (DataError, StrictDataclassError, FloatingPointError, ImportError) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("\ninterrupted; a training goes on from its last checkpoint with --resume.", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # the reader of the output, such as head, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
