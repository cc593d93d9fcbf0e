"""A model of the store, looked up, loaded safely, and asked for predictions.

May import tracking, models and images; no training.
"""
