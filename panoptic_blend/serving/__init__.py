"""The web page and its HTTP API, for `panoptic-blend serve`."""
