"""Entry points: one module per figure, run from the root of the clone with `python -m experiments.NAME`."""
