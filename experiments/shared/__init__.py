"""What the experiments share: the command line, the scaffold of a sweep, searches."""
