# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
import copy
import json

import numpy as np
import pytest
import torch
from helpers import make_arguments, make_collator, make_model
from torch.testing import assert_close
from transformers import AutoModelForMaskedLM, AutoProcessor, Trainer, TrainerCallback

from bert4rec_hf import (
    Bert4RecTrainer,
    DataCollatorForItemMasking,
    DataError,
    EMACallback,
    Split,
    Teacher,
    encode_evaluation,
    encode_training,
    evaluate,
    load_checkpoint,
)
from bert4rec_hf.training.checkpoints import check_save_dir, write_manifest
from bert4rec_hf.training.sampler import SimilarLengthSampler


@pytest.fixture(scope="module")
def training(interactions, fitted):
    return encode_training(interactions, *fitted)


@pytest.mark.parametrize("trainer_class", [Trainer, Bert4RecTrainer])
def test_four_accumulated_batches_train_like_one(fitted, training, tmp_path, trainer_class):
    processor, rows = fitted[0], training.select(range(8))
    trained = []
    for batch_size, accumulation in ((8, 1), (2, 4)):
        model = make_model(processor, hidden_dropout_prob=0.0)
        arguments = make_arguments(
            tmp_path,
            per_device_train_batch_size=batch_size,
            gradient_accumulation_steps=accumulation,
            optim="sgd",
            learning_rate=1.0,
            max_grad_norm=0,
            remove_unused_columns=False,
        )
        collator = make_collator(processor)
        collator.set_epoch(0)
        trainer_class(model, arguments, train_dataset=rows, data_collator=collator, processing_class=processor).train()
        trained.append(model)
    for one, four in zip(*(model.parameters() for model in trained)):
        assert_close(one, four, atol=1e-6, rtol=1e-4)
    assert not torch.equal(trained[0].decoder.weight, make_model(processor).decoder.weight)


@pytest.mark.parametrize("is_causal", [False, True])
def test_batches_that_do_not_go_with_the_objective_are_refused(fitted, training, tmp_path, is_causal):
    model = make_model(fitted[0], is_causal=is_causal)
    arguments, kwargs = make_arguments(tmp_path), {"train_dataset": training, "processing_class": fitted[0]}
    with pytest.raises(DataError, match="mlm=False"):
        Bert4RecTrainer(model, arguments, data_collator=make_collator(fitted[0], mlm=is_causal), **kwargs)
    teacher = Teacher(make_model(fitted[0], is_causal=not is_causal), fitted[0], fitted[0], 16)
    with pytest.raises(DataError, match="both be causal"):
        collator = make_collator(fitted[0], mlm=not is_causal)
        Bert4RecTrainer(model, arguments, data_collator=collator, teacher=teacher, **kwargs)


@pytest.mark.parametrize("save_steps", [8, 11])  # at the end of an epoch, and within one
def test_a_resumed_run_ends_like_one_that_was_never_interrupted(fitted, training, tmp_path, save_steps):
    def make_trainer(**kwargs):
        arguments = make_arguments(
            tmp_path,
            num_train_epochs=3,
            per_device_train_batch_size=19,  # 8 steps an epoch
            learning_rate=1e-2,
            save_strategy="steps",
            save_steps=save_steps,
            **kwargs,
        )
        return Bert4RecTrainer(
            make_model(fitted[0]),
            arguments,
            train_dataset=training,
            data_collator=make_collator(fitted[0], window="random"),
            processing_class=fitted[0],
        )

    whole = make_trainer()
    whole.train()
    assert whole.state.global_step == 24
    resumed = make_trainer()
    resumed.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{save_steps}"))
    for expected, parameter in zip(whole.model.parameters(), resumed.model.parameters()):
        assert torch.equal(parameter, expected)


@pytest.mark.parametrize("trainer_class", [Trainer, Bert4RecTrainer])
def test_the_average_of_a_run_by_hand_and_resumed(fitted, training, tmp_path, trainer_class):
    decay, seen = 0.6, []

    class Record(TrainerCallback):
        def on_step_end(self, args, state, control, model=None, **kwargs):
            seen.append([parameter.detach().clone() for parameter in model.parameters()])

    def make_trainer(**kwargs):
        return trainer_class(
            make_model(fitted[0]),
            make_arguments(
                tmp_path,
                num_train_epochs=2,
                per_device_train_batch_size=19,  # 8 steps an epoch
                learning_rate=1e-2,
                remove_unused_columns=False,
                **kwargs,
            ),
            train_dataset=training.remove_columns(["length"]),
            data_collator=make_collator(fitted[0]),
            processing_class=fitted[0],
            callbacks=[Record(), EMACallback(decay)],
        )

    trainer = make_trainer(save_strategy="steps", save_steps=5)
    trainer.train()
    average = seen[0]
    for step, current in enumerate(seen[1:], start=1):
        keep = min(decay, (1 + step) / (10 + step))
        average = [keep * mean + (1 - keep) * value for mean, value in zip(average, current)]
    assert len(seen) == 16
    for expected, parameter in zip(average, trainer.model.parameters()):
        assert_close(parameter.detach(), expected, atol=1e-6, rtol=1e-5)
    assert not torch.allclose(seen[-1][0], trainer.model.get_input_embeddings().weight)
    assert trainer.model.decoder.weight is trainer.model.get_input_embeddings().weight

    if trainer_class is Trainer:  # which does not tell the collator the epoch
        return
    resumed = make_trainer(save_strategy="no")
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-5"))
    for expected, parameter in zip(trainer.model.parameters(), resumed.model.parameters()):
        assert torch.equal(parameter, expected)
    (tmp_path / "checkpoint-5" / "average.safetensors").unlink()
    with pytest.raises(DataError, match="average.safetensors is missing"):
        make_trainer(save_strategy="no").train(resume_from_checkpoint=str(tmp_path / "checkpoint-5"))


def test_the_average_is_what_is_validated_and_the_best_one_is_kept(interactions, fitted, training, tmp_path):
    validation = encode_evaluation(interactions, *fitted, "validation")
    trainer = Bert4RecTrainer(
        make_model(fitted[0]),
        make_arguments(
            tmp_path,
            num_train_epochs=3,
            per_device_train_batch_size=19,
            learning_rate=3e-2,
            eval_strategy="epoch",
            save_strategy="epoch",
            load_best_model_at_end=True,
            metric_for_best_model="ndcg@10",
        ),
        train_dataset=training,
        eval_dataset=validation,
        data_collator=make_collator(fitted[0]),
        processing_class=fitted[0],
        callbacks=[EMACallback(0.9)],
    )
    trainer.train()
    logged = [entry["eval_ndcg@10"] for entry in trainer.state.log_history if "eval_ndcg@10" in entry]
    assert len(logged) == 3 and len(set(logged)) > 1
    assert trainer.evaluate()["eval_ndcg@10"] == pytest.approx(max(logged))
    training_on = AutoModelForMaskedLM.from_pretrained(trainer.state.best_model_checkpoint)
    assert not torch.allclose(training_on.decoder.weight, trainer.model.decoder.weight)  # what the run goes on with


def test_stock_trainer_takes_a_saved_checkpoint_further(fitted, training, tmp_path):
    make_model(fitted[0]).save_pretrained(tmp_path)
    fitted[0].save_pretrained(tmp_path)

    processor = AutoProcessor.from_pretrained(tmp_path)
    model = AutoModelForMaskedLM.from_pretrained(tmp_path)
    trainer = Trainer(
        model,
        make_arguments(
            tmp_path / "out",
            num_train_epochs=8,
            per_device_train_batch_size=32,
            learning_rate=1e-2,
            logging_strategy="epoch",
        ),
        train_dataset=training,
        data_collator=make_collator(processor),
        processing_class=processor,
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[-1] < losses[0] - 0.2
    trainer.save_model(tmp_path / "out")
    again, _ = load_checkpoint(str(tmp_path / "out"))
    history = torch.tensor([training[0]["input_ids"]])
    assert_close(again.score(history), model.eval().score(history))


def test_validation_ranks_the_whole_catalogue_as_evaluate_does(interactions, fitted, training, tmp_path):
    processor, split = fitted
    model = make_model(processor)
    trainer = Bert4RecTrainer(
        model,
        make_arguments(tmp_path, per_device_eval_batch_size=32),
        train_dataset=training,
        eval_dataset=encode_evaluation(interactions, processor, split, "validation"),
        data_collator=make_collator(processor),
        processing_class=processor,
        k=(5, 10),
        exclude_seen=False,
    )
    metrics = trainer.evaluate()
    expected = evaluate(model, processor, interactions, split, "validation", (5, 10), progress=False).report
    for name, figure in expected["windows"][0]["groups"]["all users"]["results"]["BERT4Rec"].items():
        if name.startswith(("recall", "ndcg", "hit_rate", "mrr", "map", "score")):
            assert metrics[f"eval_{name}"] == pytest.approx(figure["mean"])
    assert isinstance(trainer.data_collator, DataCollatorForItemMasking)


def test_best_checkpoint_is_kept(interactions, fitted, training, tmp_path):
    processor, split = fitted
    trainer = Bert4RecTrainer(
        make_model(processor),
        make_arguments(
            tmp_path,
            num_train_epochs=3,
            learning_rate=3e-3,
            eval_strategy="epoch",
            save_strategy="epoch",
            load_best_model_at_end=True,
            metric_for_best_model="ndcg@10",
        ),
        train_dataset=training,
        eval_dataset=encode_evaluation(interactions, processor, split, "validation"),
        data_collator=make_collator(processor),
        processing_class=processor,
    )
    trainer.train()
    measured = [entry["eval_ndcg@10"] for entry in trainer.state.log_history if "eval_ndcg@10" in entry]
    assert trainer.state.best_metric == max(measured)
    assert trainer.evaluate()["eval_ndcg@10"] == pytest.approx(max(measured))


def test_data_sets_with_an_indices_mapping_train_and_predict(interactions, fitted, training, tmp_path):
    processor, split = fitted
    trainer = Bert4RecTrainer(
        make_model(processor),
        make_arguments(tmp_path, per_device_train_batch_size=16),
        train_dataset=training.shuffle(seed=0).select(range(40)),
        data_collator=make_collator(processor),
        processing_class=processor,
    )
    trainer.train()
    evaluation = encode_evaluation(interactions, processor, split).shuffle(seed=0)
    assert trainer.predict(evaluation).predictions.shape == (len(evaluation), 10)


def test_sampler_gives_every_row_once_an_epoch_in_a_random_order():
    lengths = np.random.default_rng(0).integers(1, 100, 1000)
    sampler = SimilarLengthSampler(lengths, batch_size=32, seed=3)
    orders = []
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
        assert sorted(orders[-1]) == list(range(1000))
    assert orders[0] != orders[1]
    sampler.set_epoch(0)
    assert list(sampler) == orders[0]
    batch_means = [lengths[orders[0][start : start + 32]].mean() for start in range(0, 992, 32)]
    assert abs(np.corrcoef(batch_means, np.arange(31))[0, 1]) < 0.6  # long and short batches come mixed


def test_sampler_puts_similar_lengths_together():
    lengths = np.random.default_rng(0).integers(1, 100, 2048)
    order = list(SimilarLengthSampler(lengths, batch_size=32))
    longest = lengths[order].reshape(-1, 32).max(1)
    assert lengths.sum() / (longest * 32).sum() > 0.9  # random batches: about half


@pytest.mark.parametrize("num_rows", [1, 31, 32, 33])
def test_sampler_works_for_few_rows(num_rows):
    assert sorted(SimilarLengthSampler(np.ones(num_rows), batch_size=32)) == list(range(num_rows))


def test_a_folder_that_holds_something_else_is_refused(fitted, tmp_path):
    assert check_save_dir(str(tmp_path / "new"), resume=False) is None
    assert check_save_dir(str(tmp_path), resume=True) is None
    (tmp_path / "thesis.txt").write_text("")
    with pytest.raises(DataError, match="is not empty"):
        check_save_dir(str(tmp_path), resume=False)
    with pytest.raises(DataError, match="thesis.txt and no whole checkpoint-"):
        check_save_dir(str(tmp_path), resume=True)
    (tmp_path / "run" / "checkpoint.part" / "checkpoint-3").mkdir(parents=True)  # cut short before anything was whole
    assert check_save_dir(str(tmp_path / "run"), resume=True) is None
    for place in ("thesis.txt", "thesis.txt/new"):
        with pytest.raises(DataError, match="thesis.txt is no folder that can be written to"):
            check_save_dir(str(tmp_path / place), resume=False)


def test_resuming_with_other_data_is_refused(fitted, processor, tmp_path):
    config = make_model(fitted[0]).config
    for step in (3, 20):
        fitted[0].save_pretrained(tmp_path / f"checkpoint-{step}")
        config.save_pretrained(tmp_path / f"checkpoint-{step}")
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        torch.save({}, tmp_path / "checkpoint-3" / name)
    (tmp_path / "checkpoint-3" / "trainer_state.json").write_text("{}")  # checkpoint-20 was cut short
    write_manifest(str(tmp_path / "checkpoint-3"))
    assert check_save_dir(str(tmp_path), True, fitted[0], config) == str(tmp_path / "checkpoint-3")
    with pytest.raises(DataError, match="with another vocabulary"):
        check_save_dir(str(tmp_path), True, processor)
    other = copy.deepcopy(fitted[0])
    other.split = vars(Split("none"))
    with pytest.raises(DataError, match="with another split"):
        check_save_dir(str(tmp_path), True, other)
    other = copy.copy(fitted[0])
    other.data = {**other.data, "min_events": 7}
    with pytest.raises(DataError, match="was trained with min_events 0, not 7"):
        check_save_dir(str(tmp_path), True, other)
    config.hidden_size = 32
    with pytest.raises(DataError, match="has hidden_size 16, not 32"):
        check_save_dir(str(tmp_path), True, fitted[0], config)


def test_a_broken_checkpoint_is_refused(fitted, tmp_path):
    model, processor = make_model(fitted[0]), fitted[0]
    with pytest.raises(DataError, match="holds no checkpoint"):
        load_checkpoint(str(tmp_path))

    model.save_pretrained(tmp_path)
    with pytest.raises(DataError, match="no processor_config.json"):
        load_checkpoint(str(tmp_path))

    other = copy.deepcopy(processor)
    other.add_items([10**6])
    other.save_pretrained(tmp_path)
    with pytest.raises(DataError, match="not of the same checkpoint"):
        load_checkpoint(str(tmp_path))

    processor.save_pretrained(tmp_path)
    load_checkpoint(str(tmp_path))
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(DataError, match="do not fit the config: model.layers.2"):
        load_checkpoint(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "bert"}))
    with pytest.raises(DataError, match="a model of type bert, not a BERT4Rec"):
        load_checkpoint(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps(config))
    weights = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(DataError, match="model.safetensors cannot be read"):
        load_checkpoint(str(tmp_path))
