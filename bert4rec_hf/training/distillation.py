# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Distillation: an ensemble as the teacher of one model."""

import torch

from ..errors import DataError
from ..hub.load import merge_processors
from ..model.configuration_bert4rec import feature_columns
from ..model.loss_bert4rec import linear_cross_entropy, select_targets
from ..model.modeling_bert4rec import Bert4RecForMaskedLM
from ..model.modeling_bert4rec_ensemble import Bert4RecEnsembleForMaskedLM
from ..model.processing_bert4rec import Bert4RecProcessor


class Teacher:
    """
    Teacher of a [`Bert4RecTrainer`]'s model, besides the labels: a distribution over the teacher's most likely items
    at each label (https://huggingface.co/papers/1503.02531).

    Args:
        model ([`Bert4RecForMaskedLM`] or [`Bert4RecEnsembleForMaskedLM`]): the teacher; it is not trained.
        processor, student_processor ([`Bert4RecProcessor`]): the teacher's, and the student's.
        max_length (`int`): positions of the longest row of a batch.
        weight (`float`, *optional*, defaults to 0.5): the teacher's weight in the loss, from 0 to 1.
        temperature (`float`, *optional*, defaults to 1.0): softmax temperature; above 1, less likely items count more.
        num_items (`int`, *optional*, defaults to 100): number of most likely items per label.

    Raises:
        `DataError`: if it does not fit the student: other items, another split, a user feature or times that the
        student lacks, or fewer positions.
    """

    def __init__(
        self,
        model: Bert4RecForMaskedLM | Bert4RecEnsembleForMaskedLM,
        processor: Bert4RecProcessor,
        student_processor: Bert4RecProcessor,
        max_length: int,
        weight: float = 0.5,
        temperature: float = 1.0,
        num_items: int = 100,
    ):
        merged = merge_processors({"the student": student_processor, "the teacher": processor})
        if merged.user_feature_names != student_processor.user_feature_names:
            raise DataError(
                f"the teacher needs the user features {', '.join(processor.user_feature_names)}; train the student "
                "with them too."
            )
        if processor.reads_times and not student_processor.reads_times:
            raise DataError("the teacher reads times; train the student with --time_intervals too.")
        if model.config.max_position_embeddings < max_length:
            raise DataError(
                f"the teacher takes at most {model.config.max_position_embeddings} positions, the student's rows have "
                f"up to {max_length}; give a smaller --max_length."
            )
        if isinstance(model, Bert4RecForMaskedLM):
            model = Bert4RecEnsembleForMaskedLM.from_members([model], processor)
        self.model = model.eval().requires_grad_(False)
        features = student_processor.config_kwargs()["user_features"]
        self.columns = feature_columns(features, processor.user_feature_names)
        self.weight, self.temperature, self.num_items = weight, temperature, num_items

    def soft_loss(
        self,
        student: Bert4RecForMaskedLM,
        inputs: dict[str, torch.Tensor],
        states: torch.Tensor,
        loss: torch.Tensor,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """
        The cross entropy of the student with the teacher's distribution at each label, both at the temperature, times
        its square.

        Args:
            inputs (`dict[str, torch.Tensor]`): a batch, with its labels.
            states (`torch.Tensor` of shape `(num_labels, hidden_size)`): the student's, after its head.
            loss (`torch.Tensor`): the student's loss for the labels alone.
            num_items_in_batch (`int`, *optional*): divisor of the sum; the number of labels by default.
        """
        excluded = {}
        positions, places, labels = select_targets(inputs["labels"], inputs.get("target_positions"))
        if student.config.exclude_seen_in_loss:
            exclude_ids = student.items_of_rows(inputs["input_ids"], inputs.get("attention_mask"), inputs["labels"])
            excluded = {"exclude_ids": exclude_ids, "rows": places // positions.shape[1]}
        item_ids, probs = self.distribution(inputs, excluded.get("exclude_ids"))
        weight, bias = student.output_layer()
        num = max(len(labels), 1) if num_items_in_batch is None else num_items_in_batch
        if student.config.loss != "cross_entropy" or self.temperature != 1:
            scaled = states / self.temperature, labels, weight, bias / self.temperature
            loss = linear_cross_entropy(*scaled, **excluded).float() / num
        # The soft cross entropy is that of the label plus the label's logit minus the mean logit, which is the logit
        # of the mean embedding: this needs no embedding per item and label.
        probs = probs.to(weight.dtype)
        mean = torch.nn.functional.embedding_bag(item_ids, weight, mode="sum", per_sample_weights=probs)
        lead = (states * (weight[labels] - mean)).sum() + (bias[labels] - (bias[item_ids] * probs).sum(1)).sum()
        return self.temperature**2 * (loss + lead.float() / self.temperature / num)

    def distribution(
        self, inputs: dict[str, torch.Tensor], exclude_ids: torch.LongTensor | None = None
    ) -> tuple[torch.LongTensor, torch.FloatTensor]:
        """The teacher's distribution for a batch of the student: see `label_distribution` of the ensemble."""
        user_features = inputs.get("user_features")
        return self.model.label_distribution(
            inputs["input_ids"],
            inputs["labels"],
            inputs.get("attention_mask"),
            None if user_features is None else user_features[:, self.columns],
            self.num_items,
            self.temperature,
            inputs.get("target_positions"),
            exclude_ids,
            inputs.get("timestamps"),
        )
