"""Evaluate a model on annotated images: the same as `panoptic-blend evaluate`, for people who expect a script."""

import sys

from panoptic_blend.cli import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
