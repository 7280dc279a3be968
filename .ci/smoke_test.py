# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""What is installed in the folder of the first argument saves, loads and recommends, and has its files."""

import os
import re
import subprocess
import sys
import tempfile
from importlib import metadata

from transformers import pipeline

import bert4rec_hf
from bert4rec_hf import Bert4RecConfig, Bert4RecForMaskedLM, Bert4RecProcessor, write_model_card


assert os.path.dirname(os.path.dirname(bert4rec_hf.__file__)) == sys.argv[1], bert4rec_hf.__file__
assert os.path.exists(os.path.join(os.path.dirname(bert4rec_hf.__file__), "metrics", "ranking", "requirements.txt"))
assert os.path.exists(os.path.join(os.path.dirname(bert4rec_hf.__file__), "py.typed"))
(about,) = [dist.metadata for dist in metadata.distributions(path=[sys.argv[1]]) if dist.name == "bert4rec-hf"]
links = re.findall(r"\]\(([^)]+)\)", about.get_payload())
# PyPI shows the README without its neighbours.
assert links and all(link.startswith("https://") for link in links), links
command = os.path.join(sys.argv[1], "bin", "bert4rec-hf")
shown = subprocess.run(
    [sys.executable, command, "--version"], capture_output=True, text=True, check=True, cwd="/"
).stdout
assert shown.strip() == about["Version"] == bert4rec_hf.__version__, shown
processor = Bert4RecProcessor({"item_ids": ["a", "b", "c"]})
model = Bert4RecForMaskedLM(Bert4RecConfig(**processor.config_kwargs(), hidden_size=8, num_attention_heads=2)).eval()
with tempfile.TemporaryDirectory() as folder:
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    write_model_card(folder, model, processor, model_id="user/name")
    recommended = pipeline("item-recommendation", model=folder)({"history": ["a", "b"]}, k=3)
expected = model.recommend(**processor(["a", "b"]), k=3).item_ids
assert [item["item_id"] for item in recommended] == processor.decode(expected)[0]
print(f"the wheel of bert4rec_hf works: {recommended[0]}")
