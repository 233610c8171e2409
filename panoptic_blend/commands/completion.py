"""What a shell needs to complete commands, options, settings and paths."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from panoptic_blend.commands.parsing import Parser
from panoptic_blend.errors import ConfigError

SHELLS = ("bash", "zsh", "tcsh")
WITH_SETTINGS = ("benchmark", "compare", "demo", "train")
"""Commands that take every setting."""
WITH_PREDICTION_SETTINGS = ("evaluate", "explain", "export", "predict", "serve", "tune")
"""Commands that take those that a prediction can change."""


def completion_script(shell: str, commands: Mapping[str, Parser]) -> str:
    """The script that completes `panoptic-blend` in one of `SHELLS`.

    Args:
        shell: its name.
        commands: name -> parser of each command, in their order; the parsers are for nothing else afterwards.

    Raises:
        ConfigError: shtab is not installed.
    """
    try:
        import shtab
    except ModuleNotFoundError as error:
        raise ConfigError(
            "Completion needs shtab, to write its script. Run `pip install 'panoptic-blend[completion]'`."
        ) from error
    from panoptic_blend.config import PREDICTION_SETTINGS
    from panoptic_blend.config.names import setting_names

    program = argparse.ArgumentParser(prog="panoptic-blend")
    program.add_argument("--version", action="version", version="")
    subparsers = program.add_subparsers()
    for name, parser in commands.items():
        for action in parser.paths:
            what = shtab.DIRECTORY if action.metavar == "DIR" else shtab.FILE
            action.complete = what  # type: ignore[attr-defined]  # where shtab looks for it
        settings = setting_names() if name in WITH_SETTINGS else ()
        for setting in PREDICTION_SETTINGS if name in WITH_PREDICTION_SETTINGS else settings:
            parser.add_argument(f"--{setting}", metavar="VALUE", help="setting")
        subparsers.add_parser(name, parents=[parser], add_help=False, help=parser.description)
    return str(shtab.complete(program, shell))
