"""Whether a class keeps the contract of its slot: one suite for ours and the user's."""
