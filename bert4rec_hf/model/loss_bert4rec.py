# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Losses of BERT4Rec for catalogues too large to project every masked item onto every item."""

import math

import torch
from torch import nn


def draw_negatives(
    labels: torch.LongTensor, num_negatives: int, sampling: str, item_counts: torch.Tensor
) -> tuple[torch.LongTensor, torch.Tensor]:
    """
    Draws items with replacement, which all labels share.

    Args:
        labels (`torch.LongTensor` of shape `(num_labels,)`):
            The items to predict.
        num_negatives (`int`):
            How many to draw.
        sampling (`str`):
            `"uniform"`, `"popularity"` (by `item_counts`), or `"in_batch"`: among the labels, which pass for draws by
            `item_counts`.
        item_counts (`torch.Tensor` of shape `(vocab_size,)`):
            Events of each item; 0 where an id is none and is never drawn.

    Returns:
        `tuple[torch.LongTensor, torch.Tensor]`: the labels and the drawn items, and the log of the chance of each of
        them at one draw, both `(num_labels + num_negatives,)`.
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
    (logQ correction, https://doi.org/10.1145/3298689.3346996). The label itself is certain to be there and is not
    corrected, so that `exp(loss)` estimates the normaliser without bias.

    Args:
        positive (`torch.Tensor` of shape `(num_labels,)`): logits of the labels.
        negative (`torch.Tensor` of shape `(num_labels, num_negatives)`): logits, `-inf` where it is the label.
        log_q (`torch.Tensor` of shape `(num_negatives,)`): log of the chance of each negative to be drawn.

    Returns:
        `torch.Tensor`: the sum over the labels.
    """
    negative = negative - (log_q + math.log(len(log_q)))
    return (torch.cat([positive[:, None], negative], dim=1).logsumexp(1) - positive).sum()


def gbce_beta(sampling_rate: float, t: float) -> float:
    """The power that [`gbce_loss`] raises the positive's probability to."""
    return sampling_rate * (t * (1 - 1 / sampling_rate) + 1 / sampling_rate)


def gbce_loss(positive: torch.Tensor, negative: torch.Tensor, sampling_rate: float, t: float) -> torch.Tensor:
    """
    Generalised binary cross entropy (gSASRec, https://huggingface.co/papers/2308.07192): the positive's probability to
    the power of a beta that undoes, for `t` = 1, the overconfidence that comes of sampling negatives. It is made for
    uniform sampling; of logits of items drawn otherwise subtract the log of how much likelier than that each is drawn.

    Args:
        positive, negative: as for [`sampled_softmax_loss`].
        sampling_rate (`float`): negatives per item that could be one.
        t (`float`): calibration, from 0 (plain binary cross entropy) to 1.

    Returns:
        `torch.Tensor`: the sum over the labels of the mean over a label and its negatives.
    """
    losses = nn.functional.softplus(negative).sum(1) - gbce_beta(sampling_rate, t) * nn.functional.logsigmoid(positive)
    return losses.sum() / (negative.shape[1] + 1)
