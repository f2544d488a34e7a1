"""Named random streams: one seed per purpose and path, independent of call order."""

import hashlib


def derive(seed: int, *names: str | int) -> int:
    """Return the 63-bit seed of the stream ``names`` under ``seed``.

    The first 63 bits of SHA-256 over the length-prefixed names, so that no two different name
    sequences share a stream: ``derive(0, "init", "blocks.0")`` never depends on what else was drawn.
    """
    text = "".join(f"{len(str(name))}:{name}" for name in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
