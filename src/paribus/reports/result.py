"""What a run hands back: verdicts, comparisons, numbers and figures of one judged study."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paribus.design.markup import escape, join_verdict, write_table
from paribus.design.metrics import MEASURED
from paribus.errors import ParibusError
from paribus.judgement import Comparison, Report, Verdict

if TYPE_CHECKING:
    from pandas import DataFrame

    from paribus.reports.figures import Figure


@dataclass(frozen=True)
class Result:
    """A judged study: everything that is said of it, and where the page lies.

    Args:
        report: what report.json holds (docs/report_schema.md); ``report.to_json()`` gives it as plain values.
    """

    report: Report
    page: Path

    @property
    def name(self) -> str:
        """That of the registration."""
        return self.report.name

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """Primary treatments and contrasts to their verdict: ``.kind``, ``.sentence``, ``.doubts`` and so on."""
        return {name: row.verdict for name, row in self.report.rows.items() if row.verdict}

    @property
    def comparisons(self) -> dict[str, Comparison]:
        """All treatments and contrasts to their paired differences, intervals and margin."""
        return {name: row.comparison for name, row in self.report.rows.items()}

    @property
    def exit_code(self) -> int:
        """0, 1 when a run failed, 3 when a verdict is invalid."""
        is_invalid = any(verdict.kind == "invalid" for verdict in self.verdicts.values())
        return 1 if self.report.failed_runs else 3 if is_invalid else 0

    def frame(self) -> DataFrame:
        """A pandas DataFrame with a row per finished run that was judged: arm, seed, status, then its numbers.

        The numbers are those of the report, every metric under its key; what a clock or a memory counter said is
        called ``measured.`` and its key. A run that diverged has none of them. Raises ParibusError without pandas.
        """
        try:
            from pandas import DataFrame
        except ImportError:
            raise ParibusError("a frame needs pandas: pip install 'paribus[notebook]'") from None
        rows = [row for arm in self.report.arms for row in self._tabulate(arm)]
        return DataFrame(rows, columns=None if rows else ["arm", "seed", "status"])

    def figures(self) -> dict[str, Figure]:
        """The report's figures by name, as matplotlib figures of your own: new ones with every call."""
        from paribus.reports.figures import make_figure
        from paribus.reports.page import compose_page

        return {picture.name: make_figure(picture) for picture in compose_page(self.report).pictures}

    def _repr_markdown_(self) -> str:
        return _write_result(self.report, str(self.page))

    def _tabulate(self, arm: str) -> list[dict[str, Any]]:
        """The runs of an arm; its summaries hold one value per run that is done."""
        of_arm = self.report.arms[arm]
        columns = {key: summary.values for key, summary in of_arm.metrics.items()}
        columns |= {f"{MEASURED}{key}": summary.values for key, summary in of_arm.measured.items()}
        rows, done = [], 0
        for seed, status in zip(of_arm.seeds, of_arm.status, strict=True):
            row = {"arm": arm, "seed": seed, "status": status}
            if status == "done":
                row |= {key: values[done] for key, values in columns.items()}
                done += 1
            rows.append(row)
        return rows


def _write_result(report: Report, page: str) -> str:
    """A report: the question, the verdicts, the findings that weaken them, and where the page lies."""
    blocks = [f"**{escape(report.question)}**"]
    if not report.is_complete:
        blocks.append("Not finished: more pairs are to come.")
    rows = report.rows
    for name in sorted(rows, key=lambda name: not rows[name].verdict):
        if verdict := rows[name].verdict:
            blocks.append(join_verdict(verdict.kind, (verdict.sentence, verdict.wider_sentence)))
        else:
            blocks.append(escape(f"{name}: {rows[name].description}"))
    found = [f for severity in ("invalid", "doubt") for f in report.findings if f.severity == severity]
    if found:
        rows_found = [[f.severity, f.check, f.arm or "", f.message] for f in found]
        blocks.append(write_table(("finding", "check", "arm", ""), rows_found))
    failed = [[run.arm, str(run.seed), (run.error or "").split("\n")[0]] for run in report.failed_runs]
    blocks += [write_table(("failed run", "seed", ""), failed)] if failed else []
    return "\n\n".join([*blocks, escape(f"report: {page}")])
