"""`python -m edgechaos.data` prepares a data set ahead of the first experiment."""

import sys

from edgechaos.data.sources import main

if __name__ == "__main__":
    sys.exit(main())
