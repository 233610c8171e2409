"""From images to panoptic maps: prediction, drawing, and writing what was predicted."""
