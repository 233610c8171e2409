"""Errors meant for the person who can fix them: the command line prints their text and no traceback."""


class PanopticBlendError(Exception):
    """Something the user can mend; the message names the file or setting and the remedy."""


class DatasetError(PanopticBlendError):
    """Annotations, id maps or images that do not hold together."""


class ConfigError(PanopticBlendError):
    """A setting that is unknown, of the wrong type or out of bounds."""


class CheckpointError(PanopticBlendError):
    """A checkpoint that cannot be read or does not fit the model."""


class TrainingError(PanopticBlendError):
    """Training cannot go on, for instance because a loss is not finite."""
