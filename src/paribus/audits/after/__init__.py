"""Checks of the records, after training."""
