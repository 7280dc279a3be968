# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Plots of a log and of an evaluation, on matplotlib figures."""

from collections.abc import Sequence

import numpy as np

from .targets import KINDS
from .windows import ALL_USERS, CEILING, MODEL, PANEL, recommenders_of


COLORS = ["#0b5fa5", "#8a8a8a", "#c9a227", "#b5462f", "#4f8f6b", "#7a5ea8"]


def draw_data(figure, report: dict):
    """Draws the report of [`analyze`] on a matplotlib figure."""
    axes = figure.subplots(2, 3).ravel()
    months, targets = report["months"], report["targets"]
    names = [month["month"] for month in months]
    for ax, entity in zip(axes, ("user", "item")):
        values = report[f"events_per_{entity}"]
        shares = {"min": 0, "10%": 10, "25%": 25, "median": 50, "75%": 75, "90%": 90, "99%": 99, "max": 100}
        ax.plot(list(shares.values()), [values[name] for name in shares], marker="o", color=COLORS[0])
        ax.set(yscale="log", title=f"Events per {entity} (Gini {values['gini']:.2f})")
        ax.set(xlabel=f"% of the {entity}s have at most", ylabel="events")
    axes[2].bar(range(len(months)), [month["events"] for month in months], color=COLORS[0])
    axes[2].set(title="Events per month")
    lines = {
        axes[3]: {"new_items": "new items", "gone_items": "gone items", "new_users": "new users"},
        axes[4]: {"top_overlap": "top 25 kept", "drift": "drift", "repeat_share": "repeats"},
    }
    lines[axes[3]]["events_on_new_items"] = "events on new items"
    for ax, title in ((axes[3], "Items and users against earlier months"), (axes[4], "Popularity and repeats")):
        for color, (key, label) in zip((COLORS[0], COLORS[3], COLORS[4], COLORS[2]), lines[ax].items()):
            ax.plot([month.get(key, np.nan) for month in months], marker="o", label=label, color=color)
        ax.set(title=title, ylim=(0, None))
        ax.legend(fontsize=8)
    for ax in axes[2:5]:
        step = -(-len(names) // 12)  # the labels of more months would lie on each other
        ax.set_xticks(range(0, len(names), step), names[::step], rotation=45)
    if not targets:
        return axes[5].axis("off")
    repeats, unknown = ([target[key] or 0 for target in targets] for key in ("repeats", "unknown_items"))
    parts = {
        "had before": np.array(repeats),
        "new to the user": 1 - np.array(repeats) - unknown,
        "not in training": np.array(unknown),
    }
    bottom = np.zeros(len(targets))
    for color, (label, shares) in zip((COLORS[4], COLORS[0], COLORS[3]), parts.items()):
        axes[5].bar(range(len(targets)), shares, bottom=bottom, label=label, color=color)
        bottom += shares
    axes[5].set_xticks(range(len(targets)), [target["name"].partition("..")[0] for target in targets], rotation=45)
    axes[5].set(title="Kinds of test targets", ylim=(0, 1))
    axes[5].legend(fontsize=8, loc="lower right")


def draw_evaluation(figure, reports: Sequence[dict]):
    """Draws the windows of one or several [`Evaluation`]s on a matplotlib figure."""
    if sum(len(report["windows"]) for report in reports) == 1:
        return _draw_bars(figure, reports[0])
    axes = figure.subplots(2, 2).ravel()
    k = max(reports[0]["k"])
    score = f"score@{k}"
    several = len(reports[0]["windows"]) > 1
    panels = [
        (axes[0], ALL_USERS, score, f"{score}, {ALL_USERS}"),
        (axes[1], PANEL if several else ALL_USERS, score if several else f"ndcg@{k}", None),
        (axes[2], ALL_USERS, f"repeat_recall@{k}", f"recall@{k} of what the user had before"),
        (axes[3], ALL_USERS, f"new_recall@{k}", f"recall@{k} of what is new to the user"),
    ]
    order = sorted({window["name"] for report in reports for window in report["windows"]})
    for ax, group, metric, title in panels:
        for number, report in enumerate(reports):
            names = recommenders_of(report)
            for place, name in enumerate(names):
                points = [
                    (order.index(window["name"]), window["groups"][group]["results"][name][metric])
                    for window in report["windows"]
                    if group in window["groups"]
                ]
                points = [(x, figures) for x, figures in points if figures["mean"] is not None]
                if not points:
                    continue
                xs, figures = zip(*points)
                means = np.array([f["mean"] for f in figures])
                color = COLORS[(place + (MODEL not in names)) % len(COLORS)]
                label = name if number == 0 else None
                width = 2.5 if name == MODEL else 1.2
                if "low" in figures[0]:
                    ends = np.array([[f["mean"] - f["low"], f["high"] - f["mean"]] for f in figures]).T
                    ax.errorbar(
                        xs, means, yerr=np.abs(ends), color=color, label=label, lw=width, marker="o", ms=4, capsize=3
                    )
                else:
                    ax.plot(xs, means, color=color, label=label, lw=width, marker="o", ms=4)
        ax.set_xticks(range(len(order)), [name.partition("..")[0] for name in order])
        ax.set(title=title or f"{metric}, {group}", ylim=(0, None))
        ax.grid(alpha=0.3)
    axes[0].legend(fontsize=8)


def _draw_bars(canvas, report: dict):
    """One window: a bar for each recommender, with its interval."""
    k, (window,) = max(report["k"]), report["windows"]
    axes = canvas.subplots(2, 2).ravel()
    titles = {
        f"score@{k}": f"score@{k}: 0.75 recall + 0.25 NDCG",
        f"hit_rate@{k}": f"hit_rate@{k}: users who take something",
        f"repeat_recall@{k}": f"recall@{k} of what the user had before",
        f"new_recall@{k}": f"recall@{k} of what is new to the user",
    }
    results = window["groups"][ALL_USERS]["results"]
    for ax, (metric, title) in zip(axes, titles.items()):
        is_kind_metric = metric.partition("_")[0] in KINDS  # for one kind the best lists are no upper bound
        names = [*recommenders_of(report), *([] if is_kind_metric else [CEILING])][::-1]
        figures = [results[name].get(metric, {"mean": None}) for name in names]
        figures = [figure if figure["mean"] is not None else {"mean": 0.0} for figure in figures]
        means = [figure["mean"] for figure in figures]
        colors = [COLORS[0] if name == MODEL else COLORS[1] for name in names]
        bars = ax.barh(range(len(names)), means, color=colors, alpha=0.85)
        if not is_kind_metric:
            bars[0].set(fill=False, edgecolor=COLORS[1], linestyle="--")
        ends = [
            (mean - figure.get("low", mean), figure.get("high", mean) - mean) for mean, figure in zip(means, figures)
        ]
        ax.errorbar(means, range(len(names)), xerr=np.abs(np.array(ends)).T, fmt="none", color="#333333", capsize=3)
        for place, (mean, (_, up)) in enumerate(zip(means, ends)):
            ax.annotate(
                f"{mean:.3f}", (mean + abs(up), place), (5, 0), textcoords="offset points", va="center", size=8
            )
        ax.set_yticks(range(len(names)), names)
        ax.set(title=title, xlim=(0, max(1.15 * max(means), 0.01)))
        ax.spines[["top", "right"]].set_visible(False)
    canvas.suptitle(f"{window['name']}, {window['num_users']:,} users")
