# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""
Pushes a checkpoint to the Hub: weights, config, processor, code, card, and what `export` wrote into its folder, and
no other files. If the card is missing, as after `add_items`, it is written first.

    bert4rec-hf push --model_dir ./exps/seed1 --hub_model_id user/name

Or the ranking metric, as a Space for `evaluate.load("user/ranking")`:

    bert4rec-hf push --metric --hub_model_id user/ranking

Log in first with `hf auth login`, or set HF_TOKEN.
"""

import os
from dataclasses import dataclass, field

from ..errors import DataError
from ..hub.card import write_model_card
from ..hub.load import load_checkpoint
from ..hub.push import push_checkpoint, push_metric
from .arguments import parse_arguments


@dataclass
class PushArguments:
    """The files to push, and the repository."""

    hub_model_id: str = field(metadata={"help": "Repository, user/name; created if missing."})
    model_dir: str | None = field(default=None, metadata={"help": "Folder of the checkpoint."})
    metric: bool = field(default=False, metadata={"help": "Push the ranking metric instead of a checkpoint."})
    handler: bool = field(
        default=False, metadata={"help": "Push handler.py too, with which Inference Endpoints serve the model."}
    )
    hub_private_repo: bool = field(default=False, metadata={"help": "Make a new repository private."})
    hub_revision: str | None = field(default=None, metadata={"help": "Branch to push to; created if missing."})
    commit_message: str | None = field(default=None, metadata={"help": "Message of the commit."})


def main():
    """The command."""
    (args,) = parse_arguments(PushArguments, description=__doc__)
    private = args.hub_private_repo or None
    if args.metric == (args.model_dir is not None):
        raise DataError("give either --model_dir or --metric.")
    if args.metric:
        if args.hub_revision or args.commit_message or args.handler:
            raise DataError("--hub_revision, --commit_message and --handler need --model_dir.")
        commit = push_metric(args.hub_model_id, private)
    else:
        if not os.path.isdir(args.model_dir):
            raise DataError(f"{args.model_dir}: there is no such folder.")
        model, processor = load_checkpoint(args.model_dir)  # a broken checkpoint must not be pushed
        if not os.path.exists(os.path.join(args.model_dir, "README.md")):
            write_model_card(args.model_dir, model, processor, model_id=args.hub_model_id)
        message = args.commit_message or "Upload checkpoint"
        commit = push_checkpoint(
            args.model_dir,
            args.hub_model_id,
            private,
            args.hub_revision,
            commit_message=message,
            handler=args.handler,
        )
    print(f"pushed to {commit.repo_url}")
