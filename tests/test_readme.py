# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""What the README and the manual say to type, and where they point to."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
from helpers import make_model

from bert4rec_hf import load_ensemble, load_processor, write_sample_data
from bert4rec_hf.__main__ import COMMANDS
from bert4rec_hf.cli import analyze, demo, ensemble, evaluate, export, nightly, predict, push, train
from bert4rec_hf.cli.arguments import ALIASES, CommandParser


ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "examples" / "manual").glob("*.md"))]
DOCUMENTS = [*PAGES, *(ROOT / ".github").glob("*.md"), ROOT / "examples" / "benchmarks" / "README.md"]
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]


@pytest.fixture(scope="module")
def work_dir(fitted, tmp_path_factory):
    """Where the quick start was run, and a training of two seeds."""
    folder = tmp_path_factory.mktemp("work")
    write_sample_data(folder / "quickstart" / "data", num_profiles=100, num_albums=60, num_rows=2500)
    for name in ("quickstart/model", "exps/seed1", "exps/seed2"):
        make_model(fitted[0]).save_pretrained(folder / name)
        fitted[0].save_pretrained(folder / name)
    return folder


@pytest.mark.parametrize("page", PAGES, ids=NAMES[: len(PAGES)])
def test_python_runs(page, fitted, work_dir, monkeypatch):
    monkeypatch.chdir(work_dir)
    known = iter(fitted[0].vocabulary["item_ids"] * 10)
    snippets = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    names = {}  # a page is read from top to bottom
    for snippet in snippets:
        if "read_interactions" not in snippet:  # this model has other ids
            snippet = re.sub(r"(?<=[\[( ])\d{3,4}(?=[,\])])", lambda _: str(next(known)), snippet)
        exec(snippet, names)
    if page.stem == "ensembles":
        assert len(load_ensemble(["exps/both"])[0].members) == 2
    if page.stem == "new_items":
        assert load_processor("grown").vocabulary["item_ids"][-2:] == [90001, 90002]
    assert bool(snippets) == (page.stem in ("README", "ensembles", "new_items", "recommending", "serving", "trainer"))


def test_commands_name_flags_that_exist():
    modules = (analyze, demo, ensemble, evaluate, export, nightly, predict, push)
    arguments = [value for module in modules for name, value in vars(module).items() if name.endswith("Arguments")]
    known = {field.name for cls in arguments for field in fields(cls)} | ALIASES.keys()
    known |= {flag[2:] for flag in CommandParser(train.ARGUMENTS, "").flags} | {
        "nproc_per_node",
        "help",
        "help-all",
        "app-dir",
    }
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        flags = set(re.findall(r"--([a-z_-]*[a-z]\d?)", text))
        assert flags <= known, (page, flags - known)
        assert set(re.findall(r"bert4rec-hf (\w+) ", text)) <= {*COMMANDS, "is"}, page


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_links_lead_somewhere(document):
    for link in re.findall(r"\]\(([^)]+)\)", document.read_text(encoding="utf-8")):
        if not link.startswith("https://"):
            path, _, anchor = link.partition("#")
            target = document.parent / path if path else document
            assert target.exists(), link
            headings = re.findall(r"^#+ (.*)", target.read_text(encoding="utf-8"), re.MULTILINE) if anchor else []
            slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert not anchor or anchor in slugs, link


def test_the_readme_is_short():
    lines = PAGES[0].read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 150 and all(len(line) <= 140 for line in lines)
