# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
import csv
import itertools
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from helpers import make, make_arguments, make_model, random_log

from bert4rec_hf import (
    Bert4RecEnsembleForMaskedLM,
    Bert4RecTrainer,
    DataArguments,
    DataCollatorForItemMasking,
    DataError,
    Split,
    compare,
    encode_evaluation,
    encode_training,
    evaluate,
    fit_processor,
    parse_windows,
    read_interactions,
    write_submission,
)
from bert4rec_hf.data.encoding import encode_histories
from bert4rec_hf.evaluation.baselines import fit_baselines
from bert4rec_hf.evaluation.evaluator import check_k, recommend_all
from bert4rec_hf.evaluation.reports import ensemble_text, metrics_table, verdicts


FILES = ("profile_data_file", "meta_data_file", "meta_data_plus_file")
EVENTS = [(user, item) for user, items in enumerate(("aabcb", "abcca", "aacbc", "bc")) for item in items]


def test_ranking_many_users_is_ranking_each(interactions, fitted):
    processor, split = fitted
    model = make_model(processor).eval()
    dataset = encode_evaluation(interactions, processor, split)
    ranked = recommend_all(model.recommend, dataset, processor, 7, batch_size=16)
    for row in range(0, len(dataset), 11):
        example = dataset[row]
        inputs = torch.tensor([example["input_ids"]]), None, torch.tensor([example["user_features"]])
        assert model.recommend(*inputs, k=7).item_ids[0].tolist() == ranked[row].tolist()


def results_of(evaluation, window=0, group="all users"):
    return evaluation.report["windows"][window]["groups"][group]["results"]


def test_evaluation_by_hand():
    interactions, split = make(EVENTS)
    processor = fit_processor(interactions, split)
    evaluation = evaluate(make_model(processor), processor, interactions, split, k=[1, 3], progress=False)
    (window,) = evaluation.report["windows"]
    assert window["num_users"] == window["num_targets"] == 3  # the user of two events only trains
    assert window["repeat_targets"] == pytest.approx(1) and window["unknown_targets"] == 0
    popular = {name: figure["mean"] for name, figure in results_of(evaluation)["most popular"].items()}
    assert popular["recall@1"] == pytest.approx(1 / 3)  # a, b, c for targets b, a, c
    assert popular["recall@3"] == popular["repeat_recall@3"] == 1 and popular["new_recall@3"] is None
    assert popular["mrr@3"] == pytest.approx((1 / 2 + 1 + 1 / 3) / 3)
    assert popular["ndcg@3"] == pytest.approx((1 / np.log2(3) + 1 + 1 / 2) / 3)
    assert popular["score@3"] == pytest.approx(0.75 + 0.25 * popular["ndcg@3"])
    # Three of the four training users have a, three b, and three c: aab abc aac bc
    assert popular["novelty@1"] == popular["novelty@3"] == pytest.approx(-np.log2(3 / 4))
    assert (popular["coverage@1"], popular["coverage@3"]) == pytest.approx((1 / 3, 1))
    assert (popular["gini@1"], popular["gini@3"]) == pytest.approx((2 / 3, 0))
    assert results_of(evaluation)["best possible"]["recall@1"]["mean"] == 1


def test_targets_outside_the_vocabulary_are_misses_and_bound_what_is_possible():
    interactions, split = make([(1, item) for item in "abaz"] + [(2, item) for item in "abaa"])
    processor = fit_processor(interactions, split)
    evaluation = evaluate(make_model(processor), processor, interactions, split, k=[2], progress=False)
    assert evaluation.report["windows"][0]["unknown_targets"] == 0.5
    results = results_of(evaluation)
    assert results["most popular"]["recall@2"]["mean"] == results["best possible"]["recall@2"]["mean"] == 0.5
    assert evaluation.users["num_unknown"].to_pylist()[:2] == [1, 0]


@pytest.mark.parametrize("history", ["frozen", "updated"])
@pytest.mark.parametrize("exclude_seen", [False, True])
def test_windows_are_what_counting_user_by_user_gives(history, exclude_seen):
    """Each figure of each user, group and window again, from the rows of the log."""
    interactions, split, _ = random_log()
    processor = fit_processor(interactions, split)
    windows = parse_windows("1M,10D,1W", split)
    k = 3
    evaluation = evaluate(
        *(None, processor, interactions, split, "test", [k], exclude_seen),
        progress=False,
        windows=windows,
        update_history=history == "updated",
    )
    rows = evaluation.users.filter(pc.equal(evaluation.users["recommender"], "own most frequent")).to_pylist()
    known = processor.vocabulary["item_ids"]
    item = np.array(interactions.item_ids.to_pylist())[interactions.item]
    raw_user = np.array(interactions.user_ids.to_pylist())[interactions.user]
    train = interactions.day < split.cutoff_day()
    popular = Counter(item[train].tolist())
    genre = [n % 3 if n % 5 else None for n in range(30)]
    means, in_all = {}, None
    for window in windows:
        targets = window.rows(interactions)
        before = interactions.day < window.first if history == "updated" else train
        users = sorted(set(raw_user[targets].tolist()))
        in_all = set(users) if in_all is None else in_all & set(users)
        of_window = {row["user"]: row for row in rows if row["window"] == window.name}
        assert list(of_window) == users
        for user in users:
            wanted = set(item[targets & (raw_user == user)].tolist())
            had = [i for i in item[before & (raw_user == user)].tolist() if i in known]
            own = Counter(had)
            ranked = sorted(known, key=lambda i: (-own[i], 0 if own[i] else -popular[i], i))
            ranked = [i for i in ranked if not (exclude_seen and own[i])][:k]
            row = of_window[user]
            hits = [i in wanted for i in ranked]
            assert row["num_targets"] == len(wanted) and row["num_history"] == len(had)
            assert row["num_unknown"] == len(wanted - set(known)) and row["num_repeat"] == len(wanted & set(had))
            assert row[f"recall@{k}"] == pytest.approx(sum(hits) / min(k, len(wanted)))
            discounts = 1 / np.log2(np.arange(2, k + 2))
            assert row[f"ndcg@{k}"] == pytest.approx(hits @ discounts / discounts[: min(k, len(wanted))].sum())
            for kind, those in (("repeat", wanted & set(had)), ("new", wanted & set(known) - set(had))):
                found = sum(i in those for i in ranked)
                expected = found / min(k, len(those)) if those else np.nan
                assert row[f"{kind}_recall@{k}"] == pytest.approx(expected, nan_ok=True)
            shares = [len(set(raw_user[train & (item == i)])) / len(set(raw_user[train])) for i in ranked]
            assert row[f"novelty@{k}"] == pytest.approx(-np.log2(shares).mean())
            alike = [genre[i] == genre[j] is not None for n, i in enumerate(ranked) for j in ranked[:n]]
            assert row[f"diversity@{k}"] == pytest.approx(1 - np.mean(alike))
            means.setdefault(window.name, {})[user] = row[f"recall@{k}"], bool(had)
    for number, window in enumerate(windows):
        users = means[window.name]
        groups = evaluation.report["windows"][number]["groups"]
        expected = {
            "all users": [value for value, _ in users.values()],
            "users with history": [value for value, has in users.values() if has],
            "users of all windows": [value for user, (value, _) in users.items() if user in in_all],
        }
        assert set(groups) <= set(expected) and "users of all windows" in groups
        for group, figures in groups.items():
            figure = figures["results"]["own most frequent"][f"recall@{k}"]
            assert figures["num_users"] == len(expected[group])
            assert figure["mean"] == pytest.approx(np.mean(expected[group]))
            assert figure["low"] <= figure["mean"] <= figure["high"]


def test_shuffling_what_comes_after_the_cut_off_changes_nothing_before(tmp_path):
    """The vocabulary, the training rows, the batches, the weights, and the lists of a frozen history."""
    interactions, split, log = random_log()
    later = np.flatnonzero(log["log_time"] >= np.datetime64("2022-04-01"))
    generator = np.random.default_rng(1)
    shuffled = {name: column.copy() for name, column in log.items()}
    for name in ("profile_id", "album_id"):
        shuffled[name][later] = generator.permutation(log[name][later])
    shuffled["profile_id"][later[:20]] = -generator.integers(1, 9, size=20)  # users and items that sort before all
    shuffled["album_id"][later[20:40]] = -generator.integers(1, 9, size=20)
    outcomes = []
    for rows in (log, shuffled):
        interactions = read_interactions(
            DataArguments(item_features=[], user_features=[], **dict.fromkeys(FILES, "none")), pa.table(rows)
        )
        processor = fit_processor(interactions, split)
        dataset = encode_training(interactions, processor, split)
        model = make_model(processor)
        collator = DataCollatorForItemMasking(processor, max_length=12)
        arguments = make_arguments(tmp_path, max_steps=4, learning_rate=1e-2)
        Bert4RecTrainer(
            model, arguments, train_dataset=dataset, data_collator=collator, processing_class=processor
        ).train()
        train = interactions.day < split.cutoff_day()
        recommenders = {"model": model.eval().recommend, **fit_baselines(interactions, processor, train)}
        asked = encode_evaluation(interactions, processor, split)
        users = interactions.user_ids.take(pa.array(asked["row"])).to_pylist()
        lists = {
            name: dict(zip(users, recommend_all(recommend, asked, processor, 5).tolist()))
            for name, recommend in recommenders.items()
        }
        outcomes.append((processor.vocabulary, dataset[:], model.state_dict(), lists))
    (vocabulary, rows, weights, lists), again = outcomes
    assert vocabulary == again[0] and rows == again[1]
    assert all(values.equal(again[2][name]) for name, values in weights.items())
    for name, lists_of_users in lists.items():
        same_users = lists_of_users.keys() & again[3][name].keys()
        assert len(same_users) > 20
        assert all(lists_of_users[user] == again[3][name][user] for user in same_users)


def test_a_model_that_was_trained_on_a_test_row_is_refused():
    interactions, split, _ = random_log()
    later = Split("temporal", "2022-05-01")
    processor = fit_processor(interactions, later)
    with pytest.raises(DataError, match=r"test rows are training rows .*2022-05-01.* the first of them user"):
        evaluate(make_model(processor), processor, interactions, split, k=[3], progress=False)
    for trained in (Split("none"), Split("leave_one_out")):
        processor = fit_processor(interactions, trained)
        with pytest.raises(DataError, match="test rows are training rows"):
            evaluate(None, processor, interactions, split, k=[3], progress=False)
    earlier = fit_processor(interactions, Split("temporal", "2022-03-01"))
    evaluate(make_model(earlier), earlier, interactions, split, k=[3], progress=False)  # stale, but fair


def test_a_window_without_a_row_is_refused():
    interactions, split, _ = random_log()
    processor = fit_processor(interactions, split)
    windows = parse_windows("1M,1Y".replace("Y", "M"), split) + parse_windows("9M,1M", split)[1:]
    with pytest.raises(DataError, match="nobody is left to evaluate.* in 2023-01-01..2023-01-31"):
        evaluate(None, processor, interactions, split, k=[3], windows=windows, progress=False)


def test_two_runs_are_compared_user_by_user():
    interactions, split, _ = random_log()
    processor = fit_processor(interactions, split)
    windows = parse_windows("1M,1M", split)
    users = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        model = make_model(processor)
        torch.nn.init.normal_(model.decoder.bias)
        users.append(evaluate(model, processor, interactions, split, k=[5], windows=windows, progress=False).users)
    same = compare(users[0], users[0])
    for window in same:
        assert window["metrics"]["recall@5"]["difference"] == {"mean": 0, "low": 0, "high": 0}
        assert window["metrics"]["recall@5"]["p_value"] == 1 and window["left_out"] == 0
    compared = compare(*users)
    assert [window["name"] for window in compared] == [window.name for window in windows]
    tables = [table.filter(pc.equal(table["recommender"], "BERT4Rec")) for table in users]
    for window in compared:
        of_window = [table.filter(pc.equal(table["window"], window["name"])) for table in tables]
        values = [table["recall@5"].to_numpy() for table in of_window]
        figures = window["metrics"]["recall@5"]
        assert figures["difference"]["mean"] == pytest.approx((values[1] - values[0]).mean())
        # Paired: narrower than the two intervals apart would allow, as wide as the differences spread
        width = figures["difference"]["high"] - figures["difference"]["low"]
        assert width == pytest.approx(3.92 * (values[1] - values[0]).std() / len(values[0]) ** 0.5, rel=0.2)
    some = users[1].filter(pc.not_equal(users[1]["user"], users[1]["user"][0]))
    assert compare(users[0], some)[0]["left_out"] == 1
    other = users[1].set_column(
        users[1].column_names.index("num_targets"), "num_targets", pc.add(users[1]["num_targets"], 1)
    )
    with pytest.raises(DataError, match="targets in .* evaluate both on the same log"):
        compare(users[0], other)
    with pytest.raises(DataError, match="no metric or no window"):
        compare(users[0], users[1].drop_columns([name for name in users[1].column_names if "@" in name]))


def test_runs_of_several_seeds_are_compared_with_a_first_one():
    interactions, split, _ = random_log()
    processor = fit_processor(interactions, split)
    tables = []
    for seed in range(4):
        torch.manual_seed(seed)
        model = make_model(processor)
        torch.nn.init.normal_(model.decoder.bias)
        tables.append(evaluate(model, processor, interactions, split, k=[5], progress=False, num_rounds=0).users)
    some = tables[3].filter(pc.not_equal(tables[3]["user"], tables[3]["user"][0]))
    both, one = compare(tables[0], tables[1:3], [some], num_rounds=300)
    assert [both["run"], one["run"], both["left_out"], one["left_out"]] == [0, 1, 0, 1]
    figures = both["metrics"]["recall@5"]
    values = [t.filter(pc.equal(t["recommender"], "BERT4Rec"))["recall@5"].to_numpy() for t in tables]
    assert figures["a"]["mean"] == pytest.approx(values[0].mean())
    assert figures["b"]["mean"] == pytest.approx(np.mean(values[1:3]))
    # Seeds that do not differ add nothing to how the users do
    twice, once = (compare(tables[0], run, num_rounds=300)[0]["metrics"] for run in ([tables[1]] * 2, tables[1]))
    for metric, figures in once.items():
        for part in ("low", "high"):
            if figures["difference"][part] is not None:
                assert twice[metric]["difference"][part] == pytest.approx(figures["difference"][part])
    with pytest.raises(DataError, match="num_rounds is 0"):
        compare(tables[0], tables[1], num_rounds=0)


def test_origins_that_share_a_window_are_compared_apart():
    interactions, _, _ = random_log()
    runs = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        tables = []
        for cutoff, windows in (("2022-03-01", "1M,1M"), ("2022-04-01", "1M")):
            split = Split("temporal", cutoff)
            processor = fit_processor(interactions, split)
            windows = parse_windows(windows, split)
            model = make_model(processor)
            torch.nn.init.normal_(model.decoder.bias)
            tables.append(
                evaluate(model, processor, interactions, split, k=[5], windows=windows, progress=False).users
            )
        runs.append(tables)
    together = compare(*(pa.concat_tables(tables, promote_options="default") for tables in runs))
    apart = [window for tables in zip(*runs) for window in compare(*tables)]
    assert [window["origin"] for window in together] == ["2022-03-01", "2022-03-01", "2022-04-01"]
    assert together[1]["name"] == together[2]["name"]
    for one, other in zip(together, apart):
        for metric in ("recall@5", "score@5"):  # p-values are corrected for the number of windows
            one_figures, other_figures = (window["metrics"][metric] for window in (one, other))
            assert one_figures["difference"] == other_figures["difference"] and one["num_users"] == other["num_users"]


def test_table_has_a_column_for_each_recommender():
    interactions, split = make(EVENTS)
    processor = fit_processor(interactions, split)
    evaluation = evaluate(make_model(processor), processor, interactions, split, k=[1], progress=False)
    header, rule, *rows = metrics_table(results_of(evaluation)).splitlines()
    assert header.split(" | ")[1:] == [
        *("BERT4Rec", "most popular", "popular in the last 30 days", "own most frequent"),
        *("own most frequent, then popular", "Markov chain", "best possible |"),
    ]
    names = [row.split()[1] for row in rows]
    accuracy = ["recall@1", "ndcg@1", "hit_rate@1", "mrr@1", "map@1", "score@1"]
    assert names == [*accuracy, "novelty@1", "coverage@1", "gini@1"]
    assert all(line.count("|") == 9 for line in (header, rule, *rows))


@pytest.mark.parametrize("k", [[0], [10, 51], []])
def test_k_that_does_not_fit_is_refused(processor, k):
    with pytest.raises(DataError, match="from 1 to 50, the number of items"):
        check_k(k, processor)


def test_k_beyond_the_unseen_items_of_a_user_is_refused():
    interactions, split = make(EVENTS)
    processor = fit_processor(interactions, split)
    with pytest.raises(DataError, match="k is 3; it must be from 1 to 0, .* has not seen"):
        evaluate(make_model(processor), processor, interactions, split, k=[3], exclude_seen=True, progress=False)


@pytest.mark.parametrize("id_type", [int, str])
def test_submission_is_in_the_order_of_its_file(tmp_path, id_type):
    items = {"a": 7, "b": 5, "c": 9} if id_type is int else {"a": "가'1", "b": "b\\", "c": "c,d"}
    interactions, split = make([(user + 10, items[item]) for user, item in EVENTS])
    processor = fit_processor(interactions, split)
    model = make_model(processor).eval()
    order = ["13", "abc", "10", "12", "007", "13"]
    (tmp_path / "sample.csv").write_text("profile_id,predicted_list\n" + "".join(f"{user},\n" for user in order))
    output_file = tmp_path / "submission.csv"
    counts = write_submission(
        model, processor, interactions, str(tmp_path / "sample.csv"), str(output_file), k=2, exclude_seen=False
    )
    with open(output_file, encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["profile_id"] for row in rows] == order
    for row in rows:
        known = [str(user) for user in interactions.user_ids.to_pylist()]
        code = known.index(row["profile_id"]) if row["profile_id"] in known else -1
        history = encode_histories(interactions, processor, [code])[0]["input_ids"]
        expected = processor.decode(model.recommend(torch.tensor([history], dtype=torch.long), k=2).item_ids)[0]
        assert eval(row["predicted_list"]) == expected
        assert all(isinstance(item, id_type) for item in expected)
    assert counts["profiles written"] == 6 and counts["of them in no table, recommended from nothing"] == 2
    assert not (tmp_path / "submission.csv.part").exists()


def test_the_vectorised_figures_do_not_need_a_feature_or_a_second_item():
    interactions, split = make(EVENTS)
    processor = fit_processor(interactions, split)
    results = results_of(evaluate(None, processor, interactions, split, k=[1, 2], num_rounds=0, progress=False))
    assert "diversity@2" not in results["most popular"]
    assert results["most popular"]["recall@1"] == {"mean": pytest.approx(1 / 3)}  # and no interval


def test_members_are_looked_at_beside_the_ensemble(interactions, fitted):
    processor, split = fitted
    members = [make_model(processor, num_hidden_layers=layers, initializer_range=0.5).eval() for layers in (1, 2, 3)]
    ensemble = Bert4RecEnsembleForMaskedLM.from_members(members, processor)
    names = {f"number {n}": ensemble.subset([n]) for n in range(3)}
    evaluation = evaluate(ensemble, processor, interactions, split, k=[5, 10], progress=False, members=names)
    (window,) = evaluation.report["windows"]
    figures = window["groups"]["all users"]
    for name, member in zip(names, members):
        alone = evaluate(member, processor, interactions, split, k=[5, 10], progress=False, num_rounds=0)
        expected = alone.report["windows"][0]["groups"]["all users"]["results"]["BERT4Rec"]
        assert {key: value["mean"] for key, value in figures["results"][name].items()} == {
            key: pytest.approx(value["mean"]) for key, value in expected.items()
        }
    users = evaluation.users.to_pandas().set_index(["recommender", "user"])["ndcg@10"]
    of_members = sum(users[name] for name in names) / 3
    lead = figures["against"]["mean of the members"]["ndcg@10"]
    assert lead["mean"] == pytest.approx((users["BERT4Rec"] - of_members).mean())
    assert lead["low"] < lead["mean"] < lead["high"]

    dataset = encode_evaluation(interactions, processor, split)
    lists = [recommend_all(model.recommend, dataset, processor, 10) for model in (ensemble, *members)]
    for a, b in itertools.permutations(range(4), 2):
        common = np.mean([len({*x[:5]} & {*y[:5]}) / 5 for x, y in zip(lists[a], lists[b])])
        called = ["BERT4Rec", *names]
        assert window["overlap"][called[a]][called[b]]["overlap@5"] == pytest.approx(common)
    text = ensemble_text(evaluation.report)
    assert "number 2" in text and "Two members have" in text and f"{lead['mean']:+.4f}" in text
    assert not any("number" in line for line in verdicts(evaluation.report))


@pytest.mark.parametrize("taken", ["BERT4Rec", "best possible", "mean of the members", "most popular"])
def test_a_member_takes_no_other_row(interactions, fitted, taken):
    processor, split = fitted
    members = [make_model(processor, num_hidden_layers=layers, initializer_range=0.5).eval() for layers in (1, 2, 3)]
    ensemble = Bert4RecEnsembleForMaskedLM.from_members(members[:2], processor)

    def report_of(model, **more):
        return evaluate(model, *(processor, interactions, split), k=[10], num_rounds=0, progress=False, **more).report

    def results_of(report):
        return report["windows"][0]["groups"]["all users"]["results"]

    named = {taken: members[0], f"member {taken}": members[1], "other": members[2]}
    report = report_of(ensemble, members=named)
    assert report["members"] == [f"member {taken}", f"member member {taken}", "other"]
    results, alone = results_of(report), results_of(report_of(ensemble))
    assert all(results[name]["ndcg@10"] == alone[name]["ndcg@10"] for name in alone)
    for name, member in zip(report["members"], members):
        assert results[name]["ndcg@10"] == results_of(report_of(member))["BERT4Rec"]["ndcg@10"]
