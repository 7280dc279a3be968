# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Each way into a checkpoint, alone and without the package: loaded, saved, and used when its origin is gone."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from helpers import CODE, WITHOUT_THE_PACKAGE, make_model, make_processor_of_every_kind
from transformers import pipeline

from bert4rec_hf import Bert4RecEnsembleForMaskedLM


LOAD = f"""{WITHOUT_THE_PACKAGE}
loader, origin, target = sys.argv[1:]
import transformers
if loader == "pipeline":
    loaded = transformers.pipeline("item-recommendation", model=origin, trust_remote_code=True)
else:
    loaded = getattr(transformers, loader).from_pretrained(origin, trust_remote_code=True)
assert type(loaded).__module__.startswith("transformers_modules.")
loaded.save_pretrained(target)
"""
USE = f"""{WITHOUT_THE_PACKAGE}
import json
from transformers import pipeline
for folder in sys.argv[1:]:
    recommend = pipeline("item-recommendation", model=folder, trust_remote_code=True)
    user = {{"history": ["i1", "i2"], "profile": {{"age": 6, "likes": ["노래", "동화"]}}, "times": [10**9, 10**9 + 9]}}
    recommended = recommend(user, k=3)
    print(json.dumps([item["item_id"] for item in recommended]))
"""
WAYS = [
    *(("model", name) for name in ("AutoConfig", "AutoModel", "AutoModelForMaskedLM", "AutoProcessor", "pipeline")),
    ("ensemble", "AutoModelForMaskedLM"),
]


def run(home, code, *arguments):
    environment = {**os.environ, "HF_HOME": str(home), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """What each way has saved, by its checkpoint and name; the folders that they loaded are gone."""
    processor, folder = make_processor_of_every_kind(), tmp_path_factory.mktemp("alone")
    members = [make_model(processor), make_model(processor, is_causal=True, repeat_prior=True)]
    members[0].save_pretrained(folder / "model")
    Bert4RecEnsembleForMaskedLM.from_members(members, processor).save_pretrained(folder / "ensemble")
    targets = {}
    for number, (checkpoint, loader) in enumerate(WAYS):
        processor.save_pretrained(folder / checkpoint)
        origin, target = folder / f"origin{number}", folder / f"saved{number}"
        shutil.copytree(folder / checkpoint, origin)
        run(folder / f"home{number}", LOAD, loader, origin, target)
        shutil.rmtree(origin)
        targets[checkpoint, loader] = target
    # The rest of a checkpoint is data; the code must be what was saved.
    for (checkpoint, _), target in targets.items():
        assert {path.name for path in target.glob("*.py")} == CODE
        for path in (folder / checkpoint).iterdir():
            if path.suffix in (".json", ".safetensors") and not (target / path.name).exists():
                shutil.copy(path, target)
    return folder, targets


def test_what_each_has_saved_recommends_when_the_origin_is_gone(saved):
    folder, targets = saved
    lines = run(folder / "another home", USE, *targets.values()).splitlines()
    expected = run(folder / "a third home", USE, folder / "model", folder / "ensemble").splitlines()
    user = {"history": ["i1", "i2"], "profile": {"age": 6, "likes": ["노래", "동화"]}, "times": [10**9, 10**9 + 9]}
    ours = pipeline("item-recommendation", model=str(folder / "model"))(user, k=3)
    assert json.loads(expected[0]) == [item["item_id"] for item in ours]
    assert len(lines) == len(WAYS) and all(len(json.loads(line)) == 3 for line in lines)
    for (checkpoint, loader), line in zip(targets, lines):
        # An encoder alone comes back without the output layer's bias, which starts at 0 here.
        assert line == expected[checkpoint == "ensemble"], (checkpoint, loader)
