"""What is written down about an error that nobody foresaw, for those who can mend it."""

from __future__ import annotations

import platform
import re
import shlex
import tempfile
import traceback
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from panoptic_blend._version import __version__

_LIBRARIES = ("torch", "torchvision", "lightning", "numpy", "pillow", "jsonargparse")


def write_crash_report(error: BaseException, arguments: Sequence[str]) -> Path:
    """Write the command, the versions and the traceback to a new file in the temporary folder.

    Args:
        error: what was raised.
        arguments: the command's, as they followed the program's name.

    Raises:
        OSError: there is no folder that can be written to.
    """
    lines = [
        f"panoptic-blend {shlex.join(_without_secrets(arguments))}",
        f"panoptic-blend {__version__}, Python {platform.python_version()}, {platform.platform()}",
        ", ".join(f"{name} {_version(name)}" for name in _LIBRARIES),
        "",
        *traceback.format_exception(error),
    ]
    with tempfile.NamedTemporaryFile(
        "w", prefix="panoptic-blend-", suffix=".txt", delete=False, encoding="utf-8", errors="backslashreplace"
    ) as file:
        file.write("\n".join(lines))
    return Path(file.name)


def _without_secrets(arguments: Sequence[str]) -> list[str]:
    """The words of a command without the server's token, since the report is meant to be sent to others."""
    told, hide = [], False
    for word in arguments:
        told.append("***" if hide else re.sub("^--token=.*", "--token=***", word, flags=re.DOTALL))
        hide = word == "--token"
    return told


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "is not installed"
