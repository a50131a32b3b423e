"""Timings of chainrule against textbook implementations and peers; run with ``python -m benchmarks``."""
