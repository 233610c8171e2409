"""Configurations from YAML files and dotted overrides; a misspelt setting is answered with the nearest one."""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace

from panoptic_blend.config import PREDICTION_SECTIONS, PREDICTION_SETTINGS, Config, PredictionSettings
from panoptic_blend.config.checks import require
from panoptic_blend.config.names import check_prediction_settings, setting_names, setting_types
from panoptic_blend.config.plain import in_words, plain_settings
from panoptic_blend.errors import ConfigError
from panoptic_blend.files.atomic import atomic_path
from panoptic_blend.spelling import check_options, did_you_mean

_REFUSED = (ArgumentError, OverflowError, ValueError)
"""What jsonargparse raises on wrong values; the others on whole numbers that no float can hold, and on `._`."""

_SHARE = Path("share", "panoptic_blend", "configs")
_ROOT = Path(__file__).resolve().parents[1]
_SHIPPED = (
    _ROOT / "configs",
    Path(sysconfig.get_path("data")) / _SHARE,
    Path(sysconfig.get_path("data", sysconfig.get_preferred_scheme("user"))) / _SHARE,
    _ROOT / _SHARE,
)
"""Where configurations lie in a checkout, and where pip puts them: by default, with --user, and with --target."""


def read_config(files: Sequence[Path | str] | Path | str = (), overrides: Sequence[str] = ()) -> Config:
    """Build a configuration from the defaults, then the files in order, then the overrides.

    Args:
        files: a YAML file or several, each with any part of the settings, or names that `find_config` knows.
        overrides: as on the command line: `["--trainer.max_steps", "100", "--data.root=shapes"]`.

    Raises:
        ConfigError: a file that cannot be read, or a setting that is unknown, of the wrong type or out of bounds.
    """
    parser = _parser()
    arguments: list[str] = []
    written_in: dict[str, Path] = {}
    for file in map(find_config, [files] if isinstance(files, (str, Path)) else files):
        written_in |= dict.fromkeys(_check_file(parser, file), file)
        arguments += ["--config", str(file)]
    try:
        parsed = _build(parser, parser.parse_args([*arguments, *overrides]))
    except _REFUSED as error:
        check_options(overrides, [f"--{name}" for name in setting_names()])
        raise ConfigError(_plain(str(error))) from error
    except ConfigError as error:  # out of bounds, by itself or beside the settings of other files
        setting = str(error).split(" ", 1)[0]
        if setting not in written_in or f"--{setting}" in (word.split("=", 1)[0] for word in overrides):
            raise
        raise ConfigError(f"{written_in[setting]}: {error}") from error
    return Config(model=parsed.model, data=parsed.data, optimizer=parsed.optimizer, trainer=parsed.trainer)


def write_config(config: Config, path: Path | str) -> None:
    """Write every setting to a YAML file that `read_config` reads back to an equal configuration."""
    with atomic_path(Path(path)) as unfinished:
        unfinished.write_text(dump_yaml(plain_settings(config), sort_keys=False), encoding="utf-8")


def dump_yaml(value: object, **style: Any) -> str:
    """YAML of plain values that `read_config` reads back as they are.

    Args:
        value: of dicts, lists, texts, numbers and bools.
        style: as `yaml.dump` takes it.
    """
    return yaml.dump(value, Dumper=_Dumper, **style)


class _Dumper(yaml.SafeDumper):
    """Puts texts as `1e3` in quotes: in YAML 1.1 they are none but texts, while jsonargparse takes them for numbers."""


_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d[\d_]*\.?[\d_]*|\.[\d_]+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def change_settings(settings: PredictionSettings, overrides: Sequence[str]) -> None:
    """Change sizes and thresholds of a model that is there already, in place.

    Args:
        settings: of the model.
        overrides: as on the command line: `["--model.merge.min_score", "0.5"]`.

    Raises:
        ConfigError: a setting that belongs to training or is unknown, of the wrong type or out of bounds.
    """
    if not overrides:
        return  # making the parser takes longer than any of it
    check_prediction_settings(overrides)
    parser = _prediction_parser()
    parser.set_defaults({name: getattr(settings, field) for name, field in PREDICTION_SETTINGS.items()})
    try:
        parsed = parser.parse_args(list(overrides))
        _build(parser, parsed)  # checks bounds
    except _REFUSED as error:
        raise ConfigError(_plain(str(error))) from error
    for name, field in PREDICTION_SETTINGS.items():
        setattr(settings, field, parsed[name])


def prediction_settings_help() -> str:
    """Every setting that a prediction can change with its meaning and type, for the end of a command's help."""
    text = _prediction_parser().format_help().split("\n\n", 2)[2]
    text = re.sub(r" *--model\.\w+ CONFIG .*\n", "", text)  # whole sections are not offered here
    return re.sub(r",\s+default:\s[^)]*\)", ")", text)  # the defaults are the checkpoint's


def _prediction_parser() -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    for section, kind in PREDICTION_SECTIONS.items():
        other = {field.name for field in dataclasses.fields(kind)} - set(PREDICTION_SETTINGS.values())
        parser.add_class_arguments(kind, f"model.{section}", skip=other)
    return parser


def settings_help() -> str:
    """Every setting with its meaning, type and default, for the end of a command's help."""
    return _parser().format_help().split("\n\n", 2)[2]


def find_config(name: Path | str) -> Path:
    """A configuration file: as named, or one that comes with the package, such as `shapes/r18.yaml`.

    Those that come with it lie in `configs/` of a checkout, and in the environment's data folder when installed from a
    wheel; a leading `configs/` in the name makes no difference.

    Raises:
        ConfigError: there is none of this name; the message has the nearest that comes with the package, or them all.
    """
    path = Path(os.path.expanduser(name))
    if path.exists():
        return path
    relative = Path(*path.parts[1:]) if path.parts[:1] == ("configs",) else path
    shipped: list[str] = []
    for folder in _SHIPPED:
        if (folder / relative).is_file():
            return folder / relative
        shipped += sorted(each.relative_to(folder).as_posix() for each in folder.rglob("*.yaml"))
    near = difflib.get_close_matches(relative.as_posix(), shipped, n=1, cutoff=0.7)
    remedy = f"Did you mean {near[0]}?" if near else f"Give a YAML file of settings, or one of: {', '.join(shipped)}."
    raise ConfigError(f"{name}: no such file. {remedy}")


def read_yaml(file: Path) -> object:
    """The decoded content of a YAML file.

    Raises:
        ConfigError: it cannot be read, is not YAML, or says one thing twice.
    """
    try:
        return yaml.load(file.read_text(encoding="utf-8"), _OnceLoader)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}). Give a YAML file of settings.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # of what looks like a date or number, too
        raise ConfigError(f"{file}: is not valid YAML: {' '.join(str(error).split())}") from error


class _OnceLoader(yaml.SafeLoader):
    """Refuses a key that is there twice, of which YAML would keep the last and forget the rest."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As the base class does."""
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        twice = [key for key in keys if keys.count(key) > 1]
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"{twice[0]!r} is there twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--config", action="config")
    parser.add_class_arguments(Config)
    return parser


def _names(parser: ArgumentParser) -> list[str]:
    names = parser.get_defaults().keys()  # a Namespace has keys, but cannot be iterated over itself
    return [name for name in names if name != "config"]


def _check_file(parser: ArgumentParser, file: Path) -> list[str]:
    """The settings a file holds; `ConfigError`, naming the file, unless they are known and of their types."""
    content = read_yaml(file)
    if not isinstance(content, dict):
        raise ConfigError(f"{file}: holds no settings. Write them as 'trainer: {{max_steps: 1000}}'.")
    try:
        _check_names(content, setting_names(), str(file))
    except RecursionError as error:
        raise ConfigError(f"{file}: a part of it holds itself. Write its settings out.") from error
    try:
        _check_values(parser, parser.parse_path(file))
    except _REFUSED as error:
        raise ConfigError(f"{file}: {_plain(str(error))}") from error
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from error
    return list(_dotted_names(content))


def _build(parser: ArgumentParser, values: Namespace) -> Namespace:
    """The parser's dataclasses with these values, within their bounds."""
    _check_values(parser, values)
    return parser.instantiate(values)


def _check_values(parser: ArgumentParser, values: Namespace) -> None:
    """Raise `ConfigError` for what jsonargparse lets through: null, 3.0 for the choice 3, numbers without end."""
    defaults = parser.get_defaults()
    for name in _names(parser):
        value, default = values[name], defaults[name]
        if default is not None:
            if value is None:
                raise ConfigError(f"{name} has no value. Write one, or leave it out to have the default, {default!r}.")
            require(type(value) is type(default), name, value, type(default).__name__)
        for number in value if isinstance(value, tuple) else [value]:
            if isinstance(number, (int, float)):
                require(abs(number) < 2**63, name, value, "finite and below 2^63")


def _check_names(content: dict[str, Any], known: Sequence[str], source: str) -> None:
    for name in _dotted_names(content):
        if name in known:
            continue
        if any(each.startswith(f"{name}.") for each in known):
            raise ConfigError(f"{source}: {name} is a group of settings; write them indented beneath it.")
        raise ConfigError(f"{source}: {name} is not a setting.{did_you_mean(name, known)}")


def _dotted_names(content: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _dotted_names(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _plain(message: str) -> str:
    """A type error in words of the settings instead of Python's types."""
    setting = re.search(r'Parser key "([^"]+)"', message)
    expected = re.search(r"Subtypes: \[(.*)\]|Expected an? (.*?)\. Got", message)
    given = re.search(r"(?:Got value|Given value): (.*)", message)
    if setting and "Unable to load config" in message:
        return f"{setting[1]} is a group of settings; give each by itself, as in --trainer.max_steps 100."
    if not (setting and expected and given):
        return " ".join(message.split())
    hint = setting_types().get(setting[1])
    if "tuple" in str(hint):
        return f"{setting[1]} is {given[1]!r}; it must be {in_words(hint)}, in brackets."
    kind = re.sub(r"<class '(\w+)'>", r"\1", expected[1] or expected[2]).replace("NoneType", "null")
    kind = re.sub(r"(?:typing\.)?Literal\[(.*?)\]", r"one of \1", kind)
    if kind.startswith("null, "):  # the order of types differs between versions of jsonargparse
        kind = kind.removeprefix("null, ") + ", null"
    return f"{setting[1]} is {given[1]!r}; it must be {kind}."
