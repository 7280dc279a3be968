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


def push_checkpoint(
    folder: str,
    repo_id: str,
    private: bool | None = None,
    revision: str | None = None,
    token: str | None = None,
    commit_message: str = "Upload checkpoint",
) -> CommitInfo:
    """
    Pushes a checkpoint to the Hub: only the files named in [`CHECKPOINT_FILES`], no pickles. Weights and plots of
    an earlier checkpoint are deleted in the same commit. The examples in the pushed card load `repo_id`.

    Args:
        folder (`str`): with the files at its root.
        repo_id (`str`): `"user/name"`; created if missing.
        private (`bool`, *optional*): whether a new repository is private.
        revision (`str`, *optional*): a branch; created if missing.

    Raises:
        `DataError`: if the Hub cannot be reached or refuses. The folder is never touched.
    """
    api = HfApi(token=token)
    with hub_errors(repo_id, pushing=True):
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        if revision is not None and not revision.startswith("refs/"):
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        names = sorted(filter_repo_objects(os.listdir(folder), allow_patterns=CHECKPOINT_FILES))
        if SAFE_WEIGHTS_NAME in names:  # it is what is loaded
            names = [name for name in names if name not in stale_weights(names, [SAFE_WEIGHTS_NAME])]
        files = {name: os.path.join(folder, name) for name in names}
        if CARD_NAME in files:
            with open(files[CARD_NAME], encoding="utf-8") as file:
                files[CARD_NAME] = _card_for(file.read(), repo_id, revision or "main").encode()
        operations = [CommitOperationAdd(name, file) for name, file in files.items()]
        there = api.list_repo_files(repo_id, revision=revision)
        replaced = stale_weights(there, names) if stale_weights(names, []) else []
        replaced += [name for name in PLOTS if CARD_NAME in names and name in there and name not in names]
        operations += [CommitOperationDelete(name) for name in replaced]
        return api.create_commit(repo_id, operations, commit_message=commit_message, revision=revision)


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
    api = HfApi()
    with hub_errors(repo_id, pushing=True):
        repo_id = api.create_repo(
            repo_id, repo_type="space", space_sdk="gradio", private=private, exist_ok=True
        ).repo_id
        return api.upload_folder(
            repo_id=repo_id,
            repo_type="space",
            folder_path=os.path.join(os.path.dirname(os.path.dirname(__file__)), "metrics", "ranking"),
            commit_message="Upload metric",
            allow_patterns=["ranking.py", "app.py", "README.md", "requirements.txt"],
        )
