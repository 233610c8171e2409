"""Score predictions on disk: the same as `panoptic-blend score`, for people who expect a script."""

import sys

from panoptic_blend.cli import main

if __name__ == "__main__":
    sys.exit(main(["score", *sys.argv[1:]]))
