"""`python -m tests.ship_bundles FOLDER`: export the small bundles for the tests of a machine without torch."""

import sys
from pathlib import Path

from tests.bundles_small import FCNS, export_small

if __name__ == "__main__":
    for encoder in FCNS:
        export_small(encoder, Path(sys.argv[1]) / encoder)
