# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""PyTorch ensemble of BERT4Rec models that vote."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn
from transformers.modeling_outputs import MaskedLMOutput
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs
from transformers.utils.generic import can_return_tuple

from .configuration_bert4rec import Bert4RecConfig, Bert4RecEnsembleConfig, feature_columns
from .loss_bert4rec import exclude, select_targets
from .modeling_bert4rec import Bert4RecForMaskedLM, Bert4RecPreTrainedModel
from .processing_bert4rec import Bert4RecProcessor
from .recommendation_bert4rec import RecommendationMixin, gather_parameters


if TYPE_CHECKING:  # names every file: transformers saves and copies those that an entry point names itself
    from .layers_bert4rec import Bert4RecLayer  # noqa: F401
    from .masking_bert4rec import make_mask  # noqa: F401
    from .pipeline_bert4rec import ItemRecommendationPipeline  # noqa: F401
    from .ranking_bert4rec import rank_items  # noqa: F401
    from .vocabulary_bert4rec import normalize_value  # noqa: F401
    from .weights_bert4rec import WeightsMixin  # noqa: F401


class Bert4RecEnsembleForMaskedLM(RecommendationMixin, Bert4RecPreTrainedModel):
    """
    Several [`Bert4RecForMaskedLM`] that vote on what comes next, as one model: of any size, features, objective or
    loss, over the same items.

    Example:

    ```python
    >>> from bert4rec_hf import Bert4RecEnsembleForMaskedLM, Bert4RecProcessor

    >>> folders = ["exps/seed1", "exps/seed2"]
    >>> Bert4RecEnsembleForMaskedLM.from_checkpoints(folders).save_pretrained("exps/ensemble")
    >>> Bert4RecProcessor.from_checkpoints(folders).save_pretrained("exps/ensemble")
    ```"""

    config: Bert4RecEnsembleConfig
    config_class = Bert4RecEnsembleConfig
    _auto_class = "AutoModelForMaskedLM"

    def __init__(self, config: Bert4RecEnsembleConfig):
        super().__init__(config)
        kwargs = {"attn_implementation": self.config._attn_implementation}
        self.members = nn.ModuleList(Bert4RecForMaskedLM._from_config(member, **kwargs) for member in config.members)
        self.post_init()
        # post_init does not look into lists of models.
        self.all_tied_weights_keys = self.get_expanded_tied_weights_keys(all_submodels=True)

    @classmethod
    def from_checkpoints(
        cls,
        names: Sequence[str],
        voting: str = "probability",
        weights: Sequence[float] | None = None,
        **kwargs,
    ) -> "Bert4RecEnsembleForMaskedLM":
        """
        The ensemble of single models, each a folder or an id on the Hub. Its processor is
        [`Bert4RecProcessor.from_checkpoints`] of the same.

        Args:
            voting, weights: as for [`Bert4RecEnsembleConfig`].
            kwargs: of [`~PreTrainedModel.from_pretrained`], for each member.

        Raises:
            `ValueError`: if one is not a single model, or their items or data settings differ.
        """
        for name in names:
            model_type = Bert4RecConfig.get_config_dict(name)[0].get("model_type")
            if model_type != Bert4RecConfig.model_type:
                raise ValueError(f"{name} holds a model of type {model_type}, which cannot be a member; name its own.")
        processor = Bert4RecProcessor.from_checkpoints(names)
        members = [Bert4RecForMaskedLM.from_pretrained(name, **kwargs) for name in names]
        return cls.from_members(members, processor, voting, weights)

    @classmethod
    def from_members(
        cls,
        members: Sequence[Bert4RecForMaskedLM],
        processor: Bert4RecProcessor,
        voting: str = "probability",
        weights: Sequence[float] | None = None,
    ) -> "Bert4RecEnsembleForMaskedLM":
        """
        The ensemble of models in memory; they are not copied.

        Args:
            processor ([`Bert4RecProcessor`]): [`Bert4RecProcessor.merge`] of the members' own.
        """
        weights = None if weights is None else list(weights)
        configs = [member.config for member in members]
        config = Bert4RecEnsembleConfig(members=configs, voting=voting, weights=weights, **processor.config_kwargs())
        return cls._of(members, config)

    @classmethod
    def _of(cls, members: Sequence[Bert4RecForMaskedLM], config: Bert4RecEnsembleConfig):
        with torch.device("meta"):
            ensemble = cls(config)
        ensemble.members = nn.ModuleList(members)
        return ensemble.eval()

    def subset(self, numbers: Sequence[int], weights: Sequence[float] | None = None) -> "Bert4RecEnsembleForMaskedLM":
        """An ensemble of some of the members, which are shared, not copied; with equal weights if none are given."""
        config = self.config.to_dict()
        config["members"] = [self.members[number].config for number in numbers]
        config["weights"] = None if weights is None else list(weights)
        config = Bert4RecEnsembleConfig.from_dict(config)
        return self._of([self.members[number] for number in numbers], config)

    def inputs_of(
        self, member: Bert4RecForMaskedLM, user_features: torch.Tensor | None, timestamps: torch.Tensor | None
    ) -> dict[str, torch.Tensor | None]:
        """The columns of `user_features` that a member uses, and `timestamps`, if it reads them."""
        if user_features is not None:
            names = [feature["name"] for feature in member.config.user_features]
            user_features = user_features[:, feature_columns(self.config.user_features, names)]
        timestamps = None if member.config.time_intervals == "none" else timestamps
        return {"user_features": user_features, "timestamps": timestamps}

    def pieces(self, *states: torch.Tensor, scores_at_once: int = 250_000) -> Iterator[tuple[torch.Tensor, ...]]:
        """The states in chunks of rows, so that a vote needs little memory besides its result."""
        if torch.compiler.is_compiling():  # an exported graph has one piece, for any number of rows
            return iter([states])
        return zip(*(part.split(max(1, scores_at_once // self.config.vocab_size)) for part in states))

    @torch.no_grad()
    def vote(
        self, states: Sequence[tuple[torch.Tensor, ...]], scores_at_once: int = 250_000
    ) -> Iterator[torch.Tensor]:
        """
        From the arguments of each member's [`~Bert4RecForMaskedLM.log_probabilities`] to the ensemble's
        log-probabilities `(num_states, vocab_size)`, in [`~Bert4RecEnsembleForMaskedLM.pieces`].
        """
        weights = self.config.weights or [1.0] * len(self.members)
        for rows in zip(*(self.pieces(*state, scores_at_once=scores_at_once) for state in states)):
            total = 0
            for weight, ballot in zip(weights, self.ballots(rows)):
                total = ballot.mul_(weight / sum(weights)).add_(total)
            total = total if self.config.voting == "log_probability" else total.log_()
            # A mean of probabilities is already normalised.
            yield (total if self.config.voting == "probability" else total.log_softmax(-1)).float()

    @torch.no_grad()
    def ballots(self, states: Sequence[tuple[torch.Tensor, ...]]) -> Iterator[torch.Tensor]:
        """The vote of each member, given the inputs of its `log_probabilities`: `(num_states, vocab_size)`."""
        for member, state in zip(self.members, states):
            log_probs = member.log_probabilities(*state)
            # float64 keeps small probabilities, and the sum independent of the members' order; ranks need none.
            needs_doubles = self.config.voting != "reciprocal_rank" and log_probs.device.type != "mps"
            ballot = log_probs.to(torch.float64 if needs_doubles else torch.float32, copy=True)
            if self.config.voting == "probability":
                ballot.exp_()
            elif self.config.voting == "reciprocal_rank":
                order = log_probs.argsort(dim=-1, descending=True, stable=True)
                ranks = torch.arange(1, ballot.shape[1] + 1, dtype=ballot.dtype, device=ballot.device)
                ballot.scatter_(1, order, (1 / (60 + ranks)).expand_as(ballot)).masked_fill_(log_probs.isneginf(), 0)
                ballot.masked_fill_(log_probs.isnan(), torch.nan)  # NaN has no rank
            yield ballot

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        user_features: torch.LongTensor | None = None,
        labels: torch.LongTensor | None = None,
        target_positions: torch.LongTensor | None = None,
        timestamps: torch.LongTensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> tuple[torch.Tensor] | MaskedLMOutput:
        r"""
        The arguments are those of [`Bert4RecForMaskedLM.forward`]. With `labels`, `loss` is the mean of the members'
        losses, with which each of them trains as it would alone. In evaluation mode, and without labels, `logits` are
        the ensemble's log-probabilities, without gradient.
        """
        loss = logits = None
        if labels is not None:
            losses = [
                member(
                    input_ids,
                    attention_mask,
                    position_ids,
                    labels=labels,
                    target_positions=target_positions,
                    **self.inputs_of(member, user_features, timestamps),
                    **kwargs,
                ).loss
                for member in self.members
            ]
            loss = torch.stack(losses).mean()
        if labels is None or not self.training:
            shape = (input_ids if target_positions is None else target_positions).shape
            states = self.states_at(
                None, input_ids, attention_mask, user_features, target_positions, position_ids, timestamps
            )
            logits = torch.cat([*self.vote(states)]).view(*shape, -1)
        return MaskedLMOutput(loss=loss, logits=logits)

    @torch.no_grad()
    @gather_parameters
    def score(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        user_features: torch.LongTensor | None = None,
        timestamps: torch.LongTensor | None = None,
    ) -> torch.Tensor:
        states = self.next_item_states(input_ids, attention_mask, user_features, timestamps)
        scores = torch.empty(input_ids.shape[0], self.config.vocab_size, device=input_ids.device)
        for (rows,), voted in zip(self.pieces(scores), self.vote(states)):
            rows.copy_(voted)
        return scores

    def next_item_states(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        user_features: torch.LongTensor | None = None,
        timestamps: torch.LongTensor | None = None,
    ) -> list[tuple[torch.Tensor, ...]]:
        """[`~Bert4RecForMaskedLM.next_item_states`] of each member."""
        return [
            member.next_item_states(input_ids, attention_mask, **self.inputs_of(member, user_features, timestamps))
            for member in self.members
        ]

    def feature_values(self, name: str) -> torch.Tensor:
        members = [member for member in self.members if name in {f["name"] for f in member.config.item_features}]
        if not members:
            names = [feature["name"] for feature in self.config.item_features]
            raise ValueError(f"no member has the item feature {name!r}; there are {', '.join(names) or 'none'}.")
        return members[0].feature_values(name)

    def unit_vectors(self, item_ids: torch.LongTensor) -> torch.Tensor:
        return torch.cat([member.unit_vectors(item_ids) for member in self.members], dim=-1) / len(self.members) ** 0.5

    def item_vectors(self) -> torch.Tensor:
        """An ensemble has no vectors: raises `ValueError`."""
        raise ValueError("an ensemble has no vectors: votes have the order of no inner product. Take a member's.")

    def user_vectors(self, *args, **kwargs) -> torch.Tensor:
        """An ensemble has no vectors: raises `ValueError`."""
        return self.item_vectors()

    def repeated_probabilities(
        self,
        input_ids: torch.LongTensor,
        item_ids: torch.LongTensor,
        user_features: torch.LongTensor | None = None,
        timestamps: torch.LongTensor | None = None,
    ) -> torch.Tensor | None:
        if self.config.voting != "probability":  # other votes are no sums of parts
            return None
        repeated = [
            member.repeated_probabilities(input_ids, item_ids, **self.inputs_of(member, user_features, timestamps))
            for member in self.members
        ]
        if all(part is None for part in repeated):
            return None
        weights = self.config.weights or [1.0] * len(self.members)
        parts = [weight * part for weight, part in zip(weights, repeated) if part is not None]
        return sum(parts) / sum(weights)

    def states_at(
        self,
        places: torch.LongTensor | None,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        user_features: torch.LongTensor | None = None,
        positions: torch.LongTensor | None = None,
        position_ids: torch.LongTensor | None = None,
        timestamps: torch.LongTensor | None = None,
    ) -> list[tuple[torch.Tensor, ...]]:
        """
        The arguments of each member's `log_probabilities` at the indices `places` `(num_states,)` of the flattened
        `positions` `(batch_size, num_positions)`; all of them if `None`.
        """
        states = []
        for member in self.members:
            inputs = self.inputs_of(member, user_features, timestamps)
            state = member.model(input_ids, attention_mask, position_ids, output_positions=positions, **inputs)[0]
            history = member.histories_at(input_ids, attention_mask, positions, places)
            state = state.flatten(0, 1)
            states.append((state if places is None else state[places], *history))
        return states

    @torch.no_grad()
    def label_distribution(
        self,
        input_ids: torch.LongTensor,
        labels: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        user_features: torch.LongTensor | None = None,
        num_items: int = 100,
        temperature: float = 1.0,
        target_positions: torch.LongTensor | None = None,
        exclude_ids: torch.LongTensor | None = None,
        timestamps: torch.LongTensor | None = None,
    ) -> tuple[torch.LongTensor, torch.FloatTensor]:
        """
        For distillation: the ensemble's most likely items at each label, and their probabilities renormalised over
        these items, both `(num_labels, num_items)`, row by row; without `exclude_ids`, as in [`linear_cross_entropy`].
        """
        positions, places, labels = select_targets(labels, target_positions)
        states = self.states_at(places, input_ids, attention_mask, user_features, positions, timestamps=timestamps)
        num_items, end, top = min(num_items, self.config.vocab_size - 3), 0, []
        for voted in self.vote(states, 1_000_000):
            start, end = end, end + len(voted)
            if exclude_ids is not None:
                voted = exclude(voted, exclude_ids[places[start:end] // positions.shape[1]], labels[start:end])
            top.append(voted.topk(num_items))
        if not top:
            no_items = input_ids.new_zeros(0, num_items)
            return no_items, no_items.float()
        values, item_ids = map(torch.cat, zip(*top))
        return item_ids, (values / temperature).softmax(-1)


__all__ = ["Bert4RecEnsembleForMaskedLM"]
