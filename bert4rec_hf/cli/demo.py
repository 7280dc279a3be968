# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""
Serves a page on which people try one or two models: search titles, build a history, see what is recommended and why.

    bert4rec-hf demo --model_dir ./exps/seed1

Or writes the page as a Space of the Hub, for models that have been pushed:

    bert4rec-hf demo --model_dir user/name --hub_space_id user/try-it

It needs `pip install bert4rec-hf[demo]`.
"""

from dataclasses import dataclass, field
from importlib.util import find_spec

from ..errors import DataError
from ..files import check_report_dir
from ..hub.load import find_checkpoint, load_checkpoint
from ..model.pipeline_bert4rec import ItemRecommendationPipeline
from ..serving.space import push_space, write_space
from .arguments import parse_arguments


@dataclass
class DemoArguments:
    """The models, and where the page goes."""

    model_dir: list[str] = field(metadata={"help": "Folder or Hub id of one model, or of two to compare."})
    port: int | None = field(
        default=None, metadata={"help": "Port on this machine; by default 7860 or the next free."}
    )
    output_dir: str | None = field(
        default=None, metadata={"help": "Write the page's files to this folder instead: python app.py serves them."}
    )
    hub_space_id: str | None = field(
        default=None, metadata={"help": "Push the page to this Space instead, user/name; created if missing."}
    )
    hub_private_repo: bool = field(default=False, metadata={"help": "Make a new Space private."})

    def __post_init__(self):
        if len(self.model_dir) > 2:
            raise DataError("model_dir takes one model, or two to compare.")
        if self.output_dir and self.hub_space_id:
            raise DataError("give either --output_dir or --hub_space_id.")


def main():
    """The command."""
    (args,) = parse_arguments(DemoArguments, description=__doc__)
    if find_spec("gradio") is None:
        raise ImportError("demo needs gradio: pip install 'bert4rec-hf[demo]'.")
    if args.hub_space_id:
        commit = push_space(args.model_dir, args.hub_space_id, args.hub_private_repo or None)
        return print(f"pushed to {commit.repo_url}")
    if args.output_dir:
        check_report_dir(args.output_dir)
        write_space(args.model_dir, args.output_dir)
        return print(f"written to {args.output_dir}; serve it with: python {args.output_dir}/app.py")
    from ..serving.demo.app import launch

    pipelines = {}
    for name in args.model_dir:
        model, processor = load_checkpoint(find_checkpoint(name))
        pipelines[name] = ItemRecommendationPipeline(model=model, processor=processor)
    launch(pipelines, server_port=args.port)
