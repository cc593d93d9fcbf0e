"""Learning curves: checkpoints of every training, and what makes two trainings the same.

May import training, datasets and config.
"""
