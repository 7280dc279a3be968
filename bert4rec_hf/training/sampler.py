# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""The order of the training rows."""

import numpy as np
from torch.utils.data import Sampler


class SimilarLengthSampler(Sampler):
    """
    Random order in which the rows of a batch have similar lengths: chunks of `batches_per_chunk` batches, drawn at
    random, are sorted by length and their batches shuffled. Otherwise half of the positions would be padding.

    The order depends on `seed` and the epoch alone, so that a resumed run goes on with the rows it has not seen.
    """

    def __init__(self, lengths: np.ndarray, batch_size: int, seed: int = 0, batches_per_chunk: int = 16):
        self.lengths, self.batch_size, self.seed, self.batches_per_chunk = lengths, batch_size, seed, batches_per_chunk
        self.epoch = 0

    def set_epoch(self, epoch: int):
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self):
        generator = np.random.default_rng([self.seed, self.epoch])
        order = generator.permutation(len(self.lengths))
        full = len(order) // self.batch_size * self.batch_size  # the last, smaller batch is a random one
        batches = []
        for chunk in np.split(order[:full], range(0, full, self.batch_size * self.batches_per_chunk)[1:]):
            chunk = chunk[np.argsort(self.lengths[chunk], kind="stable")]
            batches.append(chunk.reshape(-1, self.batch_size))
        batches = generator.permutation(np.concatenate(batches)) if full else np.empty((0, self.batch_size), int)
        yield from batches.ravel().tolist()
        yield from order[full:].tolist()
