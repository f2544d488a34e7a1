"""Data sets and tokenizers from the Hugging Face hub, through its own client.

``HF_HOME``, ``HF_ENDPOINT``, ``HF_TOKEN`` and ``HF_HUB_OFFLINE`` mean what they mean to the client. An unreachable
hub costs its client from 23 s to minutes, so we knock first and give up after three seconds.
"""

from __future__ import annotations

import contextlib
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from paribus.data.text_files import require_text
from paribus.design.wording import suggest
from paribus.errors import DataError, HubUnreachable

PREFIX = "hub:"
PATIENCE_SECONDS = 3.0


def stream(
    name: str, *, column: str, config: str | None, split: str, revision: str | None
) -> Iterator[tuple[str, str]]:
    """The rows of a data set as (name, text), streamed; nothing is downloaded in full.

    With ``HF_HUB_OFFLINE`` set, the copy that ``datasets`` keeps in ``HF_HOME`` is read instead.
    Raises DataError where the hub, the data set, its config, split or column cannot be had.
    """
    if Path(name).exists():
        raise DataError(f"{PREFIX}{name}: a local {name!r} would be read in its place; give it as a path, or rename it")
    try:
        import datasets
    except ImportError:
        raise DataError(f"{PREFIX}{name}: the hub needs the datasets package; install the extra paribus[hub]") from None
    offline = datasets.config.HF_HUB_OFFLINE
    if not offline:
        knock(f"data set {name!r}")
    with _one_line(f"data set {name!r}", offline):
        rows = datasets.load_dataset(name, config, split=split, revision=revision, streaming=not offline)
        for number, row in enumerate(rows, 1):
            if column not in row:
                raise DataError(f"{PREFIX}{name} has no column {column!r}; {suggest(column, sorted(row))}")
            place = f"{PREFIX}{name}, row {number}"
            yield place, require_text(row[column], place, column)


def fetch_tokenizer(name: str, revision: str) -> Any:
    """The ``tokenizers.Tokenizer`` of a hub repository. Raises DataError where it cannot be had."""
    from huggingface_hub import constants
    from tokenizers import Tokenizer

    if not constants.HF_HUB_OFFLINE:
        knock(f"tokenizer {name!r}")
    with _one_line(f"tokenizer {name!r}", constants.HF_HUB_OFFLINE):
        return Tokenizer.from_pretrained(name, revision=revision)


def knock(what: str) -> None:
    """Raise HubUnreachable unless the hub answers within three seconds; any answer will do."""
    from huggingface_hub import constants

    outcome: list[str] = []

    def ask() -> None:
        try:
            request = urllib.request.Request(constants.ENDPOINT, method="HEAD")
            urllib.request.urlopen(request, timeout=PATIENCE_SECONDS).close()
            outcome.append("")
        except urllib.error.HTTPError:
            outcome.append("")
        except OSError as error:
            outcome.append(str(getattr(error, "reason", error)))

    # A thread, because looking up a name has no timeout of its own.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE_SECONDS)
    reason = outcome[0] if outcome else f"no answer in {PATIENCE_SECONDS:g} s"
    if reason:
        raise HubUnreachable(
            f"{what}: the hub at {constants.ENDPOINT} cannot be reached ({reason}); use the built-in corpus "
            "'stdlib' or files, or set HF_HUB_OFFLINE=1 to read what HF_HOME already holds"
        )


@contextlib.contextmanager
def _one_line(what: str, offline: bool) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # the client raises from every branch of the tree
        reason = " ".join(str(error).split())
        hint = "; HF_HUB_OFFLINE is set, so only what HF_HOME holds can be read" if offline else ""
        kind = HubUnreachable if offline else DataError
        raise kind(f"{what} cannot be read from the hub: {type(error).__name__}: {reason}{hint}") from error
