"""`python -m panoptic_blend` is the same as `panoptic-blend`."""

import sys

from panoptic_blend.cli import main

if __name__ == "__main__":
    sys.exit(main())
