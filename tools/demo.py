"""Run the demo: the same as `panoptic-blend demo`, for people who expect a script."""

import sys

from panoptic_blend.cli import main

if __name__ == "__main__":
    sys.exit(main(["demo", *sys.argv[1:]]))
