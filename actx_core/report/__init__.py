"""The report of a run: one self-contained HTML page."""

from actx_core.report.page import (
    AnalysisView,
    ArrayView,
    ModelView,
    ReportPage,
    SourceView,
    TableView,
)
from actx_core.report.write import write_report

__all__ = [
    "AnalysisView",
    "ArrayView",
    "ModelView",
    "ReportPage",
    "SourceView",
    "TableView",
    "write_report",
]
