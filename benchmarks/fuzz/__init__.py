"""Hostile input: every reader gets damaged files, and answers with rows or with one line.

python -m benchmarks.fuzz --cases 1000000            # with atheris, guided by coverage
python -m benchmarks.fuzz --cases 10000 --plain      # without: seeded mutations of small valid files
"""
