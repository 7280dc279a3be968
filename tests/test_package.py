# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
import ast
import subprocess
import sys
from pathlib import Path

import pytest

import bert4rec_hf


PACKAGE = Path(bert4rec_hf.__file__).parent
LOAD = """
config = AutoConfig.from_pretrained(folder)
model = AutoModelForMaskedLM.from_pretrained(folder)
base = AutoModel.from_pretrained(folder)
processor = AutoProcessor.from_pretrained(folder)
assert {type(part).__module__.split(".")[0] for part in (config, model, base, processor)} == {"bert4rec_hf"}
assert type(AutoModelForMaskedLM.from_config(config)) is type(model)
from transformers import pipeline
assert pipeline("item-recommendation", model=folder)({"history": ["i1"]})
"""
AUTO = "from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, AutoProcessor\n"


def run(code):
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    "imports",
    [
        f"import bert4rec_hf\n{AUTO}",
        f"{AUTO}import bert4rec_hf\n",
        f"from transformers import pipeline\nimport bert4rec_hf\n{AUTO}",
        f"from bert4rec_hf import ItemRecommendationPipeline\n{AUTO}",
    ],
)
def test_auto_classes_know_the_model_whatever_is_imported_first(model, processor, tmp_path, imports):
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    run(f"{imports}folder = {str(tmp_path)!r}\n{LOAD}")


def test_importing_the_package_loads_no_torch():
    run("import sys, bert4rec_hf; assert not {'torch', 'datasets', 'pyarrow'} & set(sys.modules)")


def test_every_public_name_is_there():
    assert all(getattr(bert4rec_hf, name) is not None for name in bert4rec_hf.__all__)
    assert set(bert4rec_hf.__all__) <= set(dir(bert4rec_hf))
    with pytest.raises(AttributeError, match="no attribute 'Bert5Rec'"):
        bert4rec_hf.Bert5Rec  # noqa: B018


@pytest.mark.parametrize("kind", ["configuration", "modeling", "pipeline", "processing"])
def test_files_that_travel_to_the_hub_import_only_what_is_there(kind):
    """A Hub repository is flat and knows neither this package nor its other dependencies."""
    allowed = {"torch", "transformers", "numpy", "safetensors", "huggingface_hub", *sys.stdlib_module_names}
    for node in ast.walk(ast.parse((PACKAGE / f"{kind}_bert4rec.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert all(alias.name.split(".")[0] in allowed for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            assert node.module.split(".")[0] in allowed
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 1 and node.module.endswith("_bert4rec")
