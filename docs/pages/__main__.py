"""Write every generated page again: ``python docs/pages`` or ``make pages``.

docs/replication.md with docs/figures/ comes from ``results/*/report.json``, docs/parts.md from the docstrings of the
package, the tables of docs/audits.md from ``paribus.audits.CHECKS``, those of docs/performance.md and of README.md from
``benchmarks/results``. Equal input gives equal bytes; a figure that no page shows any more is removed.
"""

from __future__ import annotations

from pathlib import Path

from audits_page import compose_audits
from parts_page import compose_parts
from performance_page import compose_performance
from replication_page import compose_replication

REPOSITORY = Path(__file__).resolve().parents[2]


def main() -> None:
    """Write the pages and say which files changed."""
    files = compose_replication(REPOSITORY / "results") | compose_parts()
    files |= compose_audits(REPOSITORY / "docs" / "audits.md")
    files |= compose_performance(
        REPOSITORY / "benchmarks" / "results", REPOSITORY / "docs" / "performance.md", REPOSITORY / "README.md"
    )
    for path in (REPOSITORY / "docs" / "figures").glob("*/*"):
        if path.relative_to(REPOSITORY).as_posix() not in files:
            path.unlink()
            print(f"removed {path.relative_to(REPOSITORY)}")
    for name, content in files.items():
        path = REPOSITORY / name
        if not path.is_file() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            print(f"wrote {name}")


if __name__ == "__main__":
    main()
