# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
import os


os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
import torch
from helpers import SMALL, make_processor

from bert4rec_hf import (
    Bert4RecConfig,
    Bert4RecForMaskedLM,
    Bert4RecProcessor,
    DataArguments,
    Split,
    fit_processor,
    read_interactions,
    write_sample_data,
)
from bert4rec_hf.__main__ import main


torch.set_num_threads(1)  # the models of the tests are too small for more


def pytest_collection_modifyitems(items):
    if not torch.cuda.is_available() and "BERT4REC_HF_TEST_DEVICE" not in os.environ:
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="needs a GPU"))


def pytest_terminal_summary(terminalreporter):
    """Lists the cases of test_hostile_input.py, each with what was said about it."""
    for report in terminalreporter.stats.get("passed", []):
        for name, line in report.user_properties:
            if name == "says" and report.when == "call":
                terminalreporter.write_line(f"  {line}")


@pytest.fixture
def processor() -> Bert4RecProcessor:
    return make_processor()


@pytest.fixture
def config(processor) -> Bert4RecConfig:
    return Bert4RecConfig(
        **processor.config_kwargs(),
        hidden_size=32,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=12,
        initializer_range=0.2,  # large enough for differences to show
    )


@pytest.fixture
def model(config, processor) -> Bert4RecForMaskedLM:
    torch.manual_seed(0)
    model = Bert4RecForMaskedLM(config).eval()
    model.set_item_features(processor.item_features())
    torch.nn.init.normal_(model.decoder.bias)
    return model


@pytest.fixture
def inputs():
    """Three histories of 8, 5 and 0 items, padded on the right."""
    generator = torch.Generator().manual_seed(1)
    input_ids = torch.randint(3, 53, (3, 8), generator=generator)
    attention_mask = torch.tensor([[1] * 8, [1] * 5 + [0] * 3, [0] * 8])
    return {
        "input_ids": input_ids * attention_mask,
        "attention_mask": attention_mask,
        "user_features": torch.tensor([[1, 2], [0, 1], [2, 0]]),
    }


@pytest.fixture(scope="session")
def sample_dir(tmp_path_factory):
    """A small children's-video service, dirt included."""
    path = tmp_path_factory.mktemp("sample")
    write_sample_data(path, num_profiles=150, num_albums=120, num_rows=6000)
    return path


@pytest.fixture(scope="session")
def interactions(sample_dir):
    return read_interactions(DataArguments(data_dir=str(sample_dir)))


@pytest.fixture(scope="session")
def fitted(interactions) -> tuple[Bert4RecProcessor, Split]:
    split = Split("leave_one_out")
    return fit_processor(interactions, split), split


@pytest.fixture(scope="session")
def trained(sample_dir, tmp_path_factory):
    """The checkpoint of a short training on the sample data, with an evaluation and its pictures."""
    folder = tmp_path_factory.mktemp("trained") / "model"
    with pytest.MonkeyPatch.context() as patch:
        flags = ["--data_dir", str(sample_dir), "--output_dir", str(folder), "--epochs", "2", *SMALL]
        patch.setattr("sys.argv", ["bert4rec-hf", "train", *flags])
        main()
    return folder
