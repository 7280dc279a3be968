# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""
A page on which a recommender is tried: search titles, build a history, see what is recommended and why.

    python app.py MODEL [OTHER_MODEL]

Models are folders or ids on the Hub; without any, those that models.txt beside this file names. It needs what
requirements.txt beside it lists, and not the package bert4rec_hf.
"""

import html
import math
import os
import re
import sys
import unicodedata
from collections.abc import Callable
from functools import partial

import gradio as gr
from transformers import Pipeline, pipeline
from transformers.utils import cached_file


# Titles found, items recommended and similar items shown at once.
NUM_FOUND, NUM_ITEMS, NUM_SIMILAR = 8, 10, 6
CSS = """
button.item {text-align: left; justify-content: flex-start; white-space: normal; overflow-wrap: anywhere}
.why {overflow-wrap: anywhere}
.bar {height: .4em; border-radius: .2em; background: var(--primary-500)}
.report table {display: block; overflow-x: auto}
.report :is(td, th) {word-break: normal; white-space: nowrap}
.indented {padding-left: 2em}
"""


def folded(text: str) -> str:
    """Text as it is compared: letters composed, without case."""
    return unicodedata.normalize("NFC", text).casefold()


class Catalogue:
    """The items of a model by title."""

    def __init__(self, pipe: Pipeline):
        vocabulary = pipe.processor.vocabulary
        titles = vocabulary.get("titles") or [None] * len(vocabulary["item_ids"])
        self.titles = {item: title or str(item) for item, title in zip(vocabulary["item_ids"], titles)}
        self.folded = [(folded(title), item) for item, title in self.titles.items()]

    def search(self, query: str) -> list:
        """Ids of items whose titles hold all words of a query: those that begin with it first, then the shortest."""
        words = folded(query).split()
        if not words:
            return []
        found = [entry for entry in self.folded if all(word in entry[0] for word in words)]
        found.sort(key=lambda entry: (not entry[0].startswith(words[0]), len(entry[0])))
        return [item for _, item in found[:NUM_FOUND]]


def because(reason: dict, titles: dict) -> str:
    """Which events of the history make an item more likely, as HTML."""
    events = {
        event["item_id"]: event["raised"]
        for event in reversed(reason["because"])
        if event["raised"] > 0.1 and event["item_id"] in titles
    }
    best = sorted(events, key=events.get, reverse=True)[:2]
    parts = [f"{math.exp(events[item]):.3g} times as likely because of {html.escape(titles[item])}" for item in best]
    text = " and ".join(parts) or "not because of one title alone"
    if (reason["repeat_share"] or 0) > 0.01:
        text += f"; {reason['repeat_share']:.0%} of its probability because it was watched before"
    return text


def report(name: str) -> tuple[str, list[str]]:
    """The results of a model's card, and the pictures of its data and its evaluation."""
    optional = {"_raise_exceptions_for_missing_entries": False, "_raise_exceptions_for_connection_errors": False}
    card = cached_file(name, "README.md", **optional)
    text = ""
    if card is not None:
        with open(card, encoding="utf-8") as file:
            parts = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", file.read(), re.MULTILINE | re.DOTALL))
        text = "\n".join(f"## {part}\n{parts[part]}" for part in ("Results", "Data", "Limits") if part in parts)
    pictures = [cached_file(name, picture, **optional) for picture in ("evaluation.png", "data.png")]
    text = re.sub(r"!\[.*?\]\(.*?\)\n*", "", text)  # the pictures are shown beside it
    return text or "This model has no report.", [picture for picture in pictures if picture is not None]


def build(pipelines: dict[str, Pipeline]) -> gr.Blocks:
    """The page of one or two models, by name (a folder or an id on the Hub)."""
    first = next(iter(pipelines.values()))
    catalogue = Catalogue(first)
    titles = {}  # of the items of all models, the first model's where they differ
    for pipe in reversed(pipelines.values()):
        titles |= Catalogue(pipe).titles
    features = first.processor.vocabulary.get("user_features", [])
    names = [feature["name"] for feature in features]
    with gr.Blocks(title="BERT4Rec", analytics_enabled=False) as page:
        history, chosen = gr.State([]), gr.State(None)
        with gr.Tab("Recommendations"), gr.Row():
            with gr.Column(scale=2, min_width=280):
                query = gr.Textbox(label=f"Search {len(catalogue.titles):,} titles", elem_id="search", autofocus=True)

                @gr.render(query, triggers=[query.change], show_progress="hidden")
                def show_found(query):
                    found = catalogue.search(query)
                    if query.strip() and not found:
                        gr.Markdown("No title has these words.")
                    for item in found:
                        item_button(
                            f"+ {titles[item]}", "found", item, history, lambda items, item=item: [*items, item]
                        )

                @gr.render(history, show_progress="hidden")
                def show_history(items):
                    gr.Markdown("### Watched, newest first" if items else "### Nothing watched yet")
                    for place, item in reversed([*enumerate(items)]):
                        rest = items[:place] + items[place + 1 :]
                        key = f"{item} {items[:place].count(item)}"
                        item_button(f"× {titles[item]}", "watched", key, history, lambda items, rest=rest: rest)

                profile = [
                    gr.Dropdown(feature["values"], multiselect=True, label=feature["name"])
                    if feature.get("max_values", 1) > 1
                    else gr.Dropdown([("not told", ""), *feature["values"]], value="", label=feature["name"])
                    for feature in features
                ]
                exclude_seen = gr.Checkbox(True, label="Leave out what was watched")
                diversity = gr.Slider(0, 1, 0, step=0.1, label="Diversity")
            for name, pipe in pipelines.items():
                with gr.Column(scale=3, min_width=320):
                    title = os.path.basename(os.path.normpath(name)) if len(pipelines) > 1 else "What comes next"
                    gr.Markdown(f"### {title}\nThe share of each title, and why. Choose one for similar titles.")
                    render = gr.render([history, chosen, exclude_seen, diversity, *profile], show_progress="hidden")
                    render(partial(show_list, pipe, titles, names, history, chosen))
        with gr.Tab("How good is it?"), gr.Row():
            for name in pipelines:
                with gr.Column(min_width=320):
                    text, pictures = report(name)
                    gr.Markdown(text, elem_classes="report")
                    for picture in pictures:
                        gr.Image(picture, show_label=False, interactive=False)
    return page


def show_list(
    pipe: Pipeline,
    titles: dict,
    names: list[str],
    history: gr.State,
    chosen: gr.State,
    items: list,
    open_item,
    exclude_seen,
    diversity,
    *profile,
):
    """The recommended items, each with its probability and why, and the items similar to the one that is open."""
    user = {"history": items, "profile": {name: value for name, value in zip(names, profile) if value}}
    recommended = pipe(user, k=NUM_ITEMS, exclude_seen=exclude_seen, diversity=diversity)
    reasons = pipe.explain(user, [item["item_id"] for item in recommended])
    highest = max((item["score"] for item in recommended), default=0.0)
    for item, reason in zip(recommended, reasons):
        item_id = item["item_id"]
        item_button(
            *(f"{item['rank']}. {titles[item_id]}", "recommended", f"{item['rank']} {item_id}", chosen),
            lambda open_item, item_id=item_id: None if open_item == item_id else item_id,
        )
        gr.HTML(
            f"<div class='bar' style='width: {100 * math.exp(item['score'] - highest):.0f}%'></div>"
            f"<div class='why'>{math.exp(item['score']):.1%}, {because(reason, titles)}</div>",
            padding=False,
        )
        if item_id == open_item:
            # A column of their own: a button that gradio draws again keeps the place and the classes it had.
            with gr.Column(elem_classes="indented", min_width=0):
                for similar in pipe.similar(item_id, NUM_SIMILAR):
                    other, label = similar["item_id"], f"+ {titles[similar['item_id']]} ({similar['score']:.2f})"
                    item_button(label, "similar", other, history, lambda items, other=other: [*items, other])


def item_button(label: str, kind: str, key: str, state: gr.State, change: Callable):
    """A button with a title, as text, that changes a state; by its key it keeps the focus when the list changes."""
    button = gr.Button(label, size="md", elem_classes=["item", kind], key=f"{kind} {key}")
    button.click(change, state, state, show_progress="hidden")


def launch(pipelines: dict[str, Pipeline], **kwargs):
    """Serves the page until it is stopped."""
    build(pipelines).queue(default_concurrency_limit=4).launch(css=CSS, footer_links=[], **kwargs)


def main(names: list[str]):
    """The command."""
    beside = os.path.join(os.path.dirname(os.path.abspath(__file__)), "models.txt")
    if not names and os.path.exists(beside):
        with open(beside, encoding="utf-8") as file:
            names = file.read().split("\n")
    names = [name for name in names if name]
    if not 1 <= len(names) <= 2:
        sys.exit("error: name one or two models, folders or ids on the Hub.")
    load = partial(pipeline, "item-recommendation", trust_remote_code=True)
    launch({name: load(model=name) for name in names})


if __name__ == "__main__":
    main(sys.argv[1:])
