"""Fig. 5: runs of different scale factors have one trajectory of J^2 in the ordered phase, if epochs are rescaled.

Draws J^2 and test loss against the epoch times the scale factor, the ordered phase enlarged, and says how far the runs
are apart there and beyond. The same command again resumes an unfinished sweep, redraws a finished one, or extends it.
"""

from experiments.shared import collapse, sweep

FIGURE = collapse.sweep("fig5", inset=True)

if __name__ == "__main__":
    sweep.main(FIGURE)
