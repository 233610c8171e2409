from panoptic_blend.startup import import_torchvision

import_torchvision()  # before any module here does
