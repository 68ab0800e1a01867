"""The field's metrics: each streams over frames, and its counts add up over videos."""

from vidparse.evaluation.metrics.measure import Counts, Measure, Sample
from vidparse.evaluation.metrics.measures import METRICS, make_measures

__all__ = ["METRICS", "Counts", "Measure", "Sample", "make_measures"]
