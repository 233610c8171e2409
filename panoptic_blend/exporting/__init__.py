"""From a model to a folder that runs without torch: picture in, id map and segments out."""
