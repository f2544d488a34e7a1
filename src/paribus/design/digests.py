"""SHA-256 over text, and over plain data as JSON."""

import hashlib
import json
from typing import Any


def digest_text(text: str) -> str:
    """64 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def digest_json(content: Any) -> str:
    """Of plain data: equal for equal data, whatever the order of its keys."""
    return digest_text(json.dumps(content, sort_keys=True))
