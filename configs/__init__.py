"""Configs of the experiments: one file each, with the same four variants."""
