"""The field's metrics: each streams over frames, and its counts add up over videos."""

from vidparse.evaluation.metrics.measure import Counts, DataFacts, Measure, Sample
from vidparse.evaluation.metrics.measures import METRICS, definition, make_measures, title

__all__ = [
    "METRICS",
    "Counts",
    "DataFacts",
    "Measure",
    "Sample",
    "definition",
    "make_measures",
    "title",
]
