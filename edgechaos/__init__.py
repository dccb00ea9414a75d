"""edgechaos."""
