# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
from pathlib import Path

from setuptools import find_packages, setup


setup(
    name="bert4rec-hf",
    version="0.1.0",
    description="HuggingFace-native BERT4Rec: train with Trainer, load with AutoModel, share on the Hub",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license_expression="Apache-2.0",
    packages=find_packages(include=["bert4rec_hf", "bert4rec_hf.*"]),
    package_data={"bert4rec_hf": ["hub/model_card_template.md", "metrics/ranking/README.md", "metrics/ranking/*.txt"]},
    entry_points={"console_scripts": ["bert4rec-hf = bert4rec_hf.__main__:main"]},
    python_requires=">=3.11",
    install_requires=[
        "torch>=2.6",
        "transformers[torch]>=5.8",
        "datasets>=4.0",
        "evaluate>=0.4.6",
        "huggingface_hub>=1.5",
        "safetensors>=0.4.3",
    ],
    extras_require={
        "plots": ["matplotlib>=3.11"],
        "test": [
            "matplotlib>=3.11",
            "pytest>=9",
            "pytest-xdist>=3.8",
            "hypothesis>=6.100",
            "ir-measures>=0.4",
            "torchmetrics>=1.9",
            "ruff>=0.17",
            "picklescan>=1.0",
            "peft>=0.18",
            "polars>=1.20",
            "duckdb>=1.2",
        ],
    },
    classifiers=[
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
