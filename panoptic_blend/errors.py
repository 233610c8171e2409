"""Errors meant for the person who can fix them: the command line prints their text and no traceback."""

from __future__ import annotations

import struct

MALFORMED = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)
"""What readers of weights raise on damaged files, besides errors of their own: they trust what they read."""


class PanopticBlendError(Exception):
    """Something the user can mend; the message names the file or setting and the remedy."""


class DatasetError(PanopticBlendError):
    """Annotations, id maps or images that do not hold together."""


class ConfigError(PanopticBlendError):
    """A setting that is unknown, of the wrong type or out of bounds."""


class CheckpointError(PanopticBlendError):
    """A checkpoint that cannot be read or does not fit the model."""


class DownloadError(PanopticBlendError):
    """A file that could not be brought here from the network, or is not the one that was announced."""


class FolderInUseError(PanopticBlendError):
    """Another command is writing into the output folder at this moment."""


class ResourceError(PanopticBlendError):
    """The machine lacks what a command needs: memory, shared memory, or a process that something else killed."""


class TrainingError(PanopticBlendError):
    """Training cannot go on, for instance because a loss is not finite."""


class TrainingStopped(PanopticBlendError):  # noqa: N818  # not an error, as KeyboardInterrupt is none
    """A signal asked training to stop and its state was saved; the message says how to go on.

    Attributes:
        exit_code: what a shell expects of a process that a signal stopped: 128 + its number (Ctrl-C 130, `kill` 143).
    """

    def __init__(self, message: str, signal_number: int):
        super().__init__(message)
        self.exit_code = 128 + signal_number


_NO_MEMORY = ("out of memory", "can't allocate memory", "Cannot allocate memory", "bad_alloc", "ALLOC_FAILED")


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, the machine's or a GPU's, ran out; torch has no one type for it."""
    said = isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)
    return said or isinstance(error, MemoryError)
