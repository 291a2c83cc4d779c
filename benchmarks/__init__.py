"""Benchmarks: ours and its peers, in turn, in one process, on one core, with the answers checked.

`python -m benchmarks` lists them. One file is one benchmark: `bench_NAME.py` with a `run(options) -> Result`.
"""
