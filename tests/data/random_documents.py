"""Texts for the tests of this folder."""

import random

WORDS = [a + b + c for a in "bdfgklmnprst" for b in "aeiou" for c in ("n", "r", "st", "x")]


def write_documents(n: int, words: int = 120, seed: int = 0) -> list[str]:
    """Unrelated documents of random words."""
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=words)) for _ in range(n)]
