# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
import re
from pathlib import Path

from setuptools import find_packages, setup


HERE = Path(__file__).parent
VERSION = re.search(r'^__version__ = "(.+)"', (HERE / "bert4rec_hf" / "__init__.py").read_text(), re.MULTILINE)[1]
URL = "https://github.com/bert4rec-hf/bert4rec_hf"


def absolute_links(text: str) -> str:
    """Relative links as links to the repository, as PyPI shows the README without its neighbours."""
    return re.sub(
        r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)]+)\)",
        lambda link: f"{link[1]}[{link[2]}]({URL}/{'raw' if link[1] else 'blob'}/v{VERSION}/{link[3]})",
        text,
    )


setup(
    name="bert4rec-hf",
    version=VERSION,
    description="HuggingFace-native BERT4Rec: train with Trainer, load with AutoModel, share on the Hub",
    long_description=absolute_links((HERE / "README.md").read_text(encoding="utf-8")),
    long_description_content_type="text/markdown",
    author="The bert4rec_hf authors",
    url=URL,
    project_urls={
        "Documentation": f"{URL}/tree/main/examples/manual",
        "Source": URL,
        "Changelog": f"{URL}/blob/main/CHANGELOG.md",
        "Issues": f"{URL}/issues",
    },
    license_expression="Apache-2.0",
    keywords="recommender-system sequential-recommendation bert4rec sasrec transformers huggingface",
    packages=find_packages(include=["bert4rec_hf", "bert4rec_hf.*"]),
    package_data={
        "bert4rec_hf": [
            "py.typed",
            "hub/model_card_template.md",
            "metrics/ranking/README.md",
            "serving/demo/README.md",
            "serving/demo/*.txt",
            "metrics/ranking/*.txt",
        ]
    },
    entry_points={"console_scripts": ["bert4rec-hf = bert4rec_hf.__main__:main"]},
    python_requires=">=3.11",
    # The oldest that CI tests; no upper bounds, so that it is installed beside what is there.
    install_requires=[
        "torch>=2.6",
        "transformers[torch]>=5.8",
        "datasets>=4.0",
        "evaluate>=0.4.6",
        "huggingface_hub>=1.5",
        "safetensors>=0.4.3",
    ],
    extras_require={
        "plots": ["matplotlib>=3.10"],
        "export": [
            "transformers[torch]>=5.24",  # the first with transformers.exporters
            "onnx>=1.21",
            "onnxscript>=0.7",
            "onnxruntime>=1.21",
            "openvino>=2026.1",
        ],
        "demo": ["gradio>=6.20", "pyversity>=0.2"],
        "rivals": ["implicit>=0.7.2"],
        "text": ["sentence-transformers>=5"],
        "test": [
            "matplotlib>=3.10",
            "pytest>=9",
            "pytest-xdist>=3.8",
            "hypothesis>=6.112",
            "ir-measures>=0.4",
            "torchmetrics>=1.9",
            "ruff>=0.17",
            "mypy>=1.18",
            "picklescan>=1.0",
            "peft>=0.18",
            "polars>=1.20",
            "duckdb>=1.2",
            "pyversity>=0.2",
        ],
    },
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
