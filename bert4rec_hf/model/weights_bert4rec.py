# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Loading of BERT4Rec weights that are checked, and saving of weights that replaces all of an earlier save."""

import json
import os
import re
from collections.abc import Collection, Iterable

import torch
from huggingface_hub import HfApi
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from .layers_bert4rec import Bert4RecItemEmbeddings


SHARDS = "model-*-of-*.safetensors"


def stale_weights(names: Iterable[str], saved: Collection[str]) -> list[str]:
    """
    The weights of an earlier save among the files of a folder or a repository: a single file beside newer shards would
    be loaded instead of them.

    Args:
        names (`Iterable[str]`): what is there.
        saved (`Collection[str]`): the files of the last save.
    """
    pattern = r"model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?"
    return [name for name in names if re.fullmatch(pattern, name) and name not in saved]


def remove_stale_weights(folder: str, saved: Collection[str]):
    """Removes the weights of a folder that are not of the last save; see [`stale_weights`]."""
    for name in stale_weights(os.listdir(folder), saved):
        os.remove(os.path.join(folder, name))


def newest_weights(folder: str) -> Collection[str]:
    """The weights of a folder from which transformers has removed other shards: a whole set of shards is newest."""
    index = os.path.join(folder, SAFE_WEIGHTS_INDEX_NAME)
    if os.path.isfile(index):
        with open(index, encoding="utf-8") as file:
            shards = {*json.load(file)["weight_map"].values()}
        if all(os.path.isfile(os.path.join(folder, name)) for name in shards):
            return shards | {SAFE_WEIGHTS_INDEX_NAME}
    return {SAFE_WEIGHTS_NAME}


class ReplacingPushMixin:
    """For a [`~transformers.utils.PushToHubMixin`]: a push deletes the weights of an earlier one in its commit."""

    # What push_to_hub and save_pretrained upload by. transformers' version only adds files, and a repository
    # would keep the weights of an earlier push.
    def _upload_modified_files(
        self,
        working_dir,
        repo_id: str,
        files_timestamps: dict[str, float],
        commit_message: str | None = None,
        token: bool | str | None = None,
        create_pr: bool = False,
        revision: str | None = None,
        commit_description: str | None = None,
    ):
        api = HfApi(token=token)
        if revision is not None and not revision.startswith("refs/"):
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        is_new = [
            name
            for name in os.listdir(working_dir)
            if os.path.getmtime(os.path.join(working_dir, name)) > files_timestamps.get(name, -1)
        ]
        return api.upload_folder(
            repo_id=repo_id,
            folder_path=working_dir,
            commit_message=commit_message or "Upload model",
            commit_description=commit_description,
            create_pr=create_pr,
            revision=revision,
            allow_patterns=is_new,
            delete_patterns=[SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME, SHARDS],
        )


class WeightsMixin(ReplacingPushMixin):
    """Loading and saving for a [`PreTrainedModel`]."""

    @classmethod
    def from_pretrained(cls, *args, output_loading_info: bool = False, **kwargs):
        """
        [`PreTrainedModel.from_pretrained`], but checked: that one initialises missing weights, drops unexpected ones.

        Raises:
            `ValueError`: if the weights do not fit the config (loaded as another class, only weights outside the
            encoder may be missing or unexpected), or hold NaN, infinity or feature values outside the config. With
            `state_dict` or `output_loading_info` nothing is checked.
        """
        model, info = super().from_pretrained(*args, output_loading_info=True, **kwargs)
        if output_loading_info:
            return model, info
        if kwargs.get("state_dict") is not None:
            return model
        is_same_class = cls.__name__ in (model.config.architectures or [])
        encoder = {name for name, _ in model.base_model.named_children()}
        bad_tensors = [
            f"{name} is {problem}"
            for problem in ("missing", "unexpected")
            for name in sorted(info[f"{problem}_keys"])
            if is_same_class or name.removeprefix(f"{cls.base_model_prefix}.").partition(".")[0] in encoder
        ]
        if bad_tensors:
            raise ValueError(f"the weights do not fit the config: {bad_tensors[0]} ({len(bad_tensors)} such tensors).")
        model._check_values()
        return model

    @torch.no_grad()
    def _check_values(self):
        for name, tensor in self.named_parameters():
            # The sum is one pass over the weights, a fraction of the loading time.
            if tensor.is_floating_point() and not tensor.is_meta and not tensor.sum(dtype=torch.float32).isfinite():
                raise ValueError(f"the weights cannot be used: {name} holds NaN, infinity or numbers near it.")
        for name, module in self.named_modules():
            if not isinstance(module, Bert4RecItemEmbeddings):
                continue
            vectors = getattr(module, "vectors", None)
            if vectors is not None and not vectors.is_meta and not vectors.sum(dtype=torch.float32).isfinite():
                raise ValueError(f"the weights cannot be used: the vectors of {name} hold NaN or infinity.")
            if module.max_values and not module.item_features.is_meta:
                for bag, ids in zip(module.feature_embeddings, module.item_features.split(module.max_values, dim=1)):
                    if ids.min() < 0 or ids.max() >= bag.num_embeddings:
                        raise ValueError(f"the weights cannot be used: {name} holds features that are none.")

    def save_pretrained(
        self, save_directory: str | os.PathLike, is_main_process: bool = True, *args, **kwargs
    ) -> None:
        """[`PreTrainedModel.save_pretrained`], but no weights of an earlier save stay in the folder."""
        super().save_pretrained(save_directory, is_main_process, *args, **kwargs)
        if is_main_process and os.path.isdir(save_directory) and kwargs.get("variant") is None:
            remove_stale_weights(save_directory, newest_weights(save_directory))
