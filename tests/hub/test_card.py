# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
import re

import pytest
import torch
from helpers import make_arguments, make_collator, make_model
from huggingface_hub import ModelCard, ModelCardData
from transformers import AutoModelForMaskedLM

from bert4rec_hf import Bert4RecProcessor, DataCollatorForItemMasking, encode_training, evaluate, write_model_card


@pytest.fixture
def written(interactions, fitted, tmp_path, monkeypatch):
    """A checkpoint in ./model, and its card."""
    processor, split = fitted
    model = make_model(processor)
    model.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    write_model_card(
        "model",
        model,
        processor,
        make_arguments("model"),
        make_collator(processor, mlm_probability=0.35),
        encode_training(interactions, processor, split),
        evaluate(model, processor, interactions, split, k=(5, 10), progress=False).report,
        license="apache-2.0",
        tags=["video"],
    )
    return ModelCard.load("model/README.md")


def test_the_metadata_reads_back(written, interactions, fitted):
    data = written.data
    assert (data.library_name, data.license, data.pipeline_tag) == ("bert4rec-hf", "apache-2.0", None)
    assert data.tags == ["recommender-system", "sequential-recommendation", "bert4rec", "video"]
    values = {result.metric_type: result.metric_value for result in data.eval_results}
    expected = evaluate(make_model(fitted[0]), *(fitted[0], interactions, fitted[1]), k=(5, 10), progress=False)
    expected = expected.report["windows"][0]["groups"]["all users"]["results"]["BERT4Rec"]
    names = {
        "recall@5",
        "ndcg@5",
        *(f"{name}@10" for name in ("recall", "ndcg", "hit_rate", "mrr", "score", "coverage")),
    }
    assert values == {name: round(expected[name]["mean"], 4) for name in names}
    assert {result.dataset_name for result in data.eval_results} == {"training log, split leave_one_out"}
    assert ModelCardData(**data.to_dict()).to_dict() == data.to_dict()


def test_what_it_was_made_from_and_its_licence_are_in_the_metadata(tmp_path):
    processor = Bert4RecProcessor({"item_ids": [1, 2, 3]})
    how = {"base_model": "user/other", "license": "mit", "revision": "v2"}
    write_model_card(str(tmp_path), make_model(processor), processor, model_id="user/name", **how)
    card = ModelCard.load(tmp_path / "README.md")
    assert (card.data.base_model, card.data.license) == ("user/other", "mit")
    assert card.text.count('revision="v2", trust_remote_code=True') == card.text.count("trust_remote_code=True") == 3


def test_it_says_all_and_has_no_blanks(written, interactions, fitted):
    text = written.text
    for words in (
        fitted[0].vocabulary_hash,
        "genre_mid (",
        "leave_one_out",
        "| most popular |",
        "| Mask probability | 0.35 |",
        'revision="main", trust_remote_code=True',
        "import bert4rec_hf",
        "## Limits",
    ):
        assert words in text
    assert re.search(r"Training events \| [\d,]+ by [\d,]+ users", text)
    assert not re.search(r"\{\{|None\b(?! were)|nan\b|\[More", text) and "\n\n\n\n" not in text


def test_its_code_runs(written, tmp_path):
    before = AutoModelForMaskedLM.from_pretrained("model").decoder.weight
    snippets = re.findall(r"```python\n(.*?)```", written.text, re.DOTALL)
    for snippet in snippets:
        exec(snippet, {})
    assert len(snippets) == 3
    further = AutoModelForMaskedLM.from_pretrained("further")
    assert not further.decoder.weight.equal(before) and (tmp_path / "further" / "vocabulary.json").exists()


def test_the_masking_of_the_card_masks_at_least_one_item_of_each_user(written):
    snippet = re.findall(r"```python\n(.*?)```", written.text, re.DOTALL)[2]
    names = {}
    exec(snippet.split("arguments = ")[0], names)
    items = names["processor"].vocabulary["item_ids"]
    users = [{"history": items[:n]} for n in (1, 2, 5, 60)] * 20
    batch = names["mask_items"](users, probability=0.2)
    masked = batch["labels"] != -100
    assert batch["input_ids"].shape[1] == names["model"].config.max_position_embeddings
    assert masked.any(1).all() and not masked[batch["attention_mask"] == 0].any()
    assert (batch["input_ids"][masked] == 1).all() and (batch["labels"][masked] >= 3).all()
    assert 0.1 < masked[3::4].float().mean() < 0.35
    assert names["model"](**batch).loss > 0


def test_the_card_of_a_causal_model_makes_its_batches(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    processor = Bert4RecProcessor({"item_ids": list(range(10, 50))})
    model, collator = make_model(processor, is_causal=True), make_collator(processor, mlm=False, mlm_probability=0.35)
    for part in (model, processor):
        part.save_pretrained("model")
    write_model_card("model", model, processor, make_arguments("model"), collator)
    card = ModelCard.load("model/README.md").text
    assert "| Objective | each next item (causal) |" in card and "| Mask probability | 0.35 |" in card
    assert "only the last" not in card
    names = {}
    exec(re.findall(r"```python\n(.*?)```", card, re.DOTALL)[2].split("arguments = ")[0], names)
    users = [{"history": list(range(10, 10 + n))} for n in (1, 2, 16)]
    expected = make_collator(processor, mlm=False, mlm_probability=0)(
        [{"input_ids": processor.encode_items(user["history"])} for user in users]
    )
    batch = names["next_items"](users, probability=0)
    for name in ("labels", "input_ids"):
        assert batch[name][batch["attention_mask"] == 1].equal(expected[name][expected["attention_mask"] == 1])
    assert torch.isclose(names["model"](**batch).loss, names["model"](**expected).loss)
    masked = names["next_items"](users * 200)
    has_item_before = (masked["labels"][:, :-1] != -100) & (masked["labels"][:, 1:] != -100)
    items, inputs = masked["labels"][:, :-1][has_item_before], masked["input_ids"][:, 1:][has_item_before]
    assert ((inputs == items) | (inputs == processor.mask_token_id)).all()
    assert abs((inputs != items).float().mean() - 0.35) < 0.04  # four standard errors


@pytest.mark.parametrize("collator", [lambda features: features, DataCollatorForItemMasking(Bert4RecProcessor())])
def test_a_model_of_ids_alone_has_a_card_too(tmp_path, collator):
    processor = Bert4RecProcessor({"item_ids": ["가", "나", 'quo"te']})
    write_model_card(str(tmp_path), make_model(processor), processor, make_arguments(tmp_path), collator)
    card = ModelCard.load(tmp_path / "README.md")
    assert '{"history": ["가", "나"]}' in card.text and "| User features | none |" in card.text
    assert "None were measured" in card.text and card.data.eval_results is None
    assert f'model="{tmp_path.name}"' in card.text and str(tmp_path) not in card.text
