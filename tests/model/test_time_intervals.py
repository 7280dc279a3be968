# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""The time between events and the moment that is asked for, as the model reads them."""

import datetime

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import KINDS, make_collator, make_model, make_processor, model_of
from huggingface_hub.errors import StrictDataclassError
from torch.testing import assert_close

from bert4rec_hf import (
    Bert4RecConfig,
    Bert4RecEnsembleForMaskedLM,
    Bert4RecProcessor,
    DataCollatorForHistories,
    DataError,
    ItemRecommendationPipeline,
    RankingEvaluator,
)
from bert4rec_hf.model.masking_bert4rec import NUM_TIME_BUCKETS, time_buckets
from bert4rec_hf.model.vocabulary_bert4rec import to_seconds
from bert4rec_hf.training.distillation import Teacher


ALL = pytest.mark.parametrize("kind", [*KINDS, "ensemble"])
NOON = 1_700_000_000
TIMES = [NOON + gap for gap in (0, 0, 60, 7200, 7201, 90_000, 10**6)]


@pytest.fixture(params=["input", "attention"])
def processor(request):
    return Bert4RecProcessor(make_processor().vocabulary, data={"time_intervals": request.param})


@pytest.fixture
def inputs(processor):
    histories = [[f"i{n}" for n in range(7)], ["i9", "i3"]]
    return dict(processor(histories, times=[TIMES, [NOON, None]], request_times=[NOON + 2 * 10**6, NOON + 5]))


def test_buckets_are_known_unknown_and_a_third_wider_each():
    seconds = torch.tensor([0, 1, 2, 60, 3600, 86_400, 30 * 86_400, 365 * 86_400, 10**10])
    # 1 + floor(ln(seconds + 1) / 0.301), the last one is for all that is longer
    assert time_buckets(NOON + seconds, torch.tensor(NOON)).tolist() == [1, 3, 4, 14, 28, 38, 50, 58, 63]
    assert time_buckets(torch.tensor(NOON), NOON + seconds[:3]).tolist() == [1, 3, 4]
    unknown = torch.tensor([0, -5])
    assert time_buckets(unknown, torch.tensor(NOON)).tolist() == time_buckets(torch.tensor(NOON), unknown).tolist()
    assert time_buckets(unknown, unknown).tolist() == [0, 0]
    assert NUM_TIME_BUCKETS == 64


@pytest.mark.parametrize("is_causal", [False, True])
def test_the_embedding_of_a_gap_and_the_bias_are_those_computed_by_hand(processor, is_causal):
    model = make_model(processor, is_causal=is_causal, num_hidden_layers=1, attn_implementation="eager").eval()
    moments = torch.tensor([[NOON, NOON + 60, 0, NOON + 100]])
    input_ids, seen = torch.tensor([[5, 6, 7, 8]]), {}
    model.model.embeddings.norm.register_forward_hook(lambda module, args, output: seen.update(embedded=args[0]))
    model.model.layers[0].attention.register_forward_hook(
        lambda module, args, output: seen.update(mask=args[1], weights=output[1])
    )
    with torch.no_grad():
        if model.model.time_bias is not None:
            model.model.time_bias.weight.copy_(torch.randn(NUM_TIME_BUCKETS, 2))
        model(input_ids, timestamps=moments)
    gaps = model.model.embeddings.time_embeddings.weight[[0, 14, 0, 0]]  # after 60 seconds, else unknown
    assert_close(seen["embedded"][0], model.get_input_embeddings()(input_ids)[0] + gaps)
    if model.model.time_bias is None:
        return
    table = model.model.time_bias.weight
    # The time between what a query is about and when the event at the key was: a causal input is the event before
    keys = [0, NOON, NOON + 60, 0] if is_causal else moments[0].tolist()
    for query, moment in enumerate(moments[0].tolist()):
        for key, event in enumerate(keys):
            bucket = 1 + int(np.log1p(abs(moment - event)) / 0.301) if moment and event else 0
            expected = table[bucket] if key <= query or not is_causal else torch.full((2,), torch.finfo().min)
            assert_close(seen["mask"][0, :, query, key], expected, atol=1e-6, rtol=1e-6)


@ALL
def test_no_times_are_unknown_times(processor, inputs, kind):
    model = model_of(processor, kind)
    known = model.score(**inputs)
    unknown = model.score(**(inputs | {"timestamps": torch.zeros_like(inputs["timestamps"])}))
    del inputs["timestamps"]
    assert torch.equal(model.score(**inputs), unknown)
    assert (known - unknown)[:, 3:].nan_to_num().abs().max() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_trained_is_what_is_served(processor, kind):
    """The last position of a training batch is the state that the history before it is recommended by."""
    model = model_of(processor, kind)
    row = {"input_ids": [*range(5, 12)], "timestamps": TIMES, "row": 0}
    collator = make_collator(processor, mlm=not model.config.is_causal, mlm_probability=0.0, last_item_probability=1.0)
    for epoch in range(200):  # until nothing is hidden
        collator.set_epoch(epoch)
        batch = collator([row])
        if (batch["timestamps"] > 0).all():
            break
    assert batch["timestamps"].tolist() == [TIMES] and batch["labels"][0, -1] == 11
    history = {"input_ids": torch.tensor([row["input_ids"][:-1]]), "timestamps": torch.tensor([TIMES])}
    outputs = model.model(**{name: batch[name] for name in ("input_ids", "attention_mask", "timestamps")})
    assert_close(outputs[0][:, -1], model.next_item_states(**history)[0], atol=1e-5, rtol=0)


def test_times_are_hidden_in_part_of_the_rows():
    processor = Bert4RecProcessor(make_processor().vocabulary, data={"time_intervals": "input"})
    rows = [{"input_ids": [*range(3, 19)], "timestamps": [NOON + n for n in range(16)], "row": n} for n in range(2000)]
    for mlm in (True, False):
        collator = make_collator(processor, mlm=mlm)
        collator.set_epoch(0)
        share = (collator(rows)["timestamps"] == 0).float().mean(1)
        assert 0.2 < (share == 0).float().mean() < 0.3 and 0.2 < (share == 1).float().mean() < 0.3
        assert 0.45 < share.mean() < 0.55
        again = make_collator(processor, mlm=mlm)
        again.set_epoch(0)
        assert torch.equal(again(rows[7:8])["timestamps"], collator(rows[7:8])["timestamps"])


def test_one_mask_for_the_last_items_has_the_moment_of_the_first():
    processor = Bert4RecProcessor(make_processor().vocabulary, data={"time_intervals": "input"})
    collator = make_collator(processor, last_item_probability=1.0, last_items=5, mlm=True)
    rows = [{"input_ids": [*range(3, 13)], "timestamps": [NOON + n for n in range(10)]} for _ in range(200)]
    batch = collator(rows)
    place = batch["target_positions"][:, 0]
    moments = batch["timestamps"].gather(1, place[:, None])[:, 0]
    assert torch.equal(moments[moments > 0], (NOON + place)[moments > 0]) and (moments > 0).any()
    assert not batch["timestamps"][batch["attention_mask"] == 0].any()


@ALL
def test_long_histories_are_cut_with_their_times(processor, kind):
    model = model_of(processor, kind)
    history = torch.arange(3, 43)[None]
    moments = NOON + 60 * torch.arange(41)[None] ** 2
    if kind == "unseen":  # what was before is left out all the same
        cut = model.next_item_states(history[:, -16:], timestamps=moments[:, -17:])[0]
        return assert_close(model.next_item_states(history, timestamps=moments)[0], cut)
    if kind in ("masked", "causal"):
        whole, cut = (
            model.score(history, timestamps=moments),
            model.score(history[:, -16:], timestamps=moments[:, -17:]),
        )
        assert_close(whole, cut)
    padded = torch.nn.functional.pad(history, (4, 0)), torch.nn.functional.pad(moments, (4, 0))
    assert_close(model.score(padded[0], timestamps=padded[1]), model.score(history, timestamps=moments))


@ALL
def test_lists_reasons_and_vectors_read_the_times(processor, inputs, kind):
    model = model_of(processor, kind)
    lists, scores = model.recommend(**inputs, k=5), model.score(**inputs)
    assert_close(scores.gather(1, lists.item_ids), lists.scores)
    one = {name: values[:1] for name, values in inputs.items()}
    items = torch.tensor([20, 30])
    explained = model.explain(item_ids=items, **one)
    assert_close(explained.scores, scores[0, items])
    without = {"input_ids": one["input_ids"][:, 1:], "timestamps": one["timestamps"][:, 1:]}
    assert_close(explained.raised[:, 0], scores[0, items] - model.score(**without)[0, items], atol=1e-5, rtol=0)
    if kind in ("masked", "causal"):
        products = model.user_vectors(**inputs) @ model.item_vectors().T
        assert_close(products[:, 3:].log_softmax(-1), scores[:, 3:], atol=1e-5, rtol=0)


def test_a_batch_of_the_collator_is_that_of_the_processor(processor):
    model = model_of(processor, "causal")
    rows = [{"input_ids": [3 + n for n in range(7)], "timestamps": TIMES, "request_time": NOON + 2 * 10**6}]
    rows.append({"input_ids": [12, 6], "timestamps": [NOON, 0], "request_time": NOON + 5})
    batch = DataCollatorForHistories(processor)(rows)
    assert batch["timestamps"].tolist() == [[*TIMES, NOON + 2 * 10**6], [NOON, 0, 0, 0, 0, 0, 0, NOON + 5]]
    inputs = processor([[f"i{n}" for n in range(7)], ["i9", "i3"]], times=[TIMES, [NOON, None]],
                       request_times=[NOON + 2 * 10**6, NOON + 5])  # fmt: skip
    assert_close(model.score(**batch), model.score(**inputs))


def test_the_pipeline_takes_times_of_any_kind(processor):
    recommend = ItemRecommendationPipeline(model=model_of(processor, "masked"), processor=processor)
    moment = datetime.datetime(2023, 11, 14, 22, 13, 20, tzinfo=datetime.UTC)
    users = [
        {"history": ["i1", "other", "i2"], "times": [NOON, 3, NOON + 60], "request_time": moment},
        {"history": ["i1", "i2"], "times": np.array([NOON, NOON + 60]), "request_time": NOON},
        {"history": ["i5"], "times": [NOON - 90_000], "request_time": "2023-11-15T07:13:20+09:00"},
        {"history": ["i5"]},
    ]
    lists = [[item["score"] for item in items] for items in recommend(users, k=3, batch_size=4)]
    assert lists[0] == pytest.approx(lists[1], abs=1e-5) and lists[2] != pytest.approx(lists[3], abs=1e-5)
    alone = [[item["score"] for item in recommend(user, k=3)] for user in users]
    np.testing.assert_allclose(alone, lists, atol=1e-5)
    assert recommend.explain(users[0], "i7")["score"] > -100
    for user, message in (
        ({"history": ["i1"], "times": [1, 2]}, "1 events and 2 times"),
        ({"history": ["i1"], "times": 5}, "times is a list"),
        ({"history": ["i1"], "time": 5}, "perhaps with 'candidates', 'exclude', 'times' and 'request_time'"),
        ({"history": ["i1"], "request_time": 20220427155608}, "20220427155608 is no time: give seconds since 1970"),
        ({"history": ["i1"], "request_time": "noon"}, "'noon' is no time"),
    ):
        with pytest.raises(ValueError, match=message):
            recommend(user)


def test_seconds_of_all_that_is_a_time():
    moment = datetime.datetime(2022, 4, 27, 15, 56, 8, 500_000)
    seoul = datetime.timezone(datetime.timedelta(hours=9))
    for time in (moment, np.datetime64(moment), "2022-04-27T15:56:08.5", "2022-04-27 15:56:08Z", 1651074968.5):
        assert to_seconds(time) == 1651074968
    assert to_seconds(moment.replace(tzinfo=seoul)) == to_seconds("2022-04-28T00:56:08+18:00") == 1651074968 - 9 * 3600
    assert to_seconds("1651074968") == to_seconds("1651074968.5") == 1651074968
    assert to_seconds(datetime.date(2022, 4, 27)) == to_seconds("2022-04-27") == to_seconds("20220427") == 1651017600
    missing = (None, float("nan"), np.datetime64("NaT"), pd.NA, pd.NaT, -5, datetime.datetime(1960, 1, 1))
    assert [*map(to_seconds, missing)] == [0] * 7
    dates_as_numbers = (20220427, 202204271556, 20220427155608)
    for time in (True, "", [], {}, 10**12, float("inf"), "2022-04-27T25:00", np.array([1, 2]), *dates_as_numbers):
        with pytest.raises(ValueError, match="is no time: give seconds since 1970"):
            to_seconds(time)


def test_times_that_a_model_does_not_read_are_refused_or_told(inputs, caplog):
    model, processor = model_of(make_processor(), "masked"), make_processor()
    for method in (model.score, model.recommend):
        with pytest.raises(ValueError, match="does not read timestamps"):
            method(inputs["input_ids"], timestamps=inputs["timestamps"])
    assert "timestamps" not in processor([["i1"]], times=[[NOON]])


def test_timestamps_that_do_not_fit_are_refused(processor, inputs):
    model = model_of(processor, "masked")
    with pytest.raises(ValueError, match="needs a column more, the moment to recommend for"):
        model.recommend(inputs["input_ids"], timestamps=inputs["timestamps"][:, 1:])
    with pytest.raises(ValueError, match="timestamps must be a 2-d tensor of integers"):
        model.recommend(inputs["input_ids"], timestamps=inputs["timestamps"].float())
    with pytest.raises(ValueError, match="2 histories, the times of 1 and 2 moments"):
        processor([["i1"], ["i2"]], times=[[1]])
    with pytest.raises(
        StrictDataclassError, match="time_intervals is 'both'; it must be one of none, input, attention"
    ):
        Bert4RecConfig(time_intervals="both")


@pytest.mark.parametrize("kind", ["masked", "causal"])
def test_a_teacher_reads_the_times_of_its_students_batch(processor, kind):
    model = model_of(processor, kind)
    rows = [
        {"input_ids": [3 + n, 9, 20 + n, 7], "timestamps": [NOON, NOON + 60 * n, 10**10, 10**10]} for n in range(9)
    ]
    batch = make_collator(processor, mlm=kind == "masked")(rows)
    logits = model(**batch).logits[batch["labels"] != -100]
    logits[:, :3] = -torch.inf
    item_ids, probs = Teacher(model, processor, processor, 16, num_items=5).distribution(batch)
    expected = logits.softmax(-1).topk(5)
    assert torch.equal(item_ids, expected.indices)
    assert_close(probs, (expected.values / expected.values.sum(1, keepdim=True)).float(), atol=1e-5, rtol=0)


def test_a_bias_needs_an_attention_that_takes_it():
    processor = Bert4RecProcessor(make_processor().vocabulary, data={"time_intervals": "attention"})
    model = make_model(processor, attn_implementation="flex_attention").eval()
    with pytest.raises(ValueError, match="'attention' needs attn_implementation eager or sdpa, not flex_attention"):
        model.model.time_bias(None, torch.zeros(1, 2, dtype=torch.long))


def test_members_with_and_without_times_vote():
    vocabulary = make_processor().vocabulary
    kinds = ("none", "input", "attention")
    processors = {kind: Bert4RecProcessor(vocabulary, data={"time_intervals": kind}) for kind in kinds}
    members = [model_of(processor, "masked") for processor in processors.values()]
    for order in ((0, 1, 2), (2, 0, 1)):
        merged = Bert4RecProcessor.merge({kinds[n]: processors[kinds[n]] for n in order})
        assert merged.reads_times
        ensemble = Bert4RecEnsembleForMaskedLM.from_members([members[n] for n in order], merged)
        inputs = merged([["i1", "i2"]], times=[[NOON, NOON + 9]], request_times=[NOON + 99])
        without = {name: inputs[name] for name in ("input_ids", "attention_mask", "user_features")}
        votes = [member.score(**(without if n == 0 else inputs)).exp() for n, member in enumerate(members)]
        assert_close(ensemble.score(**inputs).exp(), torch.stack(votes).mean(0), atol=1e-5, rtol=0)
    student = processors["none"]
    with pytest.raises(DataError, match="the teacher reads times; train the student with --time_intervals too"):
        Teacher(members[1], processors["input"], student, 16)
    batch = make_collator(processors["input"], mlm=True)([{"input_ids": [3, 4, 5], "timestamps": [NOON] * 3}])
    assert len(Teacher(members[0], student, processors["input"], 16).distribution(batch)[0])


def test_rows_whose_times_are_missing_or_do_not_fit():
    processor = Bert4RecProcessor(make_processor().vocabulary, data={"time_intervals": "input"})
    rows = [{"input_ids": [3, 4, 5], "timestamps": None}, {"input_ids": [6, 7], "timestamps": [NOON, NOON + 9]}]
    rows.append({"input_ids": [8], "timestamps": [], "request_time": None})
    batch = DataCollatorForHistories(processor)(rows)
    assert batch["timestamps"].tolist() == [[0] * 4, [NOON, NOON + 9, 0, 0], [0] * 4]
    assert make_collator(processor)(rows)["timestamps"][[0, 2]].sum() == 0
    rows[0]["timestamps"] = [NOON] * 4
    for collator in (DataCollatorForHistories(processor), make_collator(processor)):
        with pytest.raises(DataError, match="row 0 of a batch has 3 items and 4 timestamps"):
            collator(rows)


def test_a_model_without_times_is_ranked_on_rows_that_have_them():
    plain = make_processor()
    same = {"input_ids": [3, 4], "timestamps": [NOON, NOON], "user_features": [0, 0], "relevant": [5]}
    rows = [{**same, "request_time": moment} for moment in (None, NOON)]
    model, timed = model_of(plain, "masked"), Bert4RecProcessor(plain.vocabulary, data={"time_intervals": "input"})
    assert len(RankingEvaluator(rows, plain, k=(5,)).rank(model)) == 2
    lists = RankingEvaluator(rows, timed, k=(5,)).rank(model_of(timed, "masked"))
    assert len(lists) == 2 and not (lists[0] == lists[1]).all()


@pytest.mark.parametrize("change", [lambda t: t[:, :1], lambda t: t[:1], lambda t: t.float(), lambda t: t[0]])
def test_forward_refuses_timestamps_that_would_be_broadcast(processor, inputs, change):
    with pytest.raises(ValueError, match="timestamps has shape .* it must be integers of shape"):
        model_of(processor, "masked")(**(inputs | {"timestamps": change(inputs["timestamps"])}))
