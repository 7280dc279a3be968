# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""
Kills trainings (SIGKILL) at random moments, every other time while a checkpoint is being saved, goes on with each by
--resume until it is done, and compares its weights, bit by bit, with those of a run that nothing happened to.

    python examples/benchmarks/crashes.py --kills 20
"""

import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from bert4rec_hf import DataError, write_sample_data
from bert4rec_hf.cli.arguments import parse_arguments, run
from bert4rec_hf.training.checkpoints import SAVING_DIR, newest_whole_checkpoint


FLAGS = "--hidden_size 16 --num_head 2 --intermediate_size 32 --max_length 16 --train_batch_size 19 --max_steps 16"
FLAGS += " --save_steps 2 --do_eval --eval_steps 2 --ema_decay 0.9 --min_events 2 --learning_rate 0.02 --k 5"


@dataclass
class CrashArguments:
    """How often, and when."""

    kills: int = field(default=20, metadata={"help": "Times a process is killed."})
    seed: int = field(default=0, metadata={"help": "Seed of the moments."})
    work_dir: str | None = field(
        default=None, metadata={"help": "Folder of data and runs; a passing one if not given."}
    )


def train(flags: list[str], log: str):
    """train.py, in the process that calls this."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    from bert4rec_hf.cli.train import main

    run(lambda: main(flags))


def start(flags: list, log: Path) -> multiprocessing.Process:
    """A process of its own that runs train.py, forked from one that has imported what that takes seconds to import."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the model is too small for more
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["transformers.trainer", "bert4rec_hf.training.trainer", "matplotlib.figure"])
    process = context.Process(target=train, args=([*map(str, flags)], str(log)))
    process.start()
    return process


def wait_for_a_save(process: multiprocessing.Process, save_dir: Path):
    while process.is_alive() and not (save_dir / SAVING_DIR).exists():
        time.sleep(0.0005)


def weights_of(save_dir: Path) -> bytes:
    return (save_dir / "model.safetensors").read_bytes()


def kill_and_resume(data_dir: Path, work_dir: Path, kills: int, seed: int) -> bool:
    """Whether all runs end with the weights of one that is never killed; says of each kill what it left."""
    moments, log = random.Random(seed), work_dir / "log.txt"
    flags = ["--data_dir", data_dir, *FLAGS.split()]
    start(["--help"], log).join()  # from here on all is imported
    begin = time.monotonic()
    undisturbed = start([*flags, "--save_dir", work_dir / "undisturbed"], log)
    undisturbed.join()
    seconds = time.monotonic() - begin
    if undisturbed.exitcode:
        raise DataError(f"the run that nothing happens to fails: {log.read_text().splitlines()[-1]}")
    print(f"undisturbed: {seconds:.1f} s")
    killed, runs, is_done, are_equal = 0, 0, False, True
    while killed < kills or not is_done:
        is_done = False
        save_dir = work_dir / f"killed{runs}"
        shutil.rmtree(save_dir / SAVING_DIR, ignore_errors=True)  # or one could not tell it from that of the next kill
        process, begin = start([*flags, "--save_dir", save_dir, "--resume"], log), time.monotonic()
        if killed < kills:
            if killed % 2 == 0:
                for _ in range(moments.randint(1, 3)):
                    wait_for_a_save(process, save_dir)
                    time.sleep(moments.uniform(0, 0.1))
            else:
                process.join(moments.uniform(0, seconds))
            process.kill()
        process.join()
        if process.exitcode == 0:
            is_done, runs = True, runs + 1
            same = weights_of(save_dir) == weights_of(work_dir / "undisturbed")
            are_equal &= same
            print(f"{save_dir.name}: done, its weights are {'the same' if same else 'OTHERS'}")
        elif process.exitcode == -9:
            killed += 1
            when = "in a save" if (save_dir / SAVING_DIR).exists() else "between saves"
            whole = newest_whole_checkpoint(str(save_dir))
            after = f"{time.monotonic() - begin:.2f} s"
            print(f"kill {killed}: {save_dir.name} after {after}, {when}; left {whole and Path(whole).name}")
        else:
            raise DataError(f"{save_dir}: exit code {process.exitcode}: {log.read_text().splitlines()[-1]}")
    print(f"{killed} kills, {runs} runs, all weights {'equal' if are_equal else 'NOT equal'} to the undisturbed run's")
    return are_equal


def main():
    (args,) = parse_arguments(CrashArguments, description=__doc__)
    with tempfile.TemporaryDirectory() as passing:
        work_dir = Path(args.work_dir or passing)
        write_sample_data(work_dir / "data", num_profiles=150, num_albums=120, num_rows=6000)
        if not kill_and_resume(work_dir / "data", work_dir, args.kills, args.seed):
            sys.exit(1)


if __name__ == "__main__":
    run(main)
