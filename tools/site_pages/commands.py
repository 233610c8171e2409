"""The reference of commands: what each says to --help."""

from __future__ import annotations

import io
import os
from contextlib import redirect_stdout
from unittest.mock import patch

from panoptic_blend.cli import command_names, main

SETTINGS = "\nsettings, in a configuration file or here:\n"
"""Where the help of commands that take every setting begins to list them; they have a page of their own."""


def commands_page() -> str:
    """Markdown of all commands."""
    parts = [
        "# Commands",
        "What `panoptic-blend COMMAND --help` says. The program's own `--help` lists the commands:",
        _block(_help([])),
    ]
    for name in command_names():
        text, _, settings = _help([name]).partition(SETTINGS)
        parts += [f"## {name}", _block(text)]
        if settings:
            parts.append("[Every setting](settings.md) can be given here, too: `--trainer.max_steps 100`.")
    return "\n\n".join(parts) + "\n"


def _help(words: list[str]) -> str:
    said = io.StringIO()
    with patch.dict(os.environ, {"COLUMNS": "100", "NO_COLOR": "1"}), redirect_stdout(said):
        code = main([*words, "--help"])
    assert code == 0, f"{words} --help ends with {code}"
    return said.getvalue()


def _block(text: str) -> str:
    return f"```text\n{text.strip()}\n```"
