# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
import json
import sys

import pyarrow.parquet as pq
import pytest
from helpers import make_model, random_log

from bert4rec_hf import DataError, analyze, compare, evaluate, fit_processor, parse_windows
from bert4rec_hf.evaluation.reports import (
    comparison_text,
    evaluation_text,
    read_users,
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
    assert (tmp_path / "a" / "evaluation.txt").read_text(encoding="utf-8") == text + "\n"
    assert "Mean over the 2 origins" in text
    assert json.loads((tmp_path / "a" / "evaluation.json").read_text()) == [evaluation.report] * 2
    write_evaluation_report(str(tmp_path / "b"), [evaluation])
    users = read_users(str(tmp_path / "b"))
    assert users.num_rows == evaluation.users.num_rows and users["split"][0].as_py() == evaluation.report["split"]
    compared = compare(users, read_users(str(tmp_path / "b")))
    text = comparison_text(compared, "first", "second")
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
