# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Losses of BERT4Rec: full softmax, sampled, and the mixture with the user's history; selection of the targets."""

import math
from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from .configuration_bert4rec import Bert4RecConfig
from .layers_bert4rec import is_item, safe_log


# Number of logits of a batch that may be kept for the backward pass: 512 MB in float32.
MAX_LOGITS = 2**27


@torch.compiler.disable
def select_targets(
    labels: torch.LongTensor, target_positions: torch.LongTensor | None = None, keep_all: bool = False
) -> tuple[torch.LongTensor, torch.LongTensor, torch.LongTensor]:
    """
    The labels of a batch and the positions that predict them.

    Args:
        labels (`torch.LongTensor` of shape `(batch_size, num_targets)`): -100 where there is none.
        target_positions (`torch.LongTensor` of shape `(batch_size, num_targets)`, *optional*):
            Column that predicts each label; the label's own column by default.
        keep_all (`bool`, *optional*, defaults to `False`): keep the positions without a label too.

    Returns:
        The positions `(batch_size, num_positions)`, labelled ones first in each row, padded to the row with most
        labels; the indices of the labels in the flattened positions, and the labels, both `(num_labels,)`.
    """
    labelled = labels != -100
    counts = labelled.sum(1)
    num_labels, max_labels = torch.stack([counts.sum(), counts.max()]).tolist()  # one device synchronization per step
    if keep_all:
        positions = torch.arange(labels.shape[1], device=labels.device).expand_as(labels)
    else:
        positions = labelled.logical_not().byte().argsort(dim=1, stable=True)[:, : max(max_labels, 1)]
        labels = labels.gather(1, positions)
    labels = labels.flatten()
    positions = positions if target_positions is None else target_positions.gather(1, positions)
    label_indices = torch.nonzero_static(labels != -100, size=num_labels)[:, 0]
    return positions, label_indices, labels[label_indices]


@torch.compiler.disable
def check_objective(
    config: Bert4RecConfig,
    input_ids: torch.LongTensor,
    attention_mask: torch.Tensor | None,
    labels: torch.LongTensor,
    target_positions: torch.LongTensor | None = None,
):
    """
    Checks that a batch fits the objective of the model: with item masking the labels are the masked items; for a
    causal model each label is the next input.

    Raises:
        `ValueError`: if the batch is for the other objective, or if `labels` equal the `input_ids` of a causal model.
    """
    rows = slice(16)  # all rows of a batch are made the same way: 16 are enough
    input_ids, labels = input_ids[rows], labels[rows]
    shows_item = is_item(config, input_ids)
    if attention_mask is not None and attention_mask.ndim == 2:
        shows_item &= attention_mask[rows] != 0

    # For each label: the input at its position, and the next input.
    columns = torch.arange(labels.shape[1], device=labels.device).expand_as(labels)
    columns = columns if target_positions is None else target_positions[rows]
    next_columns = (columns + 1).clamp(max=input_ids.shape[1] - 1)
    labelled = (labels != -100) & (labels != config.pad_token_id)
    inputs, next_inputs = input_ids.gather(1, columns), input_ids.gather(1, next_columns)
    shows_other_item = labelled & shows_item.gather(1, columns) & (inputs != labels)
    by_column = torch.full_like(input_ids, -100)
    by_column = by_column.scatter_reduce(1, columns, labels.masked_fill(~labelled, -100), "amax")
    has_label = by_column != -100
    # If a user repeats an item, the next input is the label for both objectives: this says nothing.
    is_repeat = by_column.gather(1, next_columns) == labels
    has_next = labelled & shows_item.gather(1, next_columns) & (columns < next_columns) & ~is_repeat
    counts = [
        *(labelled, labelled & (inputs == labels), labelled & (inputs == config.mask_token_id), shows_other_item),
        *(has_next & (next_inputs == labels), has_next & (next_inputs != labels)),
        *(
            shows_other_item & has_next & (next_inputs == labels),
            shows_other_item & has_next & (next_inputs != labels),
        ),
        shows_item & ~has_label,
    ]
    counts = torch.stack([count.sum() for count in counts]).tolist()  # a device synchronization, as in select_targets
    (
        num_labels,
        num_copied,
        num_masked,
        other,
        followed,
        not_followed,
        other_followed,
        other_not_followed,
        unlabelled,
    ) = counts
    if config.is_causal and num_labels:
        is_copy = num_copied == num_labels and not unlabelled and not_followed
        is_masked = 2 * num_masked > num_labels > 5 * other and unlabelled and not_followed > followed
        if is_copy or is_masked:
            kind = "labels are the inputs themselves" if is_copy else "items are masked"
            raise ValueError(
                f"the model is causal, and the {kind} in this batch; make batches with "
                "DataCollatorForItemMasking(processor, mlm=False)."
            )
    elif other_followed > other_not_followed and not unlabelled:
        raise ValueError(
            "the model predicts masked items, and in this batch each input is followed by its label, as for a causal "
            "model; make batches with DataCollatorForItemMasking(processor, mlm=True)."
        )


def exclude(logits: torch.Tensor, exclude_ids: torch.LongTensor, labels: torch.LongTensor) -> torch.Tensor:
    """Logits `(num_labels, vocab_size)` with `-inf` for `exclude_ids` `(num_labels, num_ids)` but the labels."""
    of_labels = logits.gather(1, labels[:, None])
    return logits.scatter(1, exclude_ids, -torch.inf).scatter(1, labels[:, None], of_labels)


def linear_cross_entropy(
    hidden_states: torch.Tensor,
    labels: torch.LongTensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    reduction: str = "sum",
    exclude_ids: torch.LongTensor | None = None,
    rows: torch.LongTensor | None = None,
) -> torch.Tensor:
    """
    Cross entropy of the softmax over all items, in chunks of rows: the full logits are never in memory.

    Args:
        hidden_states (`torch.Tensor` of shape `(num_labels, hidden_size)`): inputs of the output layer.
        labels (`torch.LongTensor` of shape `(num_labels,)`): the items to predict.
        weight, bias (`torch.Tensor` of shape `(vocab_size, hidden_size)` and `(vocab_size,)`): the output layer.
        reduction (`str`, *optional*, defaults to `"sum"`): `"sum"`, `"mean"` or `"none"`.
        exclude_ids (`torch.LongTensor` of shape `(num_rows, num_ids)`, *optional*):
            Items that are left out of the softmax, for each row of the batch. A label never is.
        rows (`torch.LongTensor` of shape `(num_labels,)`, *optional*): the row of each label.
    """
    # Small chunks read the item weights too often, large ones do not fit in a CPU's cache.
    chunk = 256 if hidden_states.device.type == "cpu" else min(4096, max(256, 2**28 // len(weight)))
    if exclude_ids is None and hasattr(nn, "LinearCrossEntropyOptions"):  # since torch 2.13
        options = nn.LinearCrossEntropyOptions(batch_chunk_size=chunk, chunking_method=None)
        return nn.functional.linear_cross_entropy(
            hidden_states, weight, labels, linear_bias=bias, reduction=reduction, options=options
        )
    return _chunked_cross_entropy(hidden_states, labels, weight, bias, reduction, chunk, exclude_ids, rows)


def _chunked_cross_entropy(
    hidden_states: torch.Tensor,
    labels: torch.LongTensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    reduction: str,
    chunk: int,
    exclude_ids: torch.LongTensor | None = None,
    rows: torch.LongTensor | None = None,
) -> torch.Tensor:
    """The same for every torch version: where there are many logits, the backward pass computes them again."""

    def losses_of(states: torch.Tensor, labels: torch.LongTensor, rows: torch.LongTensor | None = None):
        logits = nn.functional.linear(states, weight, bias)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if rows is not None:
            logits = exclude(logits, exclude_ids[rows], labels)
        return nn.functional.cross_entropy(logits, labels, reduction="none")

    columns = (hidden_states, labels) if exclude_ids is None else (hidden_states, labels, rows)
    chunks = zip(*(column.split(chunk) for column in columns))
    compute = losses_of
    if len(hidden_states) * len(weight) > MAX_LOGITS:
        compute = partial(checkpoint, losses_of, use_reentrant=False)
    losses = torch.cat([compute(*parts) for parts in chunks])
    return losses if reduction == "none" else getattr(losses, reduction)()


def draw_negatives(
    labels: torch.LongTensor, num_negatives: int, sampling: str, item_counts: torch.Tensor
) -> tuple[torch.LongTensor, torch.Tensor]:
    """
    Draws negatives with replacement, shared by all labels.

    Args:
        labels (`torch.LongTensor` of shape `(num_labels,)`):
            The items to predict.
        num_negatives (`int`):
            Number of draws.
        sampling (`str`):
            `"uniform"`, `"popularity"` (by `item_counts`), or `"in_batch"`: from the labels, treated as draws by
            `item_counts`.
        item_counts (`torch.Tensor` of shape `(vocab_size,)`):
            Events of each item; 0 for ids that are not items, which are never drawn.

    Returns:
        `tuple[torch.LongTensor, torch.Tensor]`: the labels and the drawn items, and the log-probability of each in
        one draw, both `(num_labels + num_negatives,)`.
    """
    weight = (item_counts > 0).double() if sampling == "uniform" else item_counts.double()
    if sampling == "in_batch":
        negatives = labels[torch.randint(len(labels), (num_negatives,), device=labels.device)]
    else:
        bounds = weight.cumsum(0)
        draws = torch.rand(num_negatives, dtype=torch.float64, device=labels.device) * bounds[-1]
        negatives = torch.searchsorted(bounds, draws, right=True)
    item_ids = torch.cat([labels, negatives])
    return item_ids, (weight[item_ids] / weight.sum()).log().float()


def sampled_softmax_loss(positive: torch.Tensor, negative: torch.Tensor, log_q: torch.Tensor) -> torch.Tensor:
    """
    Cross entropy whose normaliser is estimated from the negatives: each stands for `1 / (num_negatives * q)` items
    (logQ correction, https://doi.org/10.1145/3298689.3346996). The label is always included and not corrected, so that
    `exp(loss)` estimates the normaliser without bias.

    Args:
        positive (`torch.Tensor` of shape `(num_labels,)`): logits of the labels.
        negative (`torch.Tensor` of shape `(num_labels, num_negatives)`): logits, `-inf` where it equals the label.
        log_q (`torch.Tensor` of shape `(num_negatives,)`): log of the probability of drawing each negative.

    Returns:
        `torch.Tensor`: the sum over the labels.
    """
    negative = negative - (log_q + math.log(len(log_q)))
    return (torch.cat([positive[:, None], negative], dim=1).logsumexp(1) - positive).sum()


def gbce_beta(sampling_rate: float, t: float) -> float:
    """The exponent of the positive's probability in [`gbce_loss`]."""
    return sampling_rate * (t * (1 - 1 / sampling_rate) + 1 / sampling_rate)


def gbce_loss(positive: torch.Tensor, negative: torch.Tensor, sampling_rate: float, t: float) -> torch.Tensor:
    """
    Generalised binary cross entropy (gSASRec, https://huggingface.co/papers/2308.07192): the positive's probability to
    the power of a beta that, for `t` = 1, corrects the overconfidence caused by negative sampling. It assumes uniform
    sampling; otherwise subtract from each logit the log of its sampling probability relative to the uniform one.

    Args:
        positive, negative: as for [`sampled_softmax_loss`].
        sampling_rate (`float`): number of negatives / number of possible negatives.
        t (`float`): calibration, from 0 (plain binary cross entropy) to 1.

    Returns:
        `torch.Tensor`: the sum over the labels of the mean over a label and its negatives.
    """
    losses = nn.functional.softplus(negative).sum(1) - gbce_beta(sampling_rate, t) * nn.functional.logsigmoid(positive)
    return losses.sum() / (negative.shape[1] + 1)


def candidate_loss(
    config: Bert4RecConfig,
    hidden_states: torch.Tensor,
    item_ids: torch.LongTensor,
    log_q: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
) -> torch.Tensor:
    """
    The sampled loss set in the config, summed over the labels.

    Args:
        hidden_states (`torch.Tensor` of shape `(num_labels, hidden_size)`): inputs of the output layer.
        item_ids, log_q (`torch.Tensor` of shape `(num_labels + num_negatives,)`): from [`draw_negatives`].
        weight, bias (`torch.Tensor` of shape `(num_labels + num_negatives, hidden_size)` and the same without
            `hidden_size`): the output layer's rows for `item_ids`.
    """
    num_labels, num_items = len(hidden_states), config.vocab_size - 3  # PAD, MASK and UNK are no items
    if config.loss == "gbce":
        sampling_rate = min(config.num_negatives / max(num_items - 1, 1), 1.0)
        # The optimal logit if all items are equally likely: without it, finding it takes hundreds of steps.
        bias_offset = math.log(gbce_beta(sampling_rate, config.gbce_t) / config.num_negatives)
        bias = bias + bias_offset - (log_q + math.log(num_items))
    positive = ((hidden_states * weight[:num_labels]).sum(1) + bias[:num_labels]).float()
    negative = torch.addmm(bias[num_labels:], hidden_states, weight[num_labels:].T).float()
    negative = negative.masked_fill(item_ids[:num_labels, None] == item_ids[num_labels:], -torch.inf)
    if config.loss == "gbce":
        return gbce_loss(positive, negative, sampling_rate, config.gbce_t)
    return sampled_softmax_loss(positive, negative, log_q[num_labels:])


def mixture_loss(losses: torch.Tensor, share: torch.Tensor, repeated: torch.Tensor) -> torch.Tensor:
    """
    The cross entropy of a mixture of the softmax and the user's own history, for the labels alone.

    Args:
        losses (`torch.Tensor` of shape `(num_labels,)`): cross entropy of the softmax over all items.
        share (`torch.Tensor` of shape `(num_labels,)`): log of the softmax's mixture weight.
        repeated (`torch.Tensor` of shape `(num_labels,)`): mixture weight of the history events that are the label.

    Returns:
        `torch.Tensor`: the sum over the labels.
    """
    return -torch.logaddexp(share - losses.float(), safe_log(repeated)).sum()
