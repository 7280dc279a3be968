# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""
Nightly training on new events: trains the live model further, tests the new model against it, and pushes the new one
unless it is significantly worse.

    python examples/nightly.py --hub_model_id user/name --data_dir ./data --epochs 3

Roll back to an earlier commit:

    python examples/nightly.py --hub_model_id user/name --roll_back_to 8f3a1c2

See nightly.md for the details.
"""

from bert4rec_hf.cli.arguments import run
from bert4rec_hf.cli.nightly import main


if __name__ == "__main__":
    run(main)
