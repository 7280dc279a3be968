# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""What happens to processes and machines: kills, signals, full disks, second writers, damaged and used folders."""

import importlib
import os
import resource
import shutil
import signal
import time
from contextlib import contextmanager

import pytest
import torch
from helpers import EXAMPLES, SMALL, make_arguments, make_collator, make_model, run
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback

from bert4rec_hf import (
    Bert4RecTrainer,
    DataError,
    EMACallback,
    StopOnSignalCallback,
    encode_evaluation,
    encode_training,
)
from bert4rec_hf.files import atomic_write, directory_lock
from bert4rec_hf.training.checkpoints import check_save_dir, checkpoint_problem


@pytest.fixture(scope="module")
def crashes():
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(EXAMPLES / "benchmarks")
        yield importlib.import_module("crashes")


@pytest.fixture(scope="module")
def work_dir(crashes, sample_dir, tmp_path_factory):
    """A folder with a run that nothing happened to, and one that was killed three times."""
    folder = tmp_path_factory.mktemp("work")
    assert crashes.kill_and_resume(sample_dir, folder, kills=3, seed=time.time_ns())
    return folder


def test_a_training_that_is_killed_ends_with_the_weights_of_one_that_is_not(work_dir):
    weights = {(path / "model.safetensors").read_bytes() for path in work_dir.iterdir() if path.is_dir()}
    assert len(weights) == 1
    left = {path.name for path in (work_dir / "killed0").iterdir()}
    assert left == {path.name for path in (work_dir / "undisturbed").iterdir()}  # nothing lies about


def last_line(log):
    return log.read_text().strip().splitlines()[-1]


def wait_for(process, path):
    while process.is_alive() and not path.exists():
        time.sleep(0.001)
    assert path.exists()


def test_a_second_writer_is_refused_and_a_full_disk_leaves_the_checkpoint_before(crashes, sample_dir, tmp_path):
    save_dir = tmp_path / "run"
    flags = ["--data_dir", sample_dir, "--save_dir", save_dir, *SMALL, "--max_steps", 20000, "--save_steps", 5]
    first = crashes.start([*flags, "--logging_steps", 1000], tmp_path / "first.txt")
    wait_for(first, save_dir / "checkpoint-5")
    second = crashes.start([*flags, "--resume"], tmp_path / "second.txt")
    second.join()
    assert second.exitcode == 2
    refusal = f"error: {save_dir} is being written by process {first.pid}; wait for it, or choose another folder."
    assert last_line(tmp_path / "second.txt") == refusal
    size = (save_dir / "checkpoint-5" / "model.safetensors").stat().st_size
    resource.prlimit(first.pid, resource.RLIMIT_FSIZE, (size - 1, size - 1))
    first.join()
    assert first.exitcode == 2
    error = last_line(tmp_path / "first.txt")
    assert error.startswith(f"error: {save_dir}/checkpoint-") and "cannot be written: " in error
    # Which of the two depends on the file that it was writing when the limit came.
    assert "File too large" in error or "a limit on the size of files" in error
    assert error.endswith("What was there is as it was.")
    left = [*save_dir.iterdir()]
    assert (
        left
        and {*left} == {*save_dir.glob("checkpoint-*")}
        and not any(checkpoint_problem(str(path)) for path in left)
    )


def test_sigterm_saves_and_says_how_to_go_on(crashes, sample_dir, tmp_path):
    save_dir, log = tmp_path / "run", tmp_path / "log.txt"
    flags = ["--data_dir", sample_dir, "--save_dir", save_dir, *SMALL, "--epochs", 2000, "--logging_steps", 1]
    process = crashes.start(flags, log)
    while process.is_alive() and "'loss'" not in (log.read_text() if log.exists() else ""):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGTERM)
    process.join()
    assert process.exitcode == 143
    newest = check_save_dir(str(save_dir), resume=True)
    step = newest.rpartition("-")[2]
    assert last_line(log) == f"SIGTERM: saved at step {step} in {save_dir}; go on with --resume."


def test_a_used_folder_is_refused_or_replaced_as_one_says(work_dir, sample_dir, tmp_path, monkeypatch, capsys):
    save_dir = tmp_path / "run"
    shutil.copytree(work_dir / "undisturbed", save_dir)
    before = sorted(path.name for path in save_dir.iterdir())
    flags = ["--data_dir", sample_dir, "--save_dir", save_dir, *SMALL, "--max_steps", 2]

    def refusal(*more):
        with pytest.raises(SystemExit) as error:
            run(monkeypatch, "train", *flags, *more)
        assert error.value.code == 2 and sorted(path.name for path in save_dir.iterdir()) == before
        return capsys.readouterr().err.strip().splitlines()[-1]

    assert "is not empty; choose another --save_dir, go on with a run by --resume, or let it be" in refusal()
    assert "resume_from_checkpoint and overwrite exclude each other" in refusal("--resume", "--overwrite")
    assert "k is 0" in refusal("--overwrite", "--k", 0)  # a mistake costs nothing
    (save_dir / "thesis.txt").write_text("years of work")
    before = sorted([*before, "thesis.txt"])
    assert "thesis.txt, which is of no training" in refusal("--overwrite")
    (save_dir / "thesis.txt").unlink()
    run(monkeypatch, "train", *flags, "--overwrite")
    assert {path.name for path in save_dir.glob("checkpoint*")} == {"checkpoint-2"}
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "README.md").write_text("# A project")
    save_dir, before, flags[3] = tmp_path / "other", ["README.md"], tmp_path / "other"
    assert "README.md, which is of no training" in refusal("--overwrite")


@pytest.fixture(scope="module")
def make_trainer(interactions, fitted):
    training = encode_training(interactions, *fitted)
    validation = encode_evaluation(interactions, *fitted, "validation").select(range(20))

    def make(output_dir, callbacks=(), trainer_class=Bert4RecTrainer, **kwargs):
        defaults = {"num_train_epochs": 2, "per_device_train_batch_size": 19, "learning_rate": 1e-2}  # 8 steps each
        defaults |= {"save_strategy": "steps", "save_steps": 4, "remove_unused_columns": False}
        return trainer_class(
            make_model(fitted[0]),
            make_arguments(output_dir, **(defaults | kwargs)),
            train_dataset=training.remove_columns(["length"]) if trainer_class is Trainer else training,
            eval_dataset=validation,
            data_collator=make_collator(fitted[0]),
            processing_class=fitted[0],
            callbacks=[EMACallback(0.6), *callbacks],
        )

    return make


@pytest.fixture(scope="module")
def finished(make_trainer, tmp_path_factory):
    """The trainer of a run with checkpoints of the steps 4, 8, 12 and 16."""
    trainer = make_trainer(tmp_path_factory.mktemp("finished"))
    trainer.train()
    return trainer


@pytest.fixture
def run_dir(finished, tmp_path):
    shutil.copytree(finished.args.output_dir, tmp_path / "run")
    return tmp_path / "run"


def same_weights(a, b):
    return all(torch.equal(one, other) for one, other in zip(a.model.parameters(), b.model.parameters()))


def test_what_is_missing_or_damaged_is_named_and_the_checkpoint_before_is_taken(run_dir, caplog):
    newest, before = run_dir / "checkpoint-16", run_dir / "checkpoint-12"
    names = sorted(path.name for path in newest.iterdir())
    assert {"optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", "average.safetensors"} < {*names}
    for name in names:
        content = (newest / name).read_bytes()
        flipped = content[:-2] + bytes([content[-2] ^ 1]) + content[-1:]
        for damaged in (None, b"", content[: len(content) // 2], flipped):
            (newest / name).unlink() if damaged is None else (newest / name).write_bytes(damaged)
            caplog.clear()
            assert check_save_dir(str(run_dir), resume=True) == str(before), name
            (line,) = [record.message for record in caplog.records]
            assert line.startswith(f"{newest} is skipped: {name}"), line
        (newest / name).write_bytes(content)
    assert check_save_dir(str(run_dir), resume=True) == str(newest)


def test_no_whole_checkpoint_is_an_error_and_not_a_new_start(run_dir, make_trainer):
    for step in (4, 8, 12, 16):
        (run_dir / f"checkpoint-{step}" / "optimizer.pt").unlink()
    words = r"run has no whole checkpoint to go on from \(checkpoint-4: optimizer.pt is missing\); choose another"
    with pytest.raises(DataError, match=words):
        check_save_dir(str(run_dir), resume=True)
    with pytest.raises(DataError, match=words):
        make_trainer(run_dir).train(resume_from_checkpoint=True)


def test_the_trainer_skips_what_is_broken_and_replaces_it(run_dir, make_trainer, finished):
    (run_dir / "checkpoint-16" / "model.safetensors").write_bytes(b"")
    (run_dir / "checkpoint-12" / "scheduler.pt").unlink()
    (run_dir / "checkpoint-99").mkdir()
    trainer = make_trainer(run_dir, save_total_limit=1)
    trainer.train(resume_from_checkpoint=True)
    assert same_weights(trainer, finished)
    assert [path.name for path in run_dir.glob("checkpoint*")] == ["checkpoint-16"]
    assert checkpoint_problem(str(run_dir / "checkpoint-16")) is None


def test_what_does_not_fit_is_refused(run_dir, make_trainer, tmp_path):
    with pytest.raises(DataError, match="checkpoint-16 is of another run; go on with it, or choose another"):
        make_trainer(run_dir).train()
    with pytest.raises(DataError, match="has no checkpoint to go on from"):
        make_trainer(tmp_path / "new").train(resume_from_checkpoint=True)
    with pytest.raises(DataError, match="trainer_state.json is missing"):
        (run_dir / "checkpoint-16" / "trainer_state.json").unlink()
        make_trainer(run_dir).train(resume_from_checkpoint=str(run_dir / "checkpoint-16"))
    make_trainer(tmp_path / "plain", trainer_class=Trainer, max_steps=2).train()
    with pytest.raises(DataError, match="manifest.json is missing: it was cut short, or saved by another Trainer"):
        check_save_dir(str(tmp_path / "plain"), resume=True)
    make_trainer(tmp_path / "model", save_only_model=True, max_steps=2).train()
    with pytest.raises(DataError, match="it was saved without optimizer"):
        check_save_dir(str(tmp_path / "model"), resume=True)


def test_a_run_that_was_over_goes_no_step_further(make_trainer, tmp_path):
    validated = {"eval_strategy": "steps", "eval_steps": 1, "save_steps": 1, "metric_for_best_model": "ndcg@10"}
    validated |= {"load_best_model_at_end": True, "num_train_epochs": 10, "save_total_limit": 2}
    trainers = []
    for resume in (False, True):
        early = EarlyStoppingCallback(3)
        trainers.append(make_trainer(tmp_path, [early], **validated))
        trainers[-1].train(resume_from_checkpoint=resume)
    first, again = trainers
    assert 3 < first.state.global_step == again.state.global_step < 80
    assert first.state.best_model_checkpoint == again.state.best_model_checkpoint
    assert os.path.isdir(first.state.best_model_checkpoint) and same_weights(first, again)


EACH_EPOCH = {"eval_strategy": "epoch", "save_strategy": "epoch", "load_best_model_at_end": True}
EACH_EPOCH |= {"metric_for_best_model": "ndcg@10", "save_total_limit": 2}


@pytest.fixture(scope="module")
def whole(make_trainer, tmp_path_factory):
    trainer = make_trainer(tmp_path_factory.mktemp("whole"), **EACH_EPOCH)
    trainer.train()
    return trainer


class SendSignal(TrainerCallback):
    """Sends a signal to this process at an event of a step."""

    def __init__(self, number, event, step):
        self.number, self.step = number, step
        setattr(self, event, self.send)

    def send(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize(
    ("number", "event", "step", "saved"),
    [
        (signal.SIGTERM, "on_step_begin", 5, 6),
        (signal.SIGINT, "on_step_begin", 7, 8),  # the last of an epoch, which is validated
        (signal.SIGTERM, "on_prediction_step", 8, 9),
        (signal.SIGTERM, "on_save", 16, 16),
    ],
)
def test_a_run_that_is_stopped_goes_on_as_if_it_was_not(
    make_trainer, whole, tmp_path, capsys, number, event, step, saved
):
    stop = StopOnSignalCallback()
    handler = signal.getsignal(number)
    with pytest.raises(SystemExit) as error, stop:
        make_trainer(tmp_path, [stop, SendSignal(number, event, step)], **EACH_EPOCH).train()
    assert error.value.code == 128 + number and signal.getsignal(number) is handler
    assert check_save_dir(str(tmp_path), resume=True) == str(tmp_path / f"checkpoint-{saved}")
    assert "; go on with --resume." in capsys.readouterr().err
    resumed = make_trainer(tmp_path, **EACH_EPOCH)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.best_metric == whole.state.best_metric and same_weights(resumed, whole)


def test_a_second_ctrl_c_aborts_at_once(make_trainer, tmp_path):
    stop = StopOnSignalCallback()

    class Again(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            if state.global_step == 4:
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), signal.SIGINT)  # the same, passed on by torchrun
                stop.since -= 2
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt), stop:
        make_trainer(tmp_path, [stop, Again()]).train()
    assert check_save_dir(str(tmp_path), resume=True) == str(tmp_path / "checkpoint-4")


@contextmanager
def largest_file(size):
    """As if the disk was full: no file gets larger than that."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("name", "words"), [("model.safetensors", "File too large"), ("optimizer.pt", "no space left, or a limit on")]
)
def test_a_full_disk_is_one_line_and_leaves_the_checkpoint_before(make_trainer, finished, tmp_path, name, words):
    size = os.path.getsize(os.path.join(finished.args.output_dir, "checkpoint-4", name))

    class FillDisk(TrainerCallback):
        def on_save(self, args, state, control, **kwargs):
            resource.setrlimit(resource.RLIMIT_FSIZE, (size - 1, resource.RLIM_INFINITY))

    with largest_file(resource.RLIM_INFINITY), pytest.raises(DataError) as error:
        make_trainer(tmp_path, [FillDisk()]).train()
    assert str(error.value).startswith(f"{tmp_path}/checkpoint-8 cannot be written: ") and words in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-4"]
    assert check_save_dir(str(tmp_path), resume=True) == str(tmp_path / "checkpoint-4")


def test_a_list_that_cannot_be_written_leaves_the_one_before(work_dir, sample_dir, tmp_path, monkeypatch, capsys):
    file = tmp_path / "lists.csv"
    file.write_text("the one before")
    flags = ["--model_dir", work_dir / "undisturbed", "--data_dir", sample_dir, "--output_file", file]
    with pytest.raises(SystemExit) as error, largest_file(1000):
        run(monkeypatch, "predict", *flags)
    assert error.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"error: {file} cannot be written: File too large.")
    assert file.read_text() == "the one before" and [*tmp_path.iterdir()] == [file]


def test_files_are_written_aside(tmp_path):
    file, folder = tmp_path / "a.txt", tmp_path / "folder"
    with atomic_write(str(file)) as part, open(part, "w") as stream:
        stream.write("one")
        assert not file.exists()
    with pytest.raises(ZeroDivisionError), atomic_write(str(file)) as part, open(part, "w") as stream:
        stream.write("two")
        1 / 0  # noqa: B018
    with pytest.raises(DataError, match="a.txt cannot be written: File too large. What was there is as it was."):
        with largest_file(5), atomic_write(str(file)) as part, open(part, "w") as stream:
            stream.write("one two three")
    assert file.read_text() == "one"
    for number in (1, 2):
        with atomic_write(str(folder)) as part:
            os.mkdir(part)
            with open(os.path.join(part, f"{number}.txt"), "w") as stream:
                stream.write(str(number))
    assert sorted(path.name for path in folder.iterdir()) == ["1.txt", "2.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "folder"]


def test_a_lock_goes_with_its_owner(tmp_path):
    folder = tmp_path / "a" / "b"
    with directory_lock(str(folder)):
        with pytest.raises(DataError, match=f"b is being written by process {os.getpid()}; wait for it"):
            with directory_lock(str(folder)):
                pass
    assert not (tmp_path / "a").exists()
    folder.mkdir(parents=True)
    (folder / ".lock").write_text("1\n")  # of a process that was killed
    with directory_lock(str(folder)):
        (folder / "file").write_text("")
    assert [path.name for path in folder.iterdir()] == ["file"]
