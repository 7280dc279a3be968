# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""The demo page as a Space of the Hub."""

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from string import Template

from huggingface_hub import CommitInfo

from ..errors import DataError
from ..files import atomic_write
from ..hub.push import push_files_as_space


PAGE = Path(__file__).parent / "demo"
SPACE_FILES = ["app.py", "requirements.txt", "README.md", "models.txt"]


def write_space(models: Sequence[str], folder: str) -> None:
    """
    Writes the files of a Space, which `python app.py` in the folder serves too.

    Args:
        models (`Sequence[str]`): one or two folders or ids on the Hub.
        folder (`str`): made if missing.

    Raises:
        `DataError`: if the folder is of something else, or cannot be written.
    """
    if os.path.exists(os.path.join(folder, "README.md")) and not os.path.exists(os.path.join(folder, "models.txt")):
        raise DataError(f"{folder} has a README.md of something else, which would be replaced; choose another folder.")
    models = [os.path.abspath(model) if os.path.isdir(model) else model for model in models]
    with atomic_write(folder) as part:
        os.makedirs(part)
        for name in ("app.py", "requirements.txt"):
            shutil.copy(PAGE / name, part)
        card = Template((PAGE / "README.md").read_text(encoding="utf-8"))
        values = {"sdk_version": version("gradio"), "models": json.dumps([*models], ensure_ascii=False)}
        Path(part, "README.md").write_text(card.substitute(values), encoding="utf-8")
        Path(part, "models.txt").write_text("".join(f"{model}\n" for model in models), encoding="utf-8")


def push_space(models: Sequence[str], repo_id: str, private: bool | None = None) -> CommitInfo:
    """
    Pushes the page of one or two models on the Hub as a Space.

    Raises:
        `DataError`: for a model in a folder, or if the Hub cannot be reached or refuses.
    """
    for model in models:
        if os.path.isdir(model):
            raise DataError(f"{model} is a folder, which a Space cannot read; push the model, and name its id.")
    with tempfile.TemporaryDirectory() as folder:
        write_space(models, folder)
        return push_files_as_space(folder, SPACE_FILES, repo_id, private, "Upload page")
