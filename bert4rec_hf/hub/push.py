# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Pushing checkpoints and the metric to the Hub."""

import os
import re

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.utils import filter_repo_objects
from transformers.utils import SAFE_WEIGHTS_NAME

from ..errors import DataError, hub_errors
from ..model.weights_bert4rec import stale_weights
from .load import CARD_NAME, CHECKPOINT_FILES, PLOTS


EXPORT_DIRS = ("onnx", "openvino", "parquet")
# What `export` writes into a checkpoint's folder.
EXPORTS = ("onnx/*.onnx", "onnx/*.onnx.data", "openvino/*.xml", "openvino/*.bin", "parquet/items.parquet")
EXPORT_FILES = [*EXPORTS, "onnx/*.json", "openvino/*.json", "onnx/*.py", "openvino/*.py"]
HANDLER_FILES = {
    "handler.py": os.path.join(os.path.dirname(__file__), "handler.py"),
    "requirements.txt": b"transformers>=5.8\npyversity>=0.2\n",
}


def push_checkpoint(
    folder: str,
    repo_id: str,
    private: bool | None = None,
    revision: str | None = None,
    token: str | None = None,
    commit_message: str = "Upload checkpoint",
    handler: bool = False,
) -> CommitInfo:
    """
    Pushes a checkpoint to the Hub: only the files named in [`CHECKPOINT_FILES`], no pickles, and what `export` wrote
    into its folders `onnx`, `openvino` and `parquet`, without user vectors. Weights, plots and exports of an earlier
    checkpoint are deleted in the same commit. The examples in the pushed card load `repo_id`.

    Args:
        folder (`str`): with the files at its root.
        repo_id (`str`): `"user/name"`; created if missing.
        private (`bool`, *optional*): whether a new repository is private.
        revision (`str`, *optional*): a branch; created if missing.
        handler (`bool`, *optional*, defaults to `False`): whether to push `handler.py` and `requirements.txt` too,
            with which Inference Endpoints serve the model.

    Raises:
        `DataError`: if the Hub cannot be reached or refuses, or if an export is older than the weights. The folder is
            never touched.
    """
    api = HfApi(token=token)
    exports = find_exports(folder)
    with hub_errors(repo_id, pushing=True):
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        if revision is not None and not revision.startswith("refs/"):
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        names = sorted(filter_repo_objects(os.listdir(folder), allow_patterns=CHECKPOINT_FILES))
        if SAFE_WEIGHTS_NAME in names:  # it is what is loaded
            names = [name for name in names if name not in stale_weights(names, [SAFE_WEIGHTS_NAME])]
        files = {name: os.path.join(folder, name) for name in [*names, *exports]}
        files |= HANDLER_FILES if handler else {}
        if CARD_NAME in files:
            with open(files[CARD_NAME], encoding="utf-8") as file:
                files[CARD_NAME] = _card_for(file.read(), repo_id, revision or "main").encode()
        operations = [CommitOperationAdd(name, file) for name, file in files.items()]
        there = api.list_repo_files(repo_id, revision=revision)
        replaced = stale_weights(there, names) if stale_weights(names, []) else []
        replaced += [name for name in PLOTS if CARD_NAME in names and name in there and name not in names]
        replaced += [name for name in filter_repo_objects(there, allow_patterns=EXPORT_FILES) if name not in exports]
        operations += [CommitOperationDelete(name) for name in replaced]
        return api.create_commit(repo_id, operations, commit_message=commit_message, revision=revision)


def find_exports(folder: str) -> list[str]:
    """
    The exported files in the folders of a checkpoint.

    Raises:
        `DataError`: if one is older than the weights, which it may not be made of.
    """
    names = [f"{name}/{file}" for name in EXPORT_DIRS for file in _files(os.path.join(folder, name))]
    weights = [os.path.join(folder, name) for name in stale_weights(os.listdir(folder), [])]
    trained = max(map(os.path.getmtime, weights), default=0)
    for name in filter_repo_objects(names, allow_patterns=list(EXPORTS)):
        if os.path.getmtime(os.path.join(folder, name)) < trained:
            raise DataError(f"{os.path.join(folder, name)} is older than the weights; export again, or remove it.")
    return sorted(filter_repo_objects(names, allow_patterns=EXPORT_FILES))


def _files(folder: str) -> list[str]:
    return os.listdir(folder) if os.path.isdir(folder) else []


def _card_for(card: str, repo_id: str, revision: str) -> str:
    """A card of [`write_model_card`] whose examples load `repo_id` at the revision; other cards unchanged."""
    example = re.search(r'pipeline\(\s*"item-recommendation", model=("[^"\n]*"), revision=("[^"\n]*")', card)
    if example is None:
        return card
    card = card.replace(example[1], f'"{repo_id}"')
    return card.replace(f"revision={example[2]}", f'revision="{revision}"')


def push_metric(repo_id: str, private: bool | None = None) -> CommitInfo:
    """
    Pushes the ranking metric to the Hub as a Space, from where `evaluate.load(repo_id)` takes it.

    Raises:
        `DataError`: if the Hub cannot be reached or refuses, or if the Space would not be called ranking.
    """
    if repo_id.rpartition("/")[2] != "ranking":  # evaluate looks for a module of the Space's name
        raise DataError(f"{repo_id}: the Space must be called ranking, as in user/ranking; evaluate.load wants that.")
    folder = os.path.join(os.path.dirname(os.path.dirname(__file__)), "metrics", "ranking")
    files = ["ranking.py", "app.py", "README.md", "requirements.txt"]
    return push_files_as_space(folder, files, repo_id, private, "Upload metric")


def push_files_as_space(
    folder: str, files: list[str], repo_id: str, private: bool | None, commit_message: str
) -> CommitInfo:
    """
    Pushes some files of a folder as a Gradio Space, which is created if missing.

    Raises:
        `DataError`: if the Hub cannot be reached or refuses.
    """
    api = HfApi()
    with hub_errors(repo_id, pushing=True):
        repo_id = api.create_repo(
            repo_id, repo_type="space", space_sdk="gradio", private=private, exist_ok=True
        ).repo_id
        return api.upload_folder(
            repo_id=repo_id,
            repo_type="space",
            folder_path=folder,
            commit_message=commit_message,
            allow_patterns=files,
        )
