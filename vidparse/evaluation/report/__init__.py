"""The report of an evaluation: one HTML page that needs nothing but itself."""

from vidparse.evaluation.report.page import html_page, write_report

__all__ = ["html_page", "write_report"]
