# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Reports of a log and of an evaluation: a page of text, JSON and, where matplotlib is installed, a picture."""

import contextlib
import json
import os
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from transformers.utils import logging

from ..errors import DataError
from ..files import atomic_write
from .plots import draw_data, draw_evaluation
from .targets import KINDS, THIRDS
from .windows import ALL_USERS, CEILING, MEMBERS, MODEL, PANEL, SHUFFLED, Evaluation, recommenders_of


logger = logging.get_logger(__name__)

DATA_REPORT, MODEL_REPORT, USERS_FILE = "data", "evaluation", "evaluation_users.parquet"


def write_report(folder: str, name: str, report: dict | list, text: str, draw: Callable):
    """
    Writes `name`.json, `name`.txt and `name`.png into a folder, created if missing; old files are replaced.

    Args:
        draw (`Callable`): called with a matplotlib `Figure` to draw on.
    """
    os.makedirs(folder, exist_ok=True)
    for ending, content in (("json", json.dumps(report, indent=1, ensure_ascii=False)), ("txt", text)):
        with (
            atomic_write(os.path.join(folder, f"{name}.{ending}")) as part,
            open(part, "w", encoding="utf-8") as file,
        ):
            file.write(content + "\n")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        with contextlib.suppress(FileNotFoundError):
            os.remove(os.path.join(folder, f"{name}.png"))  # it would be of an earlier report
        return logger.warning("There is no picture: it needs matplotlib (pip install matplotlib).")
    figure = Figure(figsize=(12, 7.5), layout="constrained")
    draw(figure)
    with atomic_write(os.path.join(folder, f"{name}.png")) as part:
        figure.savefig(part, dpi=100, format="png")


def write_data_report(folder: str, report: dict) -> str:
    """Writes data.txt, data.json and data.png of what [`analyze`] returns, and returns the text."""
    text = data_text(report)
    write_report(folder, DATA_REPORT, report, text, lambda figure: draw_data(figure, report))
    return text


def write_evaluation_report(folder: str, evaluations: Sequence[Evaluation]) -> str:
    """
    Writes evaluation.txt, .json, .png and evaluation_users.parquet of one or several evaluations, each from its own
    origin, and returns the page that the text begins with; tables of all metrics follow it.
    """
    reports = [evaluation.report for evaluation in evaluations]
    text = evaluation_text(reports)
    tables = [
        f"All metrics, {report['split']}, {window['name']}\n{metrics_table(window['groups'][ALL_USERS]['results'])}"
        for report in reports
        for window in report["windows"]
    ]
    whole = "\n\n".join([text, *tables])
    write_report(folder, MODEL_REPORT, reports, whole, lambda figure: draw_evaluation(figure, reports))
    users = pa.concat_tables([evaluation.users for evaluation in evaluations], promote_options="default")
    with atomic_write(os.path.join(folder, USERS_FILE)) as part:
        pq.write_table(users.unify_dictionaries(), part)
    return text


def read_users(folder: str) -> pa.Table:
    """
    The per-user results that [`write_evaluation_report`] wrote.

    Raises:
        `DataError`: if there are none.
    """
    path = os.path.join(folder, USERS_FILE)
    if not os.path.isfile(path):
        raise DataError(f"{folder} has no {USERS_FILE}; make it with bert4rec-hf evaluate --output_dir {folder}.")
    try:
        users = pq.read_table(path)
    except pa.ArrowException as error:
        raise DataError(f"{path}: {' '.join(str(error).split())}") from None
    needed = ("recommender", "origin", "window", "user", "num_targets")
    if missing := [name for name in needed if name not in users.column_names]:
        raise DataError(f"{path} has no column {missing[0]!r}; make it anew with bert4rec-hf evaluate.")
    return users


def data_text(report: dict) -> str:
    """The report of [`analyze`] as a page of text."""

    def spread(values: dict | None) -> str:
        if values is None:
            return "none"
        quantiles = ", ".join(f"{name} {values[name]:,.0f}" for name in ("10%", "median", "90%", "max"))
        return f"{quantiles}; mean {values['mean']:,.1f}"

    sessions = report["sessions"]
    lines = [
        f"{report['events']:,} events of {report['users']:,} users and {report['items']:,} items, "
        f"{report['first_day']} to {report['last_day']}",
        "",
        f"events per user      {spread(report['events_per_user'])}",
        f"events per item      {spread(report['events_per_item'])}",
        "most popular items   "
        + ", ".join(f"{n} of them have {s:.0%} of all" for n, s in report["top_items"].items()),
        f"repeats              {report['repeat_share']:.1%} of the events are of an item that the user had before",
        f"events a day of use  {spread(sessions['events'])}",
        f"days to the next     {spread(sessions['days_to_the_next'])}",
        "",
        "By month. New: not in any earlier month; gone: share of the previous month's items; top 25: share of the",
        "previous month's top 25 kept; drift: Jensen-Shannon divergence from it, 0 the same, 1 nothing in common",
        f"{'month':8} {'events':>10} {'users':>8} {'items':>8} {'repeats':>8} | {'new users':>9} {'new items':>9} "
        f"{'gone':>6} {'events on new':>13} {'top 25':>7} {'drift':>6}",
    ]
    for month in report["months"]:
        line = (
            f"{month['month']:8} {month['events']:>10,} {month['users']:>8,} {month['items']:>8,} "
            f"{month['repeat_share']:>8.1%} |"
        )
        if "drift" in month:
            line += (
                f" {month['new_users']:>9.1%} {month['new_items']:>9.1%} {month['gone_items']:>6.1%} "
                f"{month['events_on_new_items']:>13.1%} {month['top_overlap']:>7.0%} {month['drift']:>6.3f}"
            )
        lines.append(line)
    if report.get("features"):
        lines += ["", f"{'feature':24} {'of':6} {'values':>8} | {'items':>8} {'users':>10} {'events':>8} that have it"]
    for feature in report.get("features", []):
        parts = (f"{feature[kind] / max(report[kind], 1):.1%}" for kind in ("items", "users", "events"))
        cells = [text.rjust(width) for text, width in zip(parts, (8, 10, 8))]
        lines.append(f"{feature['name']:24} {feature['of']:6} {feature['values']:>8,} | {' '.join(cells)}")
    if report["targets"]:
        lines += ["", "What a model trained on the training rows will be asked for, and what of it it cannot know"]
    for target in report["targets"]:
        lines.append(
            f"{target['name']}: {target['targets']:,} targets of {target['users']:,} users; "
            + f"{_percent(target['repeats'])} repeats, {_percent(target['unknown_items'])} of items not in "
            + f"training; {_percent(target['users_without_history'])} of the users have no history"
        )
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _mean(window: dict, recommender: str, metric: str, group: str = ALL_USERS) -> float:
    figures = window["groups"].get(group, {"results": {}})["results"].get(recommender, {}).get(metric, {"mean": None})
    return np.nan if figures["mean"] is None else figures["mean"]


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3f}"


def key_metrics(ks: Sequence[int]) -> list[str]:
    """The main metrics, at most 8."""
    shorter = [f"{name}@{min(ks)}" for name in ("recall", "ndcg")] if len(set(ks)) > 1 else []
    return shorter + [f"{name}@{max(ks)}" for name in ("recall", "ndcg", "hit_rate", "mrr", "score", "coverage")]


def in_short(report: dict) -> list[str]:
    """Summary of the first window, compared with baselines, in plain words; one sentence per line."""
    names, k, window = recommenders_of(report), max(report["k"]), report["windows"][0]
    hits, found, score = (
        {name: _mean(window, name, f"{metric}@{k}") for name in [*names, CEILING]}
        for metric in ("hit_rate", "recall", "score")
    )
    baselines = [name for name in names if name not in (MODEL, MEMBERS, SHUFFLED, *report.get("members", ()))]
    kind = "rival or simple rule" if "rivals" in report else "simple rule"
    best_baseline = max(baselines, key=score.get, default=None)
    lines = []
    if MODEL in names:
        lines.append(
            f"{report.get('model') or MODEL}: {100 * hits[MODEL]:.0f} of 100 users take something from their list of "
            f"{k}; the lists hold {found[MODEL]:.0%} of what users take."
        )
    if MODEL in names and baselines:
        if score[MODEL] <= score[best_baseline]:
            lines.append(f"That is NOT better than the best {kind}.")
        elif found[best_baseline]:
            ratio = found[MODEL] / found[best_baseline]
            lines[0] = f"{lines[0].rstrip('.')}, {ratio:.1f} times as much as the best {kind}."
    if baselines:
        lines.append(
            f"The best {kind}, {best_baseline!r}, reaches {100 * hits[best_baseline]:.0f} of 100 users and "
            f"{found[best_baseline]:.0%} of what they take."
        )
        lines.append(
            f"Lists that knew the future would hold {found[CEILING]:.0%}; {window['unknown_targets']:.1%} of what "
            "users take is not in the catalogue of the training rows."
        )
    return lines


def screen_text(report: dict) -> str:
    """What a run prints of an evaluation: the summary in plain words, and one table."""
    if len(report["windows"]) > 1:
        return "\n".join([*in_short(report), "", windows_table(report)])
    results = report["windows"][0]["groups"][ALL_USERS]["results"]
    metrics = key_metrics(report["k"])
    width = max(map(len, results))
    lines = [" " * width + "".join(f"  {metric}" for metric in metrics)]
    for name, figures in results.items():
        means = [figures.get(metric, {"mean": None})["mean"] for metric in metrics]
        cells = ["–" if mean is None else f"{mean:.4f}" for mean in means]
        lines.append(f"{name:{width}}" + "".join(f"{c:>{len(m) + 2}}" for c, m in zip(cells, metrics)))
    return "\n".join([*in_short(report), "", *lines])


def verdicts(report: dict) -> list[str]:
    """One line for each window in which the model does not significantly beat every baseline, by score@k."""
    lines = []
    metric = f"score@{max(report['k'])}"
    for window in report["windows"]:
        not_beaten = {"LOSES to": [], "may be no better than": []}
        for name, leads in window["groups"][ALL_USERS]["against"].items():
            if name in (MEMBERS, SHUFFLED, *report.get("members", ())):  # not a simple rule
                continue
            lead = leads[metric]
            low, high = lead.get("low", lead["mean"]), lead.get("high", lead["mean"])
            if low <= 0:
                verdict = "LOSES to" if high < 0 else "may be no better than"
                not_beaten[verdict].append(
                    f"{name} {_mean(window, name, metric):.3f} ({lead['mean']:+.3f}, 95% {low:+.3f} to {high:+.3f})"
                )
        if any(not_beaten.values()):
            parts = [f"{verdict} {', '.join(names)}" for verdict, names in not_beaten.items() if names]
            lines.append(f"{window['name']}: {MODEL} {_mean(window, MODEL, metric):.3f} {'; '.join(parts)}")
    return lines


def windows_table(report: dict, group: str = ALL_USERS, metric: str | None = None) -> str:
    """A metric (by default the score at the greatest k) by window and recommender, with intervals, as Markdown."""
    metric = metric or f"score@{max(report['k'])}"
    names = list(report["windows"][0]["groups"][ALL_USERS]["results"])
    lines = [f"| {metric}, {group} | users | {' | '.join(names)} |", f"|---|---:|{'---:|' * len(names)}"]
    for window in report["windows"]:
        if group in window["groups"]:
            figures = window["groups"][group]
            cells = [_cell(figures["results"][name].get(metric)) for name in names]
            lines.append(f"| {window['name']} | {figures['num_users']:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(figure: dict | None, digits: int = 3) -> str:
    if figure is None or figure["mean"] is None:
        return ""
    half = f" ±{(figure['high'] - figure['low']) / 2:.{digits}f}" if "low" in figure else ""
    return f"{figure['mean']:.{digits}f}{half}"


def evaluation_text(reports: Sequence[dict]) -> str:
    """The reports of one or several [`Evaluation`]s as a page of text."""
    return "\n\n".join(_one_evaluation(report) for report in reports) + _over_origins(reports)


def _one_evaluation(report: dict) -> str:
    windows, k, names = report["windows"], max(report["k"]), recommenders_of(report)
    first = windows[0]
    lines = [
        *in_short(report),
        "",
        f"{report.get('model') or (MODEL if MODEL in names else 'Simple rules')}: split {report['split']}, "
        f"{report['subset']} rows"
        + (f", {len(windows)} windows, the history {report['history']}" if len(windows) > 1 else ""),
        f"Lists of {k} out of the whole catalogue, {'without' if report['exclude_seen'] else 'with'} what a user has "
        "had before.",
        *tie_rule(first),
        *times_text(report),
        *rivals_text(report),
    ]
    shown = MODEL if MODEL in names else max(names, key=lambda name: _mean(first, name, f"score@{k}"))
    if len(windows) > 1:
        lines += ["", f"By window ({shown})"]
    for window in windows if len(windows) > 1 else ():
        lines.append(
            f"  {window['name']}: {100 * _mean(window, shown, f'hit_rate@{k}'):.0f} of 100 users, "
            f"{_mean(window, shown, f'recall@{k}'):.0%} of what they take; at best "
            f"{_mean(window, CEILING, f'recall@{k}'):.0%} ({window['unknown_targets']:.1%} is not in the catalogue)."
        )
    if MODEL in names:
        lines += ["", f"Against {'rivals and ' * ('rivals' in report)}simple rules (score@{k})"]
        lines += [f"  {line}" for line in verdicts(report)] or ["  Better than all of them in every window."]
    for group in first["groups"]:
        lines += ["", windows_table(report, group)]
    if len(windows) > 1:
        lines += ["", f"score@{k} of the last window relative to the first ({PANEL})"]
        for name in names:
            scores = [_mean(window, name, f"score@{k}", PANEL) for window in (first, windows[-1])]
            lines.append(f"  {name}: {scores[1] / scores[0]:.0%}" if scores[0] else f"  {name}: 0 in the first")
    lines += ["", f"recall@{k} of targets that the user had before, and of targets new to the user"]
    for window in windows:
        of_new = 1 - window["repeat_targets"] - window["unknown_targets"]
        lines.append(
            f"  {window['name']} ({window['repeat_targets']:.0%} had before, {of_new:.0%} new): "
            + ", ".join(
                name + "".join(f" {_number(_mean(window, name, f'{kind}_recall@{k}'))}" for kind in ("repeat", "new"))
                for name in names
            )
        )
    lines += [
        "",
        f"recall@{k} by the popularity of the target: {', '.join(THIRDS)}, a third of the training events each",
    ]
    lines += [
        f"  {first['name']}: "
        + ", ".join(
            name + "".join(f" {_number(_mean(first, name, f'{third}_recall@{k}'))}" for third in THIRDS)
            for name in names
        )
    ]
    lines += [
        "",
        f"The lists of {first['name']}: share of the catalogue recommended at all, Gini index of item counts",
    ]
    lines += ["  (1: a few items get all), novelty in bits, diversity of a list's features (0 to 1)"]
    for name in names:
        figures = (_mean(first, name, f"{metric}@{k}") for metric in ("coverage", "gini", "novelty", "diversity"))
        lines.append(f"  {name}: " + ", ".join(map(_number, figures)))
    lines += [
        "",
        "recall: share of a user's targets in the list, of at most k; NDCG: the same, weighted by rank;",
        f"score: 0.75 recall + 0.25 NDCG; ±: half of the 95% bootstrap interval over users ({report['num_rounds']}"
        f" rounds); '{CEILING}': perfect lists, from the items of the vocabulary.",
    ]
    return "\n".join(lines)


def times_text(report: dict) -> list[str]:
    """Whether a model that reads times knows the moment that is asked for."""
    if report.get("request_time") is None:
        return []
    known = "moment of the first target is known" if report["request_time"] else "moment that is asked for is unknown"
    return [f"The model reads times; the {known}."]


def tie_rule(window: dict) -> list[str]:
    """How events at the same time are ordered, and how many targets that touches."""
    if window.get("tied_targets") is None:
        return []
    return [
        f"Events of a user at the same time keep the order of the log: {window['tied_targets']:.1%} of the targets "
        "share theirs with another event."
    ]


def rivals_text(report: dict) -> list[str]:
    """What was tried for each rival, and why one was left out."""
    lines = []
    for name, told in report.get("rivals", {}).items():
        if "left_out" in told:
            lines.append(f"{name} is left out: {told['left_out']}.")
        else:
            settings = ", ".join(f"{setting} {value}" for setting, value in told["settings"].items())
            lines.append(
                f"{name} has {settings}: the best NDCG on the validation rows, {told['validation']:.4f}, of "
                f"{told['tried']} settings in {told['seconds']:.0f} s."
            )
    return lines


def _over_origins(reports: Sequence[dict]) -> str:
    """Means over the origins, by the window's distance from its origin."""
    if len(reports) == 1:
        return ""
    lines = ["", "", f"Mean over the {len(reports)} origins, by windows ahead"]
    metric = f"score@{max(reports[0]['k'])}"
    for ahead in range(max(len(report["windows"]) for report in reports)):
        windows = [report["windows"][ahead] for report in reports if len(report["windows"]) > ahead]
        names = recommenders_of(reports[0])
        means = {name: np.mean([_mean(window, name, metric) for window in windows]) for name in names}
        lines.append(f"  {ahead + 1}: " + ", ".join(f"{name} {mean:.4f}" for name, mean in means.items()))
    return "\n".join(lines)


def ensemble_text(report: dict) -> str:
    """The report of an [`Evaluation`] with `members`: each of them, what voting gains, and how far they agree."""
    ks, lines = report["k"], []
    metrics = [f"{metric}@{k}" for k in ks for metric in ("recall", "ndcg", "score")]
    for window in report["windows"]:
        figures = window["groups"][ALL_USERS]
        results = figures["results"]
        members = report["members"]
        baselines = [name for name in results if name not in (MODEL, MEMBERS, *members)]
        width = max(map(len, ["standard deviation", *results]))
        lines += [f"{window['name']}, {window['num_users']:,} users"]
        lines.append(f"  {'':{width}} " + "".join(f"{metric:>17}" for metric in metrics))
        rows = [(name, [_cell(results[name][metric], 4) for metric in metrics]) for name in (MODEL, MEMBERS, *members)]
        if len(members) > 1:
            means = np.array([[results[name][metric]["mean"] for metric in metrics] for name in members])
            rows.insert(2, ("standard deviation", [f"{value:.4f}" for value in means.std(0, ddof=1)]))
        rows += [(name, [_cell(results[name][metric], 4) for metric in metrics]) for name in baselines]
        names = {MODEL: "the ensemble"}
        lines += [f"  {names.get(name, name):{width}} " + "".join(f"{cell:>17}" for cell in row) for name, row in rows]
        best = max(members, key=lambda name: results[name][f"score@{ks[0]}"]["mean"])
        for other, label in ((MEMBERS, MEMBERS), (best, f"{best}, the best by score@{ks[0]}")):
            lines += ["", f"  Gain over {label}, paired 95% interval"]
            for metric in metrics:
                lead = figures["against"][other][metric]
                ends = f"{lead['low']:+10.4f}{lead['high']:+10.4f}" if "low" in lead else ""
                lines.append(f"    {metric:{width}} {lead['mean']:+.4f} {ends}")
        lines.append("")
        for k in ks if len(members) > 1 else ():
            pairs = [window["overlap"][a][b][f"overlap@{k}"] for a in members for b in members if a != b]
            lines.append(
                f"  Two members have {np.mean(pairs):.1%} of their {k} items in common, {min(pairs):.1%} to "
                f"{max(pairs):.1%}."
            )
    return "\n".join(lines)


def comparison_text(results: Sequence[dict], runs: Sequence[str], k: int | None = None) -> str:
    """The result of [`compare`] for runs with these names as text, for one k, by default the greatest of each pair."""
    lines = [f"a: {runs[0]}"]
    for number, window in enumerate(results):
        if not number or results[number - 1]["run"] != window["run"]:
            lines.append(f"b: {runs[1 + window['run']]}")
        shown = k or max(int(name.rpartition("@")[2]) for name in window["metrics"])
        names = [name for name in window["metrics"] if name.endswith(f"@{shown}")]
        width = max(map(len, names))
        left_out = f" ({window['left_out']:,} of one run only, left out)" if window["left_out"] else ""
        lines += ["", f"{window['name']}, origin {window['origin']}, {window['num_users']:,} users{left_out}"]
        lines.append(f"  {'':{width}} {'a':>8} {'b':>8} {'b - a':>9} {'95% interval':>20} {'p':>7}")
        for name in names:
            figures = window["metrics"][name]
            lead = figures["difference"]
            if lead["mean"] is None:
                continue
            lines.append(
                f"  {name:{width}} {figures['a']['mean']:>8.4f} {figures['b']['mean']:>8.4f} {lead['mean']:>+9.4f} "
                f"{lead['low']:>+10.4f}{lead['high']:>+10.4f} {figures['p_value']:>7.4f}"
            )
        lines.append("")
    lines.append("p: corrected for the number of runs, windows and metrics.")
    return "\n".join(lines)


def metrics_table(results: dict[str, dict[str, dict]], metrics: Sequence[str] | None = None) -> str:
    """
    The means of each recommender's metrics, as in an [`Evaluation`]'s report, as Markdown, one column each: the given
    metrics, or all except those of kinds of targets.
    """
    first = next(iter(results.values()))
    metrics = [name for name in metrics or first if name in first and name.partition("_")[0] not in KINDS]
    width = max(map(len, metrics))
    lines = [
        f"| {'':{width}} | {' | '.join(results)} |",
        f"|{'-' * (width + 2)}|{'|'.join('-' * (len(name) + 1) + ':' for name in results)}|",
    ]
    for metric in metrics:
        means = [figures.get(metric, {}).get("mean") for figures in results.values()]
        cells = ["" if mean is None else f"{mean:.4f}" for mean in means]
        line = " | ".join(f"{cell:>{len(name)}}" for name, cell in zip(results, cells))
        lines.append(f"| {metric:{width}} | {line} |")
    return "\n".join(lines)
