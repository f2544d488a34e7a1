"""From a judged study to pages a person reads. Renders verdicts and computes nothing; no torch.

``content`` turns the judged data into sentences and tables of formatted strings, ``pictures`` into what a figure
shows; ``markdown``, ``html`` and ``figures`` set them. ``report.json`` is the judged data itself, see
docs/report_schema.md.
"""

from paribus.reports.report_files import FORMS, render_report

__all__ = ["FORMS", "render_report"]
