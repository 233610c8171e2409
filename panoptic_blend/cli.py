"""The command line. A command imports what it needs when it runs: `--help` and `score` never load torch."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType, ModuleType

from panoptic_blend._version import __version__
from panoptic_blend.catalogue.cache import go_offline, is_offline
from panoptic_blend.commands import (
    benchmark,
    check_dataset,
    compare,
    convert_checkpoint,
    convert_dataset,
    demo,
    doctor,
    evaluate,
    explain,
    export,
    models,
    predict,
    report,
    score,
    serve,
    suggest_config,
    train,
    tune,
)
from panoptic_blend.commands.completion import SHELLS, completion_script
from panoptic_blend.commands.parsing import command
from panoptic_blend.errors import ConfigError, PanopticBlendError, TrainingStopped, out_of_memory
from panoptic_blend.files.room import NO_ROOM, no_room
from panoptic_blend.spelling import did_you_mean
from panoptic_blend.stop_signals import STOP_SIGNALS

FAILURE, USAGE_ERROR = 1, 2
NOT_FOR_EXPORTED = frozenset(("lightning", "matplotlib", "safetensors", "tensorboard", "torch", "torchvision"))
"""Packages that running an exported folder does without: they are not in requirements-runtime.txt."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: what follows the program's name; by default this process's own.

    Returns:
        The exit code: 0; 1 for something that went wrong and is said on stderr; 2 for an unknown or wrong option or
        setting; 130 after Ctrl-C, 143 after `kill`, 129 when the terminal closed.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if is_offline():
        go_offline()  # tells the libraries of hubs, too, before they are imported
    _replace_what_a_console_lacks()
    logging.basicConfig(format="%(message)s")
    logging.getLogger("panoptic_blend").setLevel(logging.INFO)
    received: list[int] = []
    try:
        with _signals_end_it(received):
            return _run(words)
    except TrainingStopped as stopped:
        _complain(str(stopped))
        return stopped.exit_code
    except PanopticBlendError as error:
        if received:
            return _interrupted(received[0])
        _complain(str(error))
        return USAGE_ERROR if isinstance(error, ConfigError) else FAILURE
    except KeyboardInterrupt:
        return _interrupted(signal.SIGINT)
    except BrokenPipeError:
        # The reader (head, less) has left; nothing may be flushed to it when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILURE
    except Exception as error:  # the outermost edge: nothing above this could still tell what happened
        if received:
            return _interrupted(received[0])
        if not out_of_memory(error):
            _complain(_system_error(error) or _missing_package(error) or _report(error, words))
            return FAILURE
    # Only here, where what the error held is free again; nothing more is imported, for which there may be no memory.
    sys.stderr.write("memory ran out. Close other programs, or ask for less: smaller images, model or batch.\n")
    return FAILURE


def command_names() -> tuple[str, ...]:
    """Every command, in the order of `--help`."""
    return tuple(_COMMANDS)


def _replace_what_a_console_lacks() -> None:
    """Let a letter that the console's encoding lacks (ASCII, cp1252) come out as `?` instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _system_error(error: Exception) -> str | None:
    """What the operating system said about a file, or about a disk that is full; else nothing."""
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return no_room(error)
    if not isinstance(error, OSError) or error.filename is None:
        return None
    # Of a file that is moved, the second name is the one the person gave.
    name = error.filename2 or error.filename
    if isinstance(error, (FileExistsError, NotADirectoryError)):
        return f"{name}: a file is where a folder was expected. Choose another name, or remove it."
    return f"{name}: {error.strerror}."


def _missing_package(error: Exception) -> str | None:
    """What is lacking where only exported folders are to be run; else nothing."""
    if not isinstance(error, ModuleNotFoundError) or error.name not in NOT_FOR_EXPORTED:
        return None
    return (
        f"This needs {error.name}, which is not installed. Run `pip install panoptic-blend`; without it, `predict` and "
        "`evaluate` take folders that `export` wrote."
    )


def _report(error: Exception, arguments: Sequence[str]) -> str:
    """One line about an error that nobody foresaw; the details are written to a file."""
    from panoptic_blend.crash_report import write_crash_report

    short = " ".join(f"{type(error).__name__}: {error}".split())
    short = short if len(short) <= 200 else f"{short[:200]}..."
    try:
        place = f"are in {write_crash_report(error, arguments)}"
    except OSError as refused:
        traceback.print_exception(error)
        place = f"are above, since they could not be written to a file ({refused.strerror})"
    return f"Unexpected {short} - a fault of this program. Details {place}: please send them to its maintainers."


def _interrupted(number: int) -> int:
    if number == signal.SIGINT:
        _complain("interrupted")
    return 128 + number


@contextmanager
def _signals_end_it(received: list[int]) -> Iterator[None]:
    """Let `kill`, or a terminal that closes, end a command as Ctrl-C does: nothing half-written stays behind.

    Training listens in its own way.

    Args:
        received: gets the number of a signal. Libraries have been seen to swallow what it raises, and to fail of that.
    """

    def leave(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield  # Python allows no handlers here
        return
    before = {}
    for number in STOP_SIGNALS:
        # Not where nohup or a shell's background job ignores it, or a program has a handler of its own.
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            before[number] = signal.signal(number, leave)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run(arguments: list[str]) -> int:
    try:
        if arguments and arguments[0] in _COMMANDS:
            _COMMANDS[arguments[0]].run(arguments[1:])
        else:
            _describe_program(arguments)
        code = 0
    except SystemExit as done:  # argparse, after --help and --version; `kill`
        code = int(done.code or 0)
    sys.stdout.flush()
    return code


def _describe_program(arguments: list[str]) -> None:
    """Without a command: --help, --version, or a complaint."""
    parser = command("", "Panoptic segmentation by BlendMask: things and stuff in one map.", epilog=_OVERVIEW)
    parser.usage = "panoptic-blend COMMAND [options]"
    parser.add_argument("--version", action="version", version=f"panoptic-blend {__version__}")
    parser.add_argument(
        "--print-completion", metavar="SHELL", choices=SHELLS, help="write the script for bash, zsh or tcsh to complete"
    )
    options, rest = parser.parse_known_args(arguments)
    if options.print_completion:
        parsers = {name: module.make_parser() for name, module in _COMMANDS.items()}
        sys.stdout.write(completion_script(options.print_completion, parsers))
        return
    if rest:
        known = [*_COMMANDS, "--help", "--version", "--print-completion"]
        raise ConfigError(f"{rest[0]!r} is not a command of panoptic-blend.{did_you_mean(rest[0], known)}")
    parser.print_help()


_OVERVIEW = """\
commands:
  demo        make a small data set, train on it, evaluate, and look: a few minutes on a laptop
  train       train a model on your images and their COCO panoptic annotations
  evaluate    predict annotated images and score the predictions
  predict     predict images without annotations
  score       score predictions that are already on disk
  tune        choose the thresholds of the merge by annotated images
  report      draw a page of how good predictions are, and of what is wrong with them
  compare     train and evaluate variants of a model under equal conditions: one table
  benchmark   time every stage of a prediction on this machine
  explain     draw what happens inside the model on one image
  serve       a page to try models on in a browser, and an HTTP API
  export      write a model as a folder that runs without torch
  models      list the models that have a name, and download them
  doctor      tell what is installed and what this machine can do, for a bug report
  convert-dataset
              turn label maps, masks or an annotation tool's files into COCO panoptic
  check-dataset
              check a data set, and draw a page of what it holds and what is odd about it
  suggest-config
              measure a data set and this machine, and write a configuration for both
  convert-checkpoint
              turn weights of AdelaiDet's BlendMask into a model of this program

panoptic-blend COMMAND --help tells more about each.
"""


_COMMANDS: dict[str, ModuleType] = {
    "demo": demo,
    "train": train,
    "evaluate": evaluate,
    "predict": predict,
    "score": score,
    "tune": tune,
    "report": report,
    "compare": compare,
    "benchmark": benchmark,
    "explain": explain,
    "serve": serve,
    "export": export,
    "models": models,
    "doctor": doctor,
    "convert-checkpoint": convert_checkpoint,
    "convert-dataset": convert_dataset,
    "check-dataset": check_dataset,
    "suggest-config": suggest_config,
}


def _complain(text: str) -> None:
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True).print(Text(text, style="bold red"), soft_wrap=True)
