"""Checks of the design, before anything is trained."""
