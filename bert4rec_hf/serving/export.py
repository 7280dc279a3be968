# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Export of models to ONNX and OpenVINO, by transformers.exporters: served without torch, outside Python too."""

import contextlib
import copy
import io
import logging
import os
import shutil
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.utils import CONFIG_NAME, PROCESSOR_NAME

from ..errors import DataError
from ..evaluation.evaluator import RankingEvaluator
from ..files import atomic_write
from ..hub.load import load_config
from ..model import vocabulary_bert4rec
from ..model.configuration_bert4rec import Bert4RecConfig, feature_sizes
from ..model.modeling_bert4rec import Bert4RecForMaskedLM, Bert4RecPreTrainedModel
from ..model.modeling_bert4rec_ensemble import Bert4RecEnsembleForMaskedLM
from ..model.processing_bert4rec import Bert4RecProcessor
from ..model.recommendation_bert4rec import RecommendationMixin
from . import recommend
from .recommend import GRAPHS, open_graph


INT8 = "model_int8.onnx"
# The NDCG that an int8 model may lose, as a share.
TOLERANCE = 0.01
METRIC = "ndcg@10"


class Bert4RecForExport(Bert4RecPreTrainedModel):
    """
    The graph that is exported: histories in, log-probabilities or lists out.

    Args:
        model ([`Bert4RecForMaskedLM`] or [`Bert4RecEnsembleForMaskedLM`]): it is copied.
        k (`int`, *optional*): length of the lists; without it the log-probabilities of all items are returned.
        exclude_seen (`bool`, *optional*, defaults to `False`): leave out the items of the history.
    """

    def __init__(
        self,
        model: Bert4RecForMaskedLM | Bert4RecEnsembleForMaskedLM,
        k: int | None = None,
        exclude_seen: bool = False,
    ):
        super().__init__(model.config)
        self.model = copy.deepcopy(model).cpu().float().eval()
        self.members = [*getattr(self.model, "members", [self.model])]
        for member in self.members:
            finish_item_table(member)
            member.add_mask = partial(add_mask_on_the_right, member.config)
        self.k, self.exclude_seen = k, exclude_seen

    def forward(
        self,
        input_ids: torch.LongTensor,
        user_features: torch.LongTensor | None = None,
        timestamps: torch.LongTensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """
        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`):
                Whole histories, oldest item first, of any length, padded with 0 on the left.
            user_features (`torch.LongTensor` of shape `(batch_size, num_user_features)`, *optional*):
                Value ids, for a model that has user features.
            timestamps (`torch.LongTensor` of shape `(batch_size, sequence_length + 1)`, *optional*):
                When the events were, and the moment to recommend for, for a model that reads times.

        Returns:
            `scores` `(batch_size, vocab_size)`, or `item_ids` and `scores`, both `(batch_size, k)`.
        """
        scores = self.model.score(input_ids, None, user_features, timestamps)
        if any(member.repeat_prior is not None for member in self.members):
            special_ids = torch.tensor(self.members[0].special_ids)
            scores = scores.index_fill(1, special_ids, -torch.inf)  # OpenVINO adds two probabilities of 0 to NaN
        if self.exclude_seen:
            scores = scores.scatter(1, input_ids, -torch.inf)
        if self.k is None:
            return {"scores": scores}
        values, item_ids = scores.topk(self.k)
        return {"item_ids": item_ids, "scores": values}


def add_mask_on_the_right(
    config: Bert4RecConfig,
    input_ids: torch.LongTensor,
    attention_mask: None = None,
    timestamps: torch.LongTensor | None = None,
) -> tuple[torch.LongTensor, torch.Tensor, torch.LongTensor, torch.LongTensor | None]:
    """
    As [`~Bert4RecForMaskedLM.add_mask`] for histories that are padded on the left: its sizes may be symbolic, and
    without a scatter OpenVINO takes half the time. If the model is causal, MASK replaces the last padding of a history
    that is not truncated.
    """
    sides = (1, 0, config.pad_token_id) if config.is_causal else (0, 1, config.mask_token_id)
    masked = nn.functional.pad(input_ids, sides[:2], value=sides[2])
    # The last columns by their numbers: a slice would be traced for short histories only.
    width = torch.sym_min(masked.shape[1], config.max_position_embeddings)
    columns = torch.arange(width) + (masked.shape[1] - width)
    masked = masked.index_select(1, columns)
    timestamps = None if timestamps is None else timestamps.index_select(1, columns)
    if config.is_causal:
        newer = nn.functional.pad(masked[:, 1:], (0, 1), value=config.mask_token_id)
        is_last_padding = (masked == config.pad_token_id) & (newer != config.pad_token_id)
        masked = masked.masked_fill(is_last_padding, config.mask_token_id)
    last = torch.zeros_like(masked[:, :1]) + (masked.shape[1] - 1)
    return masked, (masked != config.pad_token_id).long(), last, timestamps


@torch.no_grad()
def finish_item_table(model: Bert4RecForMaskedLM):
    """Replaces the embeddings of ids and of items' features by their sums, which no request computes again."""
    embeddings = model.get_input_embeddings()
    table, weight = embeddings(), model.output_layer()[0]
    embeddings.max_values, embeddings.vector_sizes = [], []
    embeddings.vectors = None
    embeddings.weight = nn.Parameter(table)
    model.decoder.weight = embeddings.weight if weight is table else nn.Parameter(weight)


class ExportedModel(RecommendationMixin):
    """
    An exported model with the `score` and `recommend` of the model itself, filters included: for an evaluation of what
    is served.

    Args:
        folder (`str`): that of [`export_model`].
        file_name (`str`, *optional*): the graph, if there are several; it must return log-probabilities.
        num_threads (`int`, *optional*): threads of one request.
    """

    device, training = torch.device("cpu"), False
    NOT_THERE = "an exported model has no item features and vectors: max_per and diversity need the model itself."

    def __init__(self, folder: str, file_name: str | None = None, num_threads: int | None = None):
        self.config = load_config(folder)
        names = [name for name in GRAPHS.values() if os.path.exists(os.path.join(folder, name))]
        if not names:
            raise DataError(f"{folder} holds no exported model: neither {' nor '.join(GRAPHS.values())}.")
        self.run = open_graph(os.path.join(folder, file_name or names[0]), num_threads)

    def score(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        user_features: torch.LongTensor | None = None,
        timestamps: torch.LongTensor | None = None,
    ) -> torch.Tensor:
        input_ids = self.seen_items(input_ids, attention_mask)
        order = (input_ids != self.config.pad_token_id).long().argsort(dim=1, stable=True)
        inputs = {"input_ids": input_ids.gather(1, order).numpy()}  # padded on the left
        if self.config.user_features:
            if user_features is None:
                user_features = input_ids.new_zeros(len(input_ids), sum(feature_sizes(self.config.user_features)))
            inputs["user_features"] = user_features.long().numpy()
        if self.config.time_intervals != "none":
            moments = input_ids.new_zeros(len(input_ids), input_ids.shape[1] + 1)
            if timestamps is not None:
                moments = torch.cat([timestamps[:, :-1].gather(1, order), timestamps[:, -1:]], dim=1)
            inputs["timestamps"] = moments.long().numpy()
        scores = torch.from_numpy(self.run(inputs)["scores"])
        if scores.shape[1] != self.config.vocab_size:
            raise ValueError("the graph returns lists, not all scores; export it without --k.")
        return scores

    def feature_values(self, name: str) -> torch.Tensor:
        raise ValueError(self.NOT_THERE)

    def unit_vectors(self, item_ids: torch.LongTensor) -> torch.Tensor:
        raise ValueError(self.NOT_THERE)


def export_model(
    model: Bert4RecForMaskedLM | Bert4RecEnsembleForMaskedLM,
    processor: Bert4RecProcessor,
    output_dir: str,
    export_format: str = "onnx",
    k: int | None = None,
    exclude_seen: bool = False,
    int8_evaluator: RankingEvaluator | None = None,
) -> dict[str, float]:
    """
    Exports a model: the graph, which takes any number of histories of any length, the vocabulary, and `recommend.py`,
    which recommends with them and needs neither torch nor transformers. Files of the same names are replaced.

    Args:
        output_dir (`str`):
            A folder; made if missing.
        export_format (`str`, *optional*, defaults to `"onnx"`):
            `"onnx"` or `"openvino"`.
        k (`int`, *optional*):
            The graph returns the `k` best items and their scores instead of the log-probabilities of all.
        exclude_seen (`bool`, *optional*, defaults to `False`):
            The graph leaves out the items of the history.
        int8_evaluator ([`RankingEvaluator`], *optional*):
            Quantizes an ONNX model too, as `model_int8.onnx`, and keeps it if the evaluator finds at least 99% of the
            NDCG@10 in it.

    Returns:
        `dict[str, float]`: with `int8_evaluator`, NDCG@10 of `"float32"` and `"int8"`.

    Raises:
        `DataError`: for a model or a format that cannot be exported, or if the folder cannot be written.
        `ImportError`: without the packages of the extra `export`.
    """
    if export_format not in GRAPHS:
        raise DataError(f"export_format is {export_format!r}; it must be one of {', '.join(GRAPHS)}.")
    if getattr(model.config, "voting", "probability") == "reciprocal_rank":
        raise DataError("an ensemble that votes by reciprocal ranks cannot be exported; use --voting probability.")
    if k is not None and not 1 <= k <= processor.vocab_size - vocabulary_bert4rec.NUM_SPECIAL_TOKENS:
        raise DataError(f"k is {k}; it must be from 1 to the number of items.")
    if int8_evaluator is not None and export_format != "onnx":
        raise DataError("int8 needs the format onnx.")
    processor.check_config(model.config)
    ndcg, files = {}, {"float32": GRAPHS[export_format]}
    with atomic_write(output_dir) as part:
        os.makedirs(part)
        model.config.to_json_file(os.path.join(part, CONFIG_NAME), use_diff=True)
        processor.to_json_file(os.path.join(part, PROCESSOR_NAME))
        processor.save_vocabulary(part)
        for module in (recommend, vocabulary_bert4rec):
            shutil.copy(module.__file__, part)
        graph = Bert4RecForExport(model, k, exclude_seen)
        if int8_evaluator is not None:  # by the log-probabilities, also where lists are exported
            graph.k, graph.exclude_seen = None, False
            files["int8"] = INT8
            _save_graphs(graph, export_format, part, files)
            ndcg = {name: int8_evaluator(ExportedModel(part, file))[METRIC] for name, file in files.items()}
            if not ndcg["int8"] >= (1 - TOLERANCE) * ndcg["float32"]:
                _remove_int8(part)
                del files["int8"]
            graph.k, graph.exclude_seen = k, exclude_seen
        if int8_evaluator is None or k is not None or exclude_seen:
            _save_graphs(graph, export_format, part, files)
    if "int8" not in files and export_format == "onnx":  # one of earlier weights
        _remove_int8(output_dir)
    return ndcg


def _remove_int8(folder: str):
    for name in (INT8, f"{INT8}.data"):
        Path(folder, name).unlink(missing_ok=True)


def _save_graphs(graph: Bert4RecForExport, export_format: str, folder: str, files: dict[str, str]):
    """Traces a graph, and writes it, and its int8 version if `files` has one, to a folder."""
    num_features = sum(feature_sizes(graph.config.user_features))
    inputs: dict[str, Any] = {"input_ids": torch.full((2, 3), vocabulary_bert4rec.NUM_SPECIAL_TOKENS)}
    sizes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    shapes = {"input_ids": sizes}
    if num_features:
        inputs["user_features"] = torch.zeros(2, num_features, dtype=torch.long)
        shapes["user_features"] = {0: sizes[0]}
    if graph.config.time_intervals != "none":
        inputs["timestamps"] = torch.full((2, 4), 10**9)
        shapes["timestamps"] = sizes
    with _silence():
        exporter, config, quantizer = _exporter(export_format, int8="int8" in files)
        program, _ = exporter.export_program(graph, inputs, config(dynamic_shapes=shapes))
        programs = {"float32": program}
        if quantizer is not None:
            programs["int8"] = quantizer.quantize(program, inputs, exporter.export_format)
    for name, program in programs.items():
        exporter.save_program(program, os.path.join(folder, files[name]))


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Without the exporters' steps and warnings: what does not fit torch fails, and is not warned of."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _exporter(export_format: str, int8: bool):
    """The exporter of a format, the class of its settings, and the quantizer if `int8`."""
    try:
        if export_format == "openvino":
            from transformers.exporters.exporter_openvino import OpenVINOConfig, OpenVINOExporter

            return OpenVINOExporter(), OpenVINOConfig, None
        from transformers.exporters.exporter_onnx import OnnxConfig, OnnxExporter

        if not int8:
            return OnnxExporter(), OnnxConfig, None
        from transformers.exporters.quantizers import OnnxRuntimeDynamicConfig, OnnxRuntimeQuantizer

        int8_config = OnnxRuntimeDynamicConfig(op_types_to_quantize=["MatMul", "Gemm"], per_channel=True)
        return OnnxExporter(), OnnxConfig, OnnxRuntimeQuantizer(int8_config)
    except ImportError as error:
        reason = str(error).strip().splitlines()[0]
        raise ImportError(f"export needs 'pip install bert4rec-hf[export]': {reason}") from None
