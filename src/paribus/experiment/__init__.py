"""Which runs a study needs, in which order, and what their records say. No torch, no process."""
