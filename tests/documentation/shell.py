"""Runs the commands of a page's shell blocks: `panoptic-blend` in this process, and what else can be checked."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from torch.distributed.run import get_args_parser

from panoptic_blend.cli import main
from panoptic_blend.commands import train
from panoptic_blend.commands.parsing import parse_with_settings
from panoptic_blend.config import TrainerConfig
from panoptic_blend.config_files import read_config
from tests.documentation.world import tiny_settings

ROOT = Path(__file__).parents[2]
SECONDS = {
    "benchmark": ["--rounds=1", "--size=64x64", "--threads=1"],
    "compare": ["--seeds=1"],
    "demo": ["--val-images=2"],
}
"""Options by which a command takes seconds; each wins over the page's own."""


class Shell:
    """A terminal in a folder. It is closed by `close`, which ends a server that a page started."""

    def __init__(self) -> None:
        self.server: subprocess.Popen[str] | None = None
        self.address = ""

    def run(self, line: str) -> None:
        """Run one line; what is not ours is checked as far as it can be without a network."""
        for command in line.split(" && "):
            words = shlex.split(self.at_address(command), comments=True)
            program = words[0]
            if program == "panoptic-blend":
                self._ours(words[1:])
            elif program == "pip":
                check_installation(words)
            elif program == "curl":
                self._curl(words)
            elif program == "make":
                assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE), command
            elif command in ("git clone <this repository>", "cd panoptic_blend"):
                assert (ROOT / "panoptic_blend").is_dir()  # this is what comes of it
            elif program == ".venv/bin/pre-commit":
                assert (ROOT / ".pre-commit-config.yaml").is_file()
            elif program == "python" and words[1].startswith("tools/"):
                assert (ROOT / words[1]).is_file(), command
            elif program == "torchrun":
                check_torchrun(words[1:])
            elif words[:2] == ["python", "-m"] and words[2].startswith("benchmarks."):
                check_benchmark(words[2], words[3:])
            else:
                raise AssertionError(f"nobody knows how to run `{command}`: mark the block `<!-- not run: reason -->`")

    def at_address(self, text: str) -> str:
        """The pages' server under the address that it has here."""
        return text.replace("http://127.0.0.1:8000", self.address) if self.address else text

    def close(self) -> None:
        """End the server."""
        if self.server is not None:
            self.server.terminate()
            self.server.communicate(timeout=60)
            self.server = None

    def _ours(self, words: list[str]) -> None:
        name = words[0]
        if name == "serve":
            self._serve(words)
            return
        if "--resume" in words:
            words = [*words, "--trainer.max_steps=4"]
        elif name == "train":
            shutil.rmtree("runs/mine", ignore_errors=True)  # was there for pages that do not train
            words = [*words, *tiny_settings()]
        elif name in ("compare", "demo"):
            if name == "compare":
                shutil.copytree("data/mine", "data/shapes", dirs_exist_ok=True)
            words = [*words, *tiny_settings(), *SECONDS[name]]
        elif name in ("convert-dataset", "evaluate"):
            shutil.rmtree(words[words.index("--output") + 1], ignore_errors=True)  # likewise
        else:
            words = [*words, *SECONDS.get(name, [])]
        assert main(words) == 0, f"panoptic-blend {shlex.join(words)}"

    def _serve(self, words: list[str]) -> None:
        self.close()
        command = [sys.executable, "-u", "-m", "panoptic_blend", *words, "--port=0"]
        self.server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.server.stdout is not None
        said = self.server.stdout.readline()
        found = re.search(r"at (http://127\.0\.0\.1:\d+)", said)
        assert found, said
        self.address = found[1]

    def _curl(self, words: list[str]) -> None:
        assert self.server is not None, "a page asks a server that it did not start"
        if shutil.which("curl"):
            subprocess.run([words[0], "--fail", "--silent", *words[1:]], check=True, capture_output=True, timeout=120)


def check_installation(words: list[str]) -> None:
    """Extras and files of a `pip install` are there; nothing is installed."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert words[1] == "install", words
    for extras in re.findall(r"panoptic-blend\[(.*?)\]", " ".join(words)):
        for extra in extras.split(","):
            assert extra in setup["options.extras_require"], f"there is no extra {extra!r}"
    if "-r" in words:
        assert (ROOT / words[words.index("-r") + 1]).is_file()


def check_benchmark(module: str, words: list[str]) -> None:
    """A script of benchmarks/ has the options that a page gives it; it is not run."""
    said = subprocess.run(
        [sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    ).stdout
    for word in words:
        assert not word.startswith("--") or word in said, f"{module} has no option {word}"


def check_torchrun(words: list[str]) -> TrainerConfig:
    """Torchrun and `train` know every word, and are told of the same processes; nothing is started."""
    launcher = get_args_parser().parse_args(words)
    assert (launcher.module, launcher.training_script) == (True, "panoptic_blend"), words
    assert launcher.training_script_args[0] == "train"
    options, settings = parse_with_settings(train.make_parser(), launcher.training_script_args[1:])
    trainer = read_config(options.config, settings).trainer
    assert (trainer.num_nodes, trainer.devices) == (int(launcher.nnodes), int(launcher.nproc_per_node)), words
    return trainer
