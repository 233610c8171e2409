"""Train a model: the same as `panoptic-blend train`, for people who expect a script."""

import sys

from panoptic_blend.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
