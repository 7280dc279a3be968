# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""
Trains a BERT4Rec model on viewing logs, a table of items and a table of profiles.

    python examples/train.py --data_dir ./data --save_dir ./exps/seed1 --do_eval

The arguments can be read from files; flags override them:

    python examples/train.py examples/ai_ground.yaml --data_dir ./data --save_dir ./exps/seed2 --seed 2
"""

from bert4rec_hf.cli.arguments import run
from bert4rec_hf.cli.train import main


if __name__ == "__main__":
    run(main)
