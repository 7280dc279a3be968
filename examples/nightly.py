# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""
New events every night: takes the live model further, tests it beside the live one, and pushes it unless it is worse.

    python examples/nightly.py --hub_model_id user/name --data_dir ./data --epochs 3

Back to an earlier commit:

    python examples/nightly.py --hub_model_id user/name --roll_back_to 8f3a1c2

What it does, and what it needs, is in nightly.md.
"""

from bert4rec_hf.cli.arguments import run
from bert4rec_hf.cli.nightly import main


if __name__ == "__main__":
    run(main)
