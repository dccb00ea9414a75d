"""Fig. 4: runs of one scale factor have one trajectory of J^2 and one of test loss.

Draws both against epoch, and says how far the runs are apart in the ordered phase and beyond. The same command again
resumes an unfinished sweep, redraws a finished one, or extends it.
"""

from experiments.shared import collapse, sweep

FIGURE = collapse.sweep("fig4")

if __name__ == "__main__":
    sweep.main(FIGURE)
