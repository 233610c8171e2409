"""Prediction and scoring on several machines, by Ray."""
