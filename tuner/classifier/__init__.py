"""Looks up a model in the store, loads it safely, and predicts with it.

May import tracking, models and images; no training.
"""
