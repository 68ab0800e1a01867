"""The report of an evaluation: one HTML page that needs nothing but itself."""

from vidparse.evaluation.report.page import html_page
from vidparse.evaluation.report.writer import check_report, write_report

__all__ = ["check_report", "html_page", "write_report"]
