"""Predict images: the same as `panoptic-blend predict`, for people who expect a script."""

import sys

from panoptic_blend.cli import main

if __name__ == "__main__":
    sys.exit(main(["predict", *sys.argv[1:]]))
