# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
import json
import sys

import pyarrow.parquet as pq
import pytest
from helpers import make_model, random_log
from matplotlib.figure import Figure

from bert4rec_hf import DataError, analyze, compare, evaluate, fit_processor, parse_windows
from bert4rec_hf.evaluation.plots import draw_evaluation
from bert4rec_hf.evaluation.reports import (
    comparison_text,
    evaluation_text,
    in_short,
    read_users,
    screen_text,
    verdicts,
    windows_table,
    write_data_report,
    write_evaluation_report,
)


@pytest.fixture(scope="module")
def evaluation():
    interactions, split, _ = random_log()
    processor = fit_processor(interactions, split)
    windows = parse_windows("2W,2W", split)
    return evaluate(make_model(processor), processor, interactions, split, k=[3, 5], windows=windows, progress=False)


def figures(mean, low=None, high=None):
    return {"score@5": {"mean": mean} if low is None else {"mean": mean, "low": low, "high": high}}


def report(leads):
    """A report of one window in which the model has .3 and leads the rules by so much."""
    results = {"BERT4Rec": figures(0.3)} | {name: figures(0.3 - lead[0]) for name, lead in leads.items()}
    against = {name: figures(*lead) for name, lead in leads.items()}
    window = {"name": "May", "groups": {"all users": {"num_users": 9, "results": results, "against": against}}}
    return {"k": [3, 5], "windows": [window]}


def test_a_model_that_loses_to_a_rule_says_so():
    leads = {"far behind": (0.2, 0.1, 0.3), "behind": (0.01, -0.01, 0.03), "ahead": (-0.1, -0.2, -0.05)}
    leads["a little ahead"] = (-0.01, -0.02, 0.01)
    assert verdicts(report(leads)) == [
        "May: BERT4Rec 0.300 LOSES to ahead 0.400 (-0.100, 95% -0.200 to -0.050); "
        "may be no better than behind 0.290 (+0.010, 95% -0.010 to +0.030), "
        "a little ahead 0.310 (-0.010, 95% -0.020 to +0.010)"
    ]
    assert verdicts(report({"far behind": (0.2, 0.1, 0.3)})) == []
    assert "LOSES to rule" in verdicts(report({"rule": (-0.1,)}))[0]  # without intervals


def test_the_page_has_every_window_and_group(evaluation):
    text = evaluation_text([evaluation.report])
    for window in evaluation.report["windows"]:
        assert f"  {window['name']}: " in text
        score = window["groups"]["all users"]["results"]["BERT4Rec"]["score@5"]
        assert f"| {score['mean']:.3f} ±{(score['high'] - score['low']) / 2:.3f} |" in text
    assert "users of all windows" in text and "nan" not in text and "None" not in text
    assert len(text.splitlines()) < 60  # a page
    table = windows_table(evaluation.report, metric="repeat_recall@3").splitlines()
    assert len(table) == 4 and table[0].startswith("| repeat_recall@3, all users | users | BERT4Rec |")


def test_reports_are_written_and_read_back(evaluation, tmp_path):
    text = write_evaluation_report(str(tmp_path / "a"), [evaluation, evaluation])
    written = (tmp_path / "a" / "evaluation.txt").read_text(encoding="utf-8")
    assert written.startswith(text) and written.count("\nAll metrics, ") == 4
    assert "Mean over the 2 origins" in text
    assert json.loads((tmp_path / "a" / "evaluation.json").read_text()) == [evaluation.report] * 2
    write_evaluation_report(str(tmp_path / "b"), [evaluation])
    users = read_users(str(tmp_path / "b"))
    assert users.num_rows == evaluation.users.num_rows and users["split"][0].as_py() == evaluation.report["split"]
    compared = compare(users, read_users(str(tmp_path / "b")))
    text = comparison_text(compared, ["first", "second"])
    assert text.startswith("a: first\nb: second\n") and "recall@5" in text and "recall@3" not in text
    with pytest.raises(DataError, match="nothing has no evaluation_users.parquet; make it with"):
        read_users("nothing")
    pq.write_table(users.drop_columns("origin"), tmp_path / "b" / "evaluation_users.parquet")
    with pytest.raises(DataError, match="has no column 'origin'; make it anew"):
        read_users(str(tmp_path / "b"))
    (tmp_path / "b" / "evaluation_users.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="b/evaluation_users.parquet: "):
        read_users(str(tmp_path / "b"))


def test_without_matplotlib_there_is_no_picture(evaluation, tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setattr("bert4rec_hf.evaluation.reports.logger.propagate", True, raising=False)
    write_evaluation_report(str(tmp_path), [evaluation])
    assert {path.name for path in tmp_path.iterdir()} == {
        *("evaluation.txt", "evaluation.json", "evaluation_users.parquet"),
    }


@pytest.mark.parametrize("split_of", ["none", "leave_one_out", "temporal"])
def test_data_of_any_split_is_drawn(tmp_path, split_of):
    interactions, split, _ = random_log()
    split = split if split_of == "temporal" else type(split)(split_of)
    text = write_data_report(str(tmp_path), analyze(interactions, split))
    assert "2022-04 " in text and (tmp_path / "data.png").stat().st_size > 10_000
    assert ("What a model trained" in text) == (split_of != "none")


def report_of(scores, unknown=0.1, **kwargs):
    """A report of one window, in which every metric of a recommender has one value."""
    names = ("recall", "ndcg", "hit_rate", "mrr", "map", "score", "coverage", "repeat_recall", "new_recall")
    results = {name: {f"{m}@{k}": {"mean": score} for m in names for k in (5, 10)} for name, score in scores.items()}
    figures = {"num_users": 7, "results": results, "against": {}}
    window = {"name": "test", "num_users": 7, "unknown_targets": unknown, "groups": {"all users": figures}}
    return {"k": [5, 10], "windows": [window], **kwargs}


def test_it_begins_with_how_good_it_is_and_beside_what():
    better = in_short(report_of({"BERT4Rec": 0.5, "most popular": 0.2, "Markov chain": 0.25, "best possible": 0.9}))
    assert better == [
        "BERT4Rec: 50 of 100 users take something from their list of 10; the lists hold 50% of what users take, 2.0 "
        "times as much as the best simple rule.",
        "The best simple rule, 'Markov chain', reaches 25 of 100 users and 25% of what they take.",
        "Lists that knew the future would hold 90%; 10.0% of what users take is not in the catalogue of the "
        "training rows.",
    ]
    worse = in_short(report_of({"BERT4Rec": 0.2, "most popular": 0.3, "best possible": 0.9}, model="mine"))
    assert worse[0].startswith("mine: 20 of 100") and worse[1] == "That is NOT better than the best simple rule."
    none = in_short(report_of({"most popular": 0.3, "best possible": 0.9}))
    assert none[0].startswith("The best simple rule, 'most popular'")
    assert len(in_short(report_of({"BERT4Rec": 0.2}))) == 1


def test_the_screen_has_one_table_of_at_most_eight_metrics():
    lines = screen_text(report_of({"BERT4Rec": 0.5, "most popular": 0.2, "best possible": 0.9})).splitlines()
    header = lines[lines.index("") + 1].split()
    assert header == [
        "recall@5",
        "ndcg@5",
        *(f"{m}@10" for m in ("recall", "ndcg", "hit_rate", "mrr", "score", "coverage")),
    ]
    assert [line.split("  ")[0] for line in lines[lines.index("") + 2 :]] == [
        "BERT4Rec",
        "most popular",
        "best possible",
    ]
    assert all(len(line) <= 119 for line in lines[3:])


def test_one_window_is_drawn_as_bars():
    figure = Figure()
    draw_evaluation(figure, [report_of({"BERT4Rec": 0.5, "most popular": 0.2, "best possible": 0.9})])
    for axes, names in zip(figure.axes, (3, 3, 2, 2)):  # of a kind of target no list is the best possible
        widths = [bar.get_width() for bar in axes.patches]
        assert widths == [0.9, 0.2, 0.5][3 - names :] and not [
            line for line in axes.lines if len(line.get_xdata()) > names
        ]
        assert [tick.get_text() for tick in axes.get_yticklabels()][-1] == "BERT4Rec"
