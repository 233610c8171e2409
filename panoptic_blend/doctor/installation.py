"""Versions of what is installed, and which extras are whole."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import panoptic_blend
from panoptic_blend._version import __version__
from panoptic_blend.catalogue.cache import HOME, MIRROR, OFFLINE

DISTRIBUTION = "panoptic-blend"
_FOR_DEVELOPERS = ("dev", "docs", "test")
_LIBRARIES = (
    "torch", "torchvision", "lightning", "numpy", "scipy", "pillow", "kornia-rs", "safetensors", "jsonargparse",
    "pycocotools",
)  # fmt: skip
_VARIABLES = (HOME, OFFLINE, "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "CUDA_VISIBLE_DEVICES", "HF_HOME", "XDG_CACHE_HOME")
_SECRET_VARIABLES = (MIRROR, "HTTPS_PROXY", "https_proxy", "HF_ENDPOINT")
"""Addresses may hold passwords: only that they are set is told."""


@dataclass
class Extra:
    """What `pip install 'panoptic-blend[NAME]'` brings.

    Attributes:
        name: of the extra.
        here: packages that are installed, with their versions.
        missing: names of those that are not.
    """

    name: str
    here: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


def describe_installation() -> list[str]:
    """Lines about this program, Python, the libraries and the environment."""
    lines = [
        f"panoptic-blend {__version__} in {from_home(Path(panoptic_blend.__file__).parent)}",
        f"Python {platform.python_version()} ({platform.python_implementation()}) on {platform.platform()}",
        ", ".join(f"{name} {version_of(name) or 'is missing'}" for name in _LIBRARIES),
    ]
    told = [f"{name}={from_home(Path(os.environ[name]))}" for name in _VARIABLES if os.environ.get(name)]
    told += [f"{name} is set" for name in _SECRET_VARIABLES if os.environ.get(name)]
    return [*lines, f"environment: {', '.join(told) or 'none of the variables that matter here'}"]


def describe_extras(requirements: list[str] | None = None) -> list[str]:
    """A line for every extra: there, or what is missing of it and how to install it.

    Args:
        requirements: as a package's metadata has them; those of this installation when None.
    """
    if requirements is None:
        try:
            requirements = metadata.requires(DISTRIBUTION) or []
        except metadata.PackageNotFoundError:
            return ["panoptic-blend itself was not installed by pip, so that its extras are not known."]
    lines = []
    for extra in find_extras(requirements):
        here = ", ".join(f"{name} {version}" for name, version in extra.here.items())
        if extra.missing:
            lines.append(
                f"{extra.name}: without {', '.join(extra.missing)} (pip install '{DISTRIBUTION}[{extra.name}]')"
                + (f"; there is {here}" if here else "")
            )
        else:
            lines.append(f"{extra.name}: {here}")
    return lines


def find_extras(requirements: list[str]) -> list[Extra]:
    """The extras among a package's requirements, those of developers left out; one may bring another."""
    members: dict[str, list[str]] = {}
    brought: dict[str, list[str]] = {}
    for requirement in requirements:
        extra = re.search(r"extra == ['\"]([\w.-]+)['\"]", requirement)
        name = re.match(r"[\w.-]+", requirement)
        if extra is None or name is None or extra[1] in _FOR_DEVELOPERS:
            continue
        own = re.match(rf"{DISTRIBUTION}\[([\w,.-]+)\]", requirement)
        if own:
            brought.setdefault(extra[1], []).extend(own[1].split(","))
        else:
            members.setdefault(extra[1], []).append(name[0])
    found = []
    for extra_name in sorted(members.keys() | brought.keys()):
        result = Extra(extra_name)
        packages = [*members.get(extra_name, []), *(p for b in brought.get(extra_name, []) for p in members.get(b, []))]
        for package in packages:
            version = version_of(package)
            if version is None:
                result.missing.append(package)
            else:
                result.here[package] = version
        found.append(result)
    return found


def version_of(package: str) -> str | None:
    """The installed version, None when it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def from_home(path: Path) -> str:
    """A path for strangers: without the name of whose home it is in."""
    try:
        return str(Path("~") / path.relative_to(Path.home()))
    except (ValueError, RuntimeError):
        return str(path)
