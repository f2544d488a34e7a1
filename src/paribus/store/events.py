"""What happens during a run, told as plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Observe = Callable[[Mapping[str, Any]], None]
