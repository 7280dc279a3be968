# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
import copy
import itertools
import json
import os
import subprocess
import sys
import weakref

import numpy as np
import pytest
import torch
from helpers import CODE, WITHOUT_THE_PACKAGE, make_arguments, make_model
from huggingface_hub.errors import StrictDataclassError
from huggingface_hub.utils import filter_repo_objects
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoConfig, AutoModelForMaskedLM, Trainer, pipeline

from bert4rec_hf import (
    Bert4RecConfig,
    Bert4RecEnsembleConfig,
    Bert4RecEnsembleForMaskedLM,
    Bert4RecForMaskedLM,
    Bert4RecProcessor,
    DataError,
    add_items,
    load_checkpoint,
    load_ensemble,
)
from bert4rec_hf.hub.load import CHECKPOINT_FILES


VOTINGS = ("probability", "log_probability", "reciprocal_rank")
USERS = [
    {"history": ["i0", "i7", "i30"], "profile": {"sex": "F", "age": 7}},
    {"history": []},
    {"history": [f"i{n}" for n in range(40)], "profile": {"age": 3}},
]


def member_of(processor, **kwargs):
    sizes = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 12}
    config = Bert4RecConfig(**processor.config_kwargs(), initializer_range=0.3, **(sizes | kwargs))
    model = Bert4RecForMaskedLM(config).eval()
    model.set_item_features(processor.item_features())
    torch.nn.init.normal_(model.decoder.bias)
    return model


@pytest.fixture
def processors(processor):
    """Over the same items: with all features, with ages only, with none."""

    def without(*names):
        vocabulary = copy.deepcopy(processor.vocabulary)
        if "titles" in names:
            del vocabulary["titles"]
        kept = [n for n, feature in enumerate(vocabulary["item_features"]) if feature["name"] not in names]
        for name in ("item_features", "item_feature_values"):
            vocabulary[name] = [vocabulary[name][n] for n in kept]
        vocabulary["user_features"] = [f for f in vocabulary["user_features"] if f["name"] not in names]
        return Bert4RecProcessor(vocabulary)

    return [without("titles", "genre", "sex"), processor, without("genre", "keyword", "sex", "age")]


@pytest.fixture
def members(processors):
    torch.manual_seed(0)
    ages, everything, nothing = processors
    return [
        member_of(ages, hidden_size=16, loss="gbce", negative_sampling="popularity"),
        member_of(everything, num_hidden_layers=1, repeat_prior=True),
        member_of(nothing, max_position_embeddings=30, tie_word_embeddings=False),
    ]


@pytest.fixture
def folders(members, processors, tmp_path):
    for number, parts in enumerate(zip(members, processors)):
        for part in parts:
            part.save_pretrained(tmp_path / f"member{number}")
    return [str(tmp_path / f"member{number}") for number in range(3)]


@pytest.fixture
def merged(processors):
    return Bert4RecProcessor.merge(dict(zip("abc", processors)))


@pytest.fixture
def inputs(merged):
    return dict(merged([user["history"] for user in USERS], [user.get("profile") for user in USERS]))


def scores_of(members, inputs):
    """Each member's own scores, of the user features it knows: age, sex and age, none."""
    columns = ([0], [1, 0], [])  # the merged processor has them in the order in which members bring them
    return [
        member.score(inputs["input_ids"], inputs["attention_mask"], inputs["user_features"][:, column])
        for member, column in zip(members, columns)
    ]


def test_the_processor_of_an_ensemble_has_the_features_of_all_members(merged, processors):
    assert merged.user_feature_names == ["age", "sex"]
    assert [feature["name"] for feature in merged.vocabulary["item_features"]] == ["keyword", "genre"]
    assert merged.vocabulary["titles"][3] == "제목 3"
    assert np.array_equal(merged.item_features()[:, [3, 0, 1, 2]], processors[1].item_features())
    alone = Bert4RecProcessor.merge({"a": processors[1]})
    assert alone.vocabulary_hash == processors[1].vocabulary_hash


@pytest.mark.parametrize("weights", [None, [1, 2, 5]])
def test_votes_by_hand(members, merged, inputs, weights):
    scores = np.stack([score.numpy() for score in scores_of(members, inputs)])[:, :, 3:].astype(np.float64)
    share = np.array(weights or [1, 1, 1])[:, None, None] / sum(weights or [1, 1, 1])
    ranks = np.empty_like(scores)
    for member, user in np.ndindex(scores.shape[:2]):
        for rank, item in enumerate(np.argsort(-scores[member, user]), start=1):
            ranks[member, user, item] = rank
    expected = {
        "probability": np.log((share * np.exp(scores)).sum(0)),
        "log_probability": (share * scores).sum(0),
        "reciprocal_rank": np.log((share / (60 + ranks)).sum(0)),
    }
    for voting in VOTINGS:
        ensemble = Bert4RecEnsembleForMaskedLM.from_members(members, merged, voting, weights)
        voted = ensemble.score(**inputs)
        assert voted[:, :3].isneginf().all() and voted.dtype == torch.float32
        normalised = expected[voting] - np.log(np.exp(expected[voting]).sum(1, keepdims=True))
        assert_close(voted[:, 3:].double(), torch.from_numpy(normalised), atol=1e-6, rtol=1e-6)
        best = ensemble.recommend(**inputs, k=5, exclude_seen=True, candidate_ids=torch.arange(40, 53))
        for user, items in enumerate(best.item_ids.tolist()):
            allowed = {*range(40, 53)} - set(inputs["input_ids"][user].tolist())
            assert items == sorted(allowed, key=lambda item: -voted[user, item])[:5]


@pytest.mark.parametrize("voting", VOTINGS)
def test_an_ensemble_of_one_is_its_member(members, merged, inputs, voting):
    ensemble = Bert4RecEnsembleForMaskedLM.from_members(members, merged, voting)
    for number, own in enumerate(scores_of(members, inputs)):
        alone = ensemble.subset([number])
        assert alone.members[0] is members[number]
        recommended = alone.recommend(**inputs, k=20)
        assert torch.equal(recommended.item_ids, own.topk(20).indices)
        if voting != "reciprocal_rank":  # whose scores say nothing but the rank
            assert_close(alone.score(**inputs), own, atol=1e-6, rtol=0)


@pytest.mark.parametrize("voting", VOTINGS)
def test_the_order_of_the_members_does_not_matter(members, merged, inputs, voting):
    whole = Bert4RecEnsembleForMaskedLM.from_members(members, merged, voting, [1, 2, 5])
    for order in itertools.permutations(range(3)):
        other = whole.subset(order, [[1, 2, 5][number] for number in order])
        assert_close(other.score(**inputs), whole.score(**inputs), atol=1e-6, rtol=0)


def test_padding_and_the_rest_of_the_batch_do_not_matter(members, merged, inputs):
    ensemble = Bert4RecEnsembleForMaskedLM.from_members(members, merged)
    together = ensemble.score(**inputs)
    for row, user in enumerate(USERS):
        alone = ensemble.score(**merged([user["history"]], [user.get("profile")]))
        assert_close(alone[0], together[row], atol=1e-5, rtol=0)


def test_a_probability_too_small_for_single_precision_is_not_lost(members, merged, inputs):
    members[0].decoder.bias.data[10] = -200.0
    alone = Bert4RecEnsembleForMaskedLM.from_members(members, merged).subset([0])
    assert -400 < alone.score(**inputs)[0, 10] < -150


@pytest.mark.parametrize("voting", VOTINGS)
def test_saved_is_loaded(folders, inputs, members, merged, tmp_path, voting):
    made = Bert4RecEnsembleForMaskedLM.from_checkpoints(folders, voting, weights=[3, 1, 1])
    expected = Bert4RecEnsembleForMaskedLM.from_members(members, merged, voting, [3, 1, 1]).score(**inputs)
    assert torch.equal(made.score(**inputs), expected)
    made.save_pretrained(tmp_path / "ensemble")
    Bert4RecProcessor.from_checkpoints(folders).save_pretrained(tmp_path / "ensemble")
    loaded = AutoModelForMaskedLM.from_pretrained(tmp_path / "ensemble")
    assert type(loaded) is Bert4RecEnsembleForMaskedLM and torch.equal(loaded.score(**inputs), expected)
    tied = [member.decoder.weight is member.get_input_embeddings().weight for member in loaded.members]
    assert tied == [True, True, False]
    assert loaded.config.to_dict() == AutoConfig.from_pretrained(tmp_path / "ensemble").to_dict()
    assert loaded.config.members[2].max_position_embeddings == 30 and loaded.config.max_position_embeddings == 12
    again, processor = load_ensemble([str(tmp_path / "ensemble")])
    assert torch.equal(again.score(**inputs), expected) and processor.vocabulary == merged.vocabulary
    assert load_ensemble([str(tmp_path / "ensemble")], "log_probability")[0].config.voting == "log_probability"


def test_one_folder_works_without_the_package(folders, tmp_path):
    folder = tmp_path / "ensemble"
    Bert4RecEnsembleForMaskedLM.from_checkpoints(folders).save_pretrained(folder)
    Bert4RecProcessor.from_checkpoints(folders).save_pretrained(folder)
    names = {path.name for path in folder.iterdir()}
    parts = {"config.json", "model.safetensors", "processor_config.json", "vocabulary.json"}
    assert names == CODE | parts
    assert set(filter_repo_objects(names, allow_patterns=CHECKPOINT_FILES)) == names
    code = WITHOUT_THE_PACKAGE + (
        "import json\nfrom transformers import pipeline\n"
        "pipe = pipeline('item-recommendation', model=sys.argv[1], trust_remote_code=True)\n"
        "pipe.save_pretrained('again')\n"
        "print(json.dumps(pipe(json.loads(sys.argv[2]), k=5, exclude_seen=True)))"
    )
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    result = subprocess.run(
        [sys.executable, "-c", code, str(folder), json.dumps(USERS)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    expected = pipeline("item-recommendation", model=str(folder))(USERS, k=5, exclude_seen=True)
    for answer, here in zip(json.loads(result.stdout), expected, strict=True):
        assert [item["item_id"] for item in answer] == [item["item_id"] for item in here]
        assert [item["score"] for item in answer] == pytest.approx([item["score"] for item in here], rel=1e-5)
    assert {path.name for path in (tmp_path / "again").iterdir()} == names
    assert pipeline("item-recommendation", model=str(tmp_path / "again"))(USERS, k=5, exclude_seen=True) == expected


def test_what_does_not_go_together_is_refused(folders, processors, members, tmp_path):
    def changed(number, **attributes):
        other = copy.copy(processors[number])
        for name, value in attributes.items():
            setattr(other, name, value)
        return other

    vocabulary = copy.deepcopy(processors[1].vocabulary)
    vocabulary["item_ids"] = vocabulary["item_ids"][::-1]
    values = copy.deepcopy(processors[1].vocabulary)
    values["user_features"][1]["values"] = ["3", "8"]
    for other, words in (
        (changed(1, vocabulary=vocabulary), "b has other items than a"),
        (changed(1, vocabulary=values), "b has other values of age"),
        (changed(1, split={"split": "none"}), "b has split {'split': 'none'}, a None"),
        (changed(1, unknown_items="unk"), "b has unknown_items unk, a skip"),
    ):
        with pytest.raises(ValueError, match=words):
            Bert4RecProcessor.merge({"a": processors[0], "b": other})
    read = [changed(0, data={"min_events": 5}), changed(1, data={"min_events": 0})]
    with pytest.raises(ValueError, match="b read its data with min_events 0, the members before it with 5"):
        Bert4RecProcessor.merge(dict(zip("ab", read)))

    Bert4RecEnsembleForMaskedLM.from_checkpoints(folders).save_pretrained(tmp_path / "ensemble")
    Bert4RecProcessor.from_checkpoints(folders).save_pretrained(tmp_path / "ensemble")
    ensemble = str(tmp_path / "ensemble")
    with pytest.raises(ValueError, match="ensemble holds a model of type bert4rec_ensemble, which cannot be a member"):
        Bert4RecEnsembleForMaskedLM.from_checkpoints([ensemble, folders[0]])
    for names, weights, words in (
        ([ensemble, folders[0]], None, "is an ensemble, which cannot be a member of another"),
        (folders, [1, 2], "there are 3 members and 2 weights"),
        (folders, [1, 2, 0], "a weight is 0"),
        ([folders[0], folders[0]], None, "named twice"),
        ([folders[0], str(tmp_path / "nowhere")], None, "nowhere"),
    ):
        with pytest.raises(DataError, match=words):
            load_ensemble(names, weights=weights)
    with pytest.raises(ValueError, match="an ensemble cannot grow"):
        add_items(*load_checkpoint(ensemble), ["new"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"voting": "majority"}, "voting"),
        ({"members": []}, "members must be one"),
        ({"members": 3}, "expected list, got int"),
        ({"members": ["a"]}, "members must be one"),
        ({"vocab_size": 60}, "member 0 has vocab_size 53, the ensemble 60"),
        ({"user_features": []}, "user feature"),
        ({"weights": [1, -1, 1]}, "a weight is -1"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(folders, tmp_path, change, words):
    ensemble = Bert4RecEnsembleForMaskedLM.from_checkpoints(folders)
    ensemble.save_pretrained(tmp_path / "ensemble")
    Bert4RecProcessor.from_checkpoints(folders).save_pretrained(tmp_path / "ensemble")
    config = json.loads((tmp_path / "ensemble" / "config.json").read_text())
    (tmp_path / "ensemble" / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(DataError, match=words):
        load_checkpoint(str(tmp_path / "ensemble"))
    with pytest.raises((StrictDataclassError, TypeError)):
        Bert4RecEnsembleConfig(**{**ensemble.config.to_dict(), **change})


def test_weights_of_another_member_are_refused(folders, tmp_path):
    for number, names in enumerate((folders, folders[:2])):
        Bert4RecEnsembleForMaskedLM.from_checkpoints(names).save_pretrained(tmp_path / str(number))
        Bert4RecProcessor.from_checkpoints(folders).save_pretrained(tmp_path / str(number))
    (tmp_path / "1" / "model.safetensors").rename(tmp_path / "0" / "model.safetensors")
    with pytest.raises(DataError, match=r"members\.2\..* is missing"):
        load_checkpoint(str(tmp_path / "0"))
    with pytest.raises(ValueError, match="the weights do not fit the config"):
        AutoModelForMaskedLM.from_pretrained(tmp_path / "0")


def test_its_loss_is_the_mean_of_the_members_and_each_trains_as_alone(members, merged, inputs, tmp_path):
    ensemble = Bert4RecEnsembleForMaskedLM.from_members(members[1:], merged).eval()
    batch = {name: values[:, -8:] if name != "user_features" else values for name, values in inputs.items()}
    labels = (
        batch["input_ids"].masked_fill(batch["input_ids"] % 3 > 0, -100).masked_fill(batch["input_ids"] == 0, -100)
    )
    columns = ([1, 0], [])
    alone = [copy.deepcopy(member) for member in members[1:]]
    losses = [
        member(batch["input_ids"], batch["attention_mask"], user_features=batch["user_features"][:, c], labels=labels)
        for member, c in zip(alone, columns)
    ]
    losses = [output.loss for output in losses]
    loss = ensemble(**batch, labels=labels).loss
    assert_close(loss, sum(losses) / 2)
    loss.backward()
    for one in losses:
        (one / 2).backward()
    for mine, its in zip(ensemble.parameters(), (p for member in alone for p in member.parameters())):
        assert_close(mine.grad, its.grad)
    rows = [{name: values[0] for name, values in {**batch, "labels": labels}.items()}] * 4
    before = ensemble.score(**inputs)
    Trainer(ensemble, make_arguments(tmp_path, max_steps=2, learning_rate=0.1), train_dataset=rows).train()
    assert not torch.allclose(ensemble.eval().score(**inputs)[:, 3:], before[:, 3:])


@pytest.mark.parametrize("voting", VOTINGS)
def test_logits_and_label_distribution_are_the_votes_at_each_position(members, merged, inputs, voting):
    ensemble = Bert4RecEnsembleForMaskedLM.from_members(members, merged, voting)
    batch = {name: values[:, -8:] if name != "user_features" else values for name, values in inputs.items()}
    batch["input_ids"][0, 6] = batch["input_ids"][2, 3] = 1
    logits = ensemble(**batch).logits
    assert logits.shape == (3, 8, 53)
    labels = torch.full((3, 8), -100)
    labels[0, 6], labels[2, 3], labels[2, 7] = 8, 9, 20
    item_ids, probs = ensemble.label_distribution(
        batch["input_ids"], labels, batch["attention_mask"], batch["user_features"], num_items=7, temperature=2.0
    )
    expected = logits[labels != -100].topk(7)
    assert torch.equal(item_ids, expected.indices)
    assert_close(probs, (expected.values / 2).softmax(-1), atol=1e-5, rtol=1e-5)
    nothing = ensemble.label_distribution(
        batch["input_ids"], torch.full((3, 8), -100), user_features=batch["user_features"]
    )
    assert len(nothing[0]) == len(nothing[1]) == 0


class LiveBytes(TorchDispatchMode):
    """The bytes of all tensors but a model's own that there are, and the most there ever were."""

    def __init__(self, model):
        super().__init__()
        own = itertools.chain(model.parameters(), model.buffers())  # of which operations make views
        self.live, self.peak, self.known = 0, 0, {tensor.untyped_storage()._cdata for tensor in own}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(value, torch.Tensor):
                storage = value.untyped_storage()
                key = storage._cdata
                if key not in self.known:
                    self.known.add(key)
                    self.live += storage.nbytes()
                    self.peak = max(self.peak, self.live)
                    weakref.finalize(storage, self.forget, key, storage.nbytes())
        return result

    def forget(self, key, size):
        self.known.discard(key)
        self.live -= size


@pytest.mark.parametrize("voting", VOTINGS)
def test_five_members_need_no_more_than_two_arrays_of_scores(voting):
    batch_size, num_items = 128, 20_695
    processor = Bert4RecProcessor({"item_ids": [*range(num_items)]})
    members = [member_of(processor, hidden_size=16, num_hidden_layers=1) for _ in range(5)]
    ensemble = Bert4RecEnsembleForMaskedLM.from_members(members, processor, voting)
    input_ids = torch.randint(3, num_items, (batch_size, 11))
    with LiveBytes(ensemble) as memory:
        scores = ensemble.score(input_ids)
    assert scores.nbytes <= memory.peak <= 2 * batch_size * (num_items + 3) * 4


def test_members_all_recommend_seen_items_or_none_does(processor):
    unseen, another = (make_model(processor, exclude_seen_in_loss=True) for _ in range(2))
    with pytest.raises(StrictDataclassError, match="member 1 has exclude_seen_in_loss True, the ensemble False"):
        Bert4RecEnsembleForMaskedLM.from_members([make_model(processor), unseen], processor)
    ensemble = Bert4RecEnsembleForMaskedLM.from_members([unseen, another], processor)
    history = torch.tensor([[5, 9, 7]])
    assert ensemble.score(history)[0, history[0]].isneginf().all()
    assert not {*ensemble.recommend(history, k=8).item_ids[0].tolist()} & {5, 9, 7}
