# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""A model trained on the made-up service finds what was put into it: in sequences, in features and in profiles."""

import copy

import numpy as np
import pytest
import torch
from transformers import TrainingArguments

from bert4rec_hf import (
    Bert4RecConfig,
    Bert4RecForMaskedLM,
    Bert4RecTrainer,
    DataArguments,
    DataCollatorForItemMasking,
    Split,
    encode_evaluation,
    encode_training,
    fit_processor,
    read_interactions,
    write_sample_data,
)
from bert4rec_hf.metrics.ranking.ranking import ranking_scores


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    path = tmp_path_factory.mktemp("service")
    write_sample_data(path / "data", num_profiles=500, num_albums=200, num_rows=25_000)
    interactions, split = read_interactions(DataArguments(data_dir=str(path / "data"))), Split("leave_one_out")
    processor = fit_processor(interactions, split)
    torch.manual_seed(1)
    model = Bert4RecForMaskedLM(
        Bert4RecConfig(
            **processor.config_kwargs(),
            hidden_size=48,
            hidden_dropout_prob=0.0,
            num_attention_heads=2,
            intermediate_size=96,
            max_position_embeddings=24,
        )
    )
    model.set_item_features(processor.item_features())
    Bert4RecTrainer(
        model,
        TrainingArguments(
            str(path / "run"),
            num_train_epochs=50,
            per_device_train_batch_size=16,
            learning_rate=3e-3,
            warmup_steps=0.1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
        ),
        train_dataset=encode_training(interactions, processor, split),
        data_collator=DataCollatorForItemMasking(processor, mlm_probability=0.3, max_length=24, window="last"),
        processing_class=processor,
    ).train()
    return model.eval(), processor, encode_evaluation(interactions, processor, split)


def test_the_model_finds_the_next_episode_by_the_order_of_the_history(service):
    model, processor, _ = service
    titles = dict(zip(processor.vocabulary["titles"], range(3, processor.vocab_size)))
    histories, following = [], []
    for title in titles:
        series, _, number = (title or "").rpartition(" ")
        if not number.endswith("화"):
            continue
        steps = [f"{series} {int(number[:-1]) + step}화" for step in range(4)]
        if all(step in titles for step in steps):
            histories.append([titles[step] for step in steps[:3]])
            following.append([titles[steps[3]]])
    histories = torch.tensor(histories)
    recalls = [
        ranking_scores(model.recommend(history, k=1).item_ids.numpy(), following, 1)["recall@1"].mean()
        for history in (histories, histories.flip(1))
    ]
    assert len(histories) > 50
    assert recalls[0] > 0.4 and recalls[0] > 3 * recalls[1]


def test_the_model_finds_the_genre_of_items_it_never_trained_on(service):
    """New items that differ in nothing but their genre draw recommendations of that genre."""
    trained, processor, _ = service
    model = copy.deepcopy(trained)
    embeddings = model.get_input_embeddings()
    features, old_size = embeddings.item_features.clone(), embeddings.num_embeddings
    genres = processor.config_kwargs()["item_features"][0]["num_values"] - 1
    model.resize_token_embeddings(old_size + genres, mean_resizing=False)
    with torch.no_grad():
        embeddings.weight[old_size:] = embeddings.weight[3:old_size].mean(0)
    new_features = torch.zeros(genres, features.shape[1], dtype=torch.int32)
    new_features[:, 0] = torch.arange(1, genres + 1)
    model.set_item_features(torch.cat([features, new_features]))

    probabilities = model.score(torch.arange(old_size, old_size + genres)[:, None]).exp()[:, :old_size]
    of_genre = torch.nn.functional.one_hot(features[:, 0].long(), genres + 1)[:, 1:].float()
    mass = probabilities @ of_genre  # what a new item of genre i draws of genre j
    lift = mass / mass.mean(0)
    assert lift.diag().mean() > 1.5
    assert (lift.diag() > 1).float().mean() > 0.8


def test_the_model_finds_what_children_of_an_age_and_sex_watch(service):
    """Without a history: recommendations from a child's own profile beat those from another child's."""
    model, _, children = service
    profiles = torch.tensor(children["user_features"])
    others = profiles[np.random.default_rng(0).permutation(len(profiles))]
    watched = [set(history) | set(relevant) for history, relevant in zip(children["input_ids"], children["relevant"])]
    watched = [sorted(items) for items in watched]
    recalls = {}
    for name, given in {"own": profiles, "other": others, "none": torch.zeros_like(profiles)}.items():
        recommended = model.recommend(torch.zeros(len(given), 0, dtype=torch.long), user_features=given, k=25).item_ids
        recalls[name] = ranking_scores(recommended.numpy(), watched, 25)["recall@25"].mean()
    assert recalls["own"] > 1.3 * recalls["other"]
    assert recalls["own"] > 1.1 * recalls["none"]
