"""Other annotation formats -> COCO panoptic, a file a format. Runs without torch."""
