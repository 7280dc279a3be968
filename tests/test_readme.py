# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""What the README says to type."""

import re
from pathlib import Path

from helpers import make_model

from bert4rec_hf import load_ensemble, load_processor
from bert4rec_hf.cli import train
from bert4rec_hf.cli.arguments import ALIASES, CommandParser


README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_python_in_the_readme_runs(fitted, tmp_path, monkeypatch):
    processor = fitted[0]
    for folder in ("quickstart/model", "exps/seed1", "exps/seed2"):
        make_model(processor).save_pretrained(tmp_path / folder)
        processor.save_pretrained(tmp_path / folder)
    monkeypatch.chdir(tmp_path)
    snippets = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    known = iter(processor.vocabulary["item_ids"] * 10)
    for snippet in snippets:
        snippet = re.sub(r"(?<=[\[ ])\d{1,4}(?=[,\]])", lambda _: str(next(known)), snippet)  # this data has other ids
        exec(snippet, {})
    assert len(load_ensemble([str(tmp_path / "exps" / "both")])[0].members) == 2
    assert len(snippets) == 5 and (tmp_path / "further" / "model.safetensors").exists()
    assert load_processor(str(tmp_path / "grown")).vocabulary["item_ids"][-2:] == [90001, 90002]


def test_commands_in_the_readme_name_flags_that_exist():
    scripts = "".join(path.read_text() for path in (Path(__file__).parent.parent / "examples").glob("*.py"))
    known = {flag[2:] for flag in CommandParser(train.ARGUMENTS, "").flags} | ALIASES.keys()
    known |= {*re.findall(r"^    (\w+): ", scripts, re.MULTILINE), "index", "nproc_per_node", "help", "help-all"}
    flags = set(re.findall(r"--([a-z_-]*[a-z])", README))
    assert flags and flags <= known, flags - known
