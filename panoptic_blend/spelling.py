"""Misspelt options and settings are answered with the nearest right one."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from panoptic_blend.errors import ConfigError


def check_options(words: Sequence[str], known: Sequence[str]) -> None:
    """Raise `ConfigError` for the first `--option` among the words that is not known, naming the nearest that is."""
    for word in words:
        name = word.split("=", 1)[0]
        if name.startswith("--") and name not in known and not any(each.startswith(f"{name}.") for each in known):
            raise ConfigError(f"{name} is not known here.{did_you_mean(name, known)}")


def did_you_mean(name: str, known: Sequence[str], otherwise: str = "--help lists them all.") -> str:
    """`" Did you mean X?"` with the nearest known name, or where to look when none is near."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    if not near:  # the right word in the wrong section, or in none: --max_steps
        words = {_last_word(each): each for each in known}
        near = [words[word] for word in difflib.get_close_matches(_last_word(name), list(words), n=1, cutoff=0.8)]
    return f" Did you mean {near[0]}?" if near else f" {otherwise}"


def _last_word(name: str) -> str:
    return name.lstrip("-").rsplit(".", 1)[-1].replace("-", "_")
