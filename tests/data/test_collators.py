# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
import numpy as np
import pytest
import torch
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from bert4rec_hf import Bert4RecProcessor, DataCollatorForHistories, DataCollatorForItemMasking, DataError
from bert4rec_hf.data.collators import keyed_uniform


PROCESSOR = Bert4RecProcessor({"item_ids": list(range(100))})
MASK = PROCESSOR.mask_token_id


def make_collator(epoch=0, **kwargs):
    collator = DataCollatorForItemMasking(PROCESSOR, **kwargs)
    if epoch is not None:
        collator.set_epoch(epoch)
    return collator


def rows_of(lengths, user_features=None):
    generator = np.random.default_rng(0)
    extra = {} if user_features is None else {"user_features": user_features}
    return [
        {"input_ids": generator.integers(3, 103, length).tolist(), "row": row, **extra}
        for row, length in enumerate(lengths)
    ]


def apart(batch):
    """A batch where each label has a column of its own: those of one MASK stand behind each other."""
    if "target_positions" not in batch:
        return batch
    labels, positions = batch.pop("labels"), batch.pop("target_positions")
    width = max(batch["input_ids"].shape[1], int((positions + (labels != -100).cumsum(1)).max()))
    batch = {
        n: torch.nn.functional.pad(v, (0, width - v.shape[1])) if "user" not in n else v for n, v in batch.items()
    }
    batch["labels"] = torch.full_like(batch["input_ids"], -100)
    for row in range(len(labels)):
        taken = 0
        for label, column in zip(labels[row].tolist(), positions[row].tolist()):
            if label != -100:
                column = max(column, taken)
                batch["labels"][row, column], taken = label, column + 1
                batch["input_ids"][row, column], batch["attention_mask"][row, column] = MASK, 1
    return batch


@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=20),
    probability=st.floats(0, 1),
    last=st.floats(0, 1),
    empty=st.floats(0, 1),
    max_length=st.integers(2, 40),
    window=st.sampled_from(["last", "random"]),
    last_items=st.integers(1, 50),
    epoch=st.integers(0, 1000),
)
def test_every_row_has_a_target_and_unmasked_items_stay(
    lengths, probability, last, empty, max_length, window, last_items, epoch
):
    collator = make_collator(
        epoch,
        mlm_probability=probability,
        last_item_probability=last,
        empty_history_probability=empty,
        max_length=max_length,
        window=window,
        last_items=last_items,
    )
    rows = rows_of(lengths, user_features=[1])
    batch = {name: values.numpy() for name, values in apart(collator(rows)).items()}
    masked = batch["labels"] != -100
    assert masked.any(1).all()
    assert (batch["input_ids"][masked] == MASK).all()
    assert not masked[batch["attention_mask"] == 0].any()
    assert (batch["input_ids"][batch["attention_mask"] == 0] == PROCESSOR.pad_token_id).all()
    restored = np.where(masked, batch["labels"], batch["input_ids"])
    for row, items, length in zip(rows, restored, batch["attention_mask"].sum(1)):
        piece, history = items[:length].tolist(), row["input_ids"]
        assert 1 <= length <= max_length
        assert any(history[start : start + length] == piece for start in range(len(history)))


def test_share_of_masked_items_is_the_mask_probability():
    batch = make_collator(mlm_probability=0.3, last_item_probability=0, max_length=200)(rows_of([200] * 500))
    share = (batch["labels"] != -100).float().mean().item()
    assert abs(share - 0.3) < 0.006  # four standard errors of 100,000 draws


def test_mask_probability_of_one_masks_everything():
    batch = make_collator(mlm_probability=1.0, last_item_probability=0)(rows_of([5, 3]))
    assert (batch["input_ids"][batch["attention_mask"] == 1] == MASK).all()


def test_last_item_rows_mask_the_last_item_and_no_other():
    batch = make_collator(last_item_probability=1.0)(rows_of([5, 3, 1]))
    assert (batch["labels"] != -100).nonzero().tolist() == [[0, 4], [1, 2], [2, 0]]
    assert batch["input_ids"][0, 4] == batch["input_ids"][1, 2] == batch["input_ids"][2, 0] == MASK


def test_one_mask_is_to_predict_as_many_last_items_as_drawn_and_never_all():
    lengths = [9] * 3000 + [3, 2, 1]
    rows = rows_of(lengths)
    batch = make_collator(last_item_probability=1.0, last_items=4, mask_replace_prob=0.5)(rows)
    counts = (batch["labels"] != -100).sum(1)
    assert counts[:3000].bincount(minlength=5).div(3000).sub(0.25).abs()[1:].max() < 0.032  # four standard errors
    assert counts[:3000].min() == 1 and counts[:3000].max() == 4
    assert counts[-3] <= 2 and counts[-2] == counts[-1] == 1
    assert batch["input_ids"].shape == (3003, 9) and batch["labels"].shape == (3003, 4)
    shown = batch["attention_mask"].sum(1)
    for n, row in enumerate(rows):
        length, count, history = shown[n], counts[n], row["input_ids"]
        assert batch["input_ids"][n, :length].tolist() == [*history[: length - 1], MASK]
        assert batch["labels"][n, :count].tolist() == history[length - 1 :]
        assert (batch["target_positions"][n, :count] == length - 1).all() and not batch["input_ids"][n, length:].any()


def test_inputs_of_a_causal_model_are_the_items_before_the_labels():
    collator = make_collator(mlm=False, max_length=4, mlm_probability=0)
    rows = [{"input_ids": list(range(10, 10 + n)), "row": n} for n in (6, 4, 2, 1)]
    batch = collator(rows)
    assert batch["labels"].tolist() == [[12, 13, 14, 15], [10, 11, 12, 13], [10, 11, -100, -100], [10] + [-100] * 3]
    assert batch["input_ids"].tolist() == [[11, 12, 13, 14], [MASK, 10, 11, 12], [MASK, 10, 0, 0], [MASK, 0, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1] * 4, [1] * 4, [1, 1, 0, 0], [1, 0, 0, 0]]


@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=20),
    empty=st.floats(0, 1),
    max_length=st.integers(2, 40),
    window=st.sampled_from(["last", "random"]),
)
def test_causal_rows_are_pieces_of_their_history(lengths, empty, max_length, window):
    rows = rows_of(lengths, user_features=[1])
    how = {"empty_history_probability": empty, "max_length": max_length, "window": window, "mlm_probability": 0}
    batch = make_collator(mlm=False, **how)(rows)
    for row, input_ids, labels, mask in zip(rows, batch["input_ids"], batch["labels"], batch["attention_mask"]):
        length = int(mask.sum())
        piece = [int(input_ids[0]), *labels[:length].tolist()]
        history = [MASK, *row["input_ids"]]
        starts = [s for s in range(len(history)) if history[s : s + length + 1] == piece]
        assert starts or (piece[0] == MASK and length == 1 and piece[1] in history)
        assert input_ids[1:length].tolist() == piece[1:-1] and (labels[length:] == -100).all()
        assert not input_ids[length:].any() and length <= max_length


@pytest.mark.parametrize("probability", [0.25, 1.0])
def test_masked_inputs_of_a_causal_model_change_nothing_else(probability):
    rows = rows_of([41, 60, 1, 7] * 500)
    how = {"mlm": False, "max_length": 40, "window": "random"}
    shown, masked = (make_collator(mlm_probability=share, **how)(rows) for share in (0, probability))
    for name in ("labels", "attention_mask"):
        assert torch.equal(masked[name], shown[name])
    changed = masked["input_ids"] != shown["input_ids"]
    assert (masked["input_ids"][changed] == MASK).all()
    items = shown["input_ids"] > MASK
    assert abs(changed[items].float().mean() - probability) < 0.01 and not changed[~items].any()


def test_unknown_items_are_no_labels_of_a_causal_model():
    unk = PROCESSOR.unk_token_id
    for probability, first in ((0, 5), (1, MASK)):
        batch = make_collator(mlm=False, mlm_probability=probability)([{"input_ids": [5, unk, 7], "row": 0}])
        assert batch["labels"].tolist() == [[5, -100, 7]] and batch["input_ids"].tolist() == [[MASK, first, unk]]


def test_share_of_last_item_rows_is_as_asked():
    batch = make_collator(mlm_probability=1.0, last_item_probability=0.25)(rows_of([9] * 4000))
    share = ((batch["labels"] != -100).sum(1) == 1).float().mean().item()
    assert abs(share - 0.25) < 0.028


def test_empty_histories_need_user_features():
    collator = make_collator(empty_history_probability=1.0)
    assert collator(rows_of([5, 5], user_features=[1, 2]))["input_ids"].tolist() == [[MASK], [MASK]]
    assert collator(rows_of([5, 5]))["input_ids"].shape == (2, 5)


def test_last_window_is_the_newest_items():
    rows = rows_of([30, 4])
    batch = make_collator(max_length=10)(rows)
    items = torch.where(batch["labels"] != -100, batch["labels"], batch["input_ids"])
    assert items[0].tolist() == rows[0]["input_ids"][-10:]
    assert items[1, :4].tolist() == rows[1]["input_ids"]


def test_random_windows_reach_every_place_of_a_history():
    collator = make_collator(max_length=10, window="random")
    rows = [{"input_ids": list(range(3, 33)), "row": row} for row in range(1000)]
    batch = collator(rows)
    first = torch.where(batch["labels"] != -100, batch["labels"], batch["input_ids"])[:, 0]
    assert set(first.tolist()) == set(range(3, 24))


def test_bert_masking_replaces_as_asked():
    collator = make_collator(
        mlm_probability=1.0, last_item_probability=0, max_length=100, mask_replace_prob=0.8, random_replace_prob=0.1
    )
    batch = collator(rows_of([100] * 200))
    by_mask = (batch["input_ids"] == MASK).float().mean().item()
    kept = (batch["input_ids"] == batch["labels"]).float().mean().item()
    assert abs(by_mask - 0.8) < 0.012
    assert abs(kept - 0.101) < 0.01  # a random item is the same one in a hundred times
    assert batch["input_ids"].min() == MASK


def test_unk_is_never_a_target():
    rows = [{"input_ids": [2, 5, 2, 2], "row": row} for row in range(50)]
    batch = make_collator(mlm_probability=1.0, last_item_probability=0)(rows)
    assert set(batch["labels"].unique().tolist()) == {-100, 5}


def test_draws_of_a_row_do_not_depend_on_the_rest_of_the_batch():
    collator, rows = make_collator(mlm_probability=0.4), rows_of([8, 20, 5])
    together, alone = collator(rows), collator(rows[2:])
    assert torch.equal(together["input_ids"][2, :5], alone["input_ids"][0])


def test_draws_differ_by_epoch_and_seed_and_repeat_with_them():
    rows = rows_of([50] * 4)

    def draw(epoch, seed):
        return make_collator(epoch, seed=seed)(rows)["labels"]

    assert torch.equal(draw(3, 7), draw(3, 7))
    assert not torch.equal(draw(3, 7), draw(4, 7))
    assert not torch.equal(draw(3, 7), draw(3, 8))


def test_without_an_epoch_draws_follow_torchs_generator():
    collator, rows = make_collator(epoch=None), rows_of([50] * 4)
    torch.manual_seed(5)
    first, second = collator(rows)["labels"], collator(rows)["labels"]
    torch.manual_seed(5)
    assert torch.equal(collator(rows)["labels"], first)
    assert not torch.equal(second, first)


def test_masking_is_the_same_with_workers_that_live_on():
    dataset, collator = Dataset.from_list(rows_of([12] * 30)), make_collator(epoch=None)
    loaders = [
        DataLoader(dataset, batch_size=4, collate_fn=collator),
        DataLoader(dataset, batch_size=4, collate_fn=collator, num_workers=2, persistent_workers=True),
    ]
    epochs = []
    for epoch in range(2):
        collator.set_epoch(epoch)
        alone, with_workers = ([batch["input_ids"].tolist() for batch in loader] for loader in loaders)
        assert alone == with_workers
        epochs.append(alone)
    assert epochs[0] != epochs[1]


def test_keyed_numbers_are_uniform_and_independent():
    numbers = keyed_uniform(np.arange(2000, dtype=np.uint64), 50, stream=0)
    assert 0 <= numbers.min() and numbers.max() < 1
    counts = np.histogram(numbers, 20, (0, 1))[0]
    assert ((counts - 5000) ** 2 / 5000).sum() < 43.8  # chi-square, 19 degrees of freedom, p = 0.001
    others = keyed_uniform(np.arange(2000, dtype=np.uint64), 50, stream=1)
    for first, second in ((numbers[:-1], numbers[1:]), (numbers[:, :-1], numbers[:, 1:]), (numbers, others)):
        assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.013


def test_last_item_rows_mask_the_last_item_that_is_known():
    batch = make_collator(last_item_probability=1.0)([{"input_ids": [5, 6, 2], "row": 0}])
    assert batch["labels"].tolist() == [[-100, 6, -100]]


def test_rows_without_items_are_refused():
    with pytest.raises(DataError, match="row 1 of a batch has no items"):
        make_collator()([{"input_ids": [5]}, {"input_ids": []}])


@settings(deadline=None)
@given(
    rows=st.lists(st.tuples(st.lists(st.integers(2, 22)), st.lists(st.integers(0, 99))), min_size=1, max_size=8),
)
def test_what_the_histories_collator_pads_is_there_again_under_the_mask(rows):
    processor = make_collator().processor
    batch = DataCollatorForHistories(processor)([{"input_ids": items, "relevant": targets} for items, targets in rows])
    for (items, targets), ids, mask, relevant in zip(
        rows, batch["input_ids"], batch["attention_mask"], batch["relevant"], strict=True
    ):
        assert ids[mask.bool()].tolist() == items and not ids[~mask.bool()].any()
        assert relevant[relevant != -100].tolist() == targets
    assert batch["input_ids"].shape == batch["attention_mask"].shape == (len(rows), max(len(row[0]) for row in rows))


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(1, 30), min_size=2, max_size=8),
    how=st.fixed_dictionaries(
        {
            "mlm": st.booleans(),
            "mlm_probability": st.floats(0, 1),
            "last_item_probability": st.floats(0, 1),
            "window": st.sampled_from(["last", "random"]),
            "max_length": st.integers(2, 30),
        }
    ),
    epoch=st.integers(0, 99),
)
def test_a_row_alone_gets_the_batch_it_gets_among_others(lengths, how, epoch):
    collator = make_collator(**how)
    collator.set_epoch(epoch)
    rows = rows_of(lengths)
    together = collator(rows)
    for number, row in enumerate(rows):
        alone = collator([row])
        width = alone["input_ids"].shape[1]
        for name, padding in (("input_ids", 0), ("attention_mask", 0), ("labels", -100)):
            assert torch.equal(together[name][number, :width], alone[name][0])
            assert (together[name][number, width:] == padding).all()


def test_histories_collator_pads_and_does_nothing_else():
    rows = [
        {"input_ids": [5, 6, 7], "user_features": [1], "relevant": [9]},
        {"input_ids": [], "user_features": [0], "relevant": [8, 4]},
    ]
    batch = DataCollatorForHistories(PROCESSOR)(rows)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [0, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [0, 0, 0]]
    assert batch["relevant"].tolist() == [[9, -100], [8, 4]]
    assert batch["user_features"].tolist() == [[1], [0]]


@pytest.mark.parametrize(
    "wrong",
    [
        {"mlm_probability": -0.1},
        {"mlm_probability": 1.1},
        {"last_item_probability": -0.1},
        {"max_length": 1},
        {"window": "first"},
        {"mask_replace_prob": 0.8, "random_replace_prob": 0.3},
    ],
)
def test_collator_refuses_what_makes_no_sense(wrong):
    with pytest.raises(DataError):
        make_collator(**wrong)


def test_last_items_of_random_windows_are_those_after_any_moment():
    collator = make_collator(max_length=10, window="random", last_item_probability=1.0, last_items=4)
    ends, lengths = set(), set()
    for epoch in range(200):
        collator.set_epoch(epoch)
        batch = apart(collator([{"input_ids": list(range(3, 3 + n)), "row": n} for n in (30, 6)]))
        masked = batch["labels"] != -100
        shown = batch["attention_mask"].sum(1)
        newest = batch["labels"].amax(1) - 3  # the place of the last item in its history
        ends |= {(row, int(newest[row])) for row in range(2)}
        lengths |= {(row, int(shown[row])) for row in range(2)}
        for row in range(2):
            assert masked[row].nonzero()[-1] == shown[row] - 1 and 1 <= masked[row].sum() <= min(4, shown[row] - 1)
            assert newest[row] + 1 >= shown[row]
    assert ends == {(0, n) for n in range(1, 30)} | {(1, n) for n in range(1, 6)}
    assert lengths == {(0, n) for n in range(2, 11)} | {(1, n) for n in range(2, 7)}
