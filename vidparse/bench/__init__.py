"""Measurements: a clip from end to end (`clip`), and the zoo's networks side by side (`zoo`)."""

from vidparse.bench.clip import BenchReport, bench, bench_record

__all__ = ["BenchReport", "bench", "bench_record"]
