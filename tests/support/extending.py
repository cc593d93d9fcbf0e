"""An oracle and an executor of a user's own: their files, and their configurations."""

from pathlib import Path

EXTENSIONS = Path(__file__).parent / "extensions"

LOCAL = """
oracle: my_oracle.LocalConfig
objective: val_accuracy
direction: null
max_trials: 4
max_minutes: null
num_random: 2
"""
ALONE = """
name: my_executor.AloneConfig
threads: 1
greeting: good morning
"""
