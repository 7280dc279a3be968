# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
import pytest
from helpers import SMALL

from bert4rec_hf.__main__ import main


@pytest.fixture(scope="session")
def trained(sample_dir, tmp_path_factory):
    """The checkpoint of a short training on the sample data, with an evaluation and its pictures."""
    folder = tmp_path_factory.mktemp("trained") / "model"
    with pytest.MonkeyPatch.context() as patch:
        flags = ["--data_dir", str(sample_dir), "--output_dir", str(folder), "--epochs", "2", *SMALL]
        patch.setattr("sys.argv", ["bert4rec-hf", "train", *flags])
        main()
    return folder
