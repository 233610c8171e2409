"""Every command and snippet of the documentation works, or says why it is not run."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from panoptic_blend.config.names import setting_names
from panoptic_blend.config_files import read_config
from tests.documentation.blocks import Block, lines_of, read_blocks
from tests.documentation.shell import ROOT, Shell
from tests.documentation.world import build_world

pytest.importorskip("markdown_it")

QUICK = ("README.md", "docs/index.md")
PAGES = sorted(
    [
        *ROOT.glob("docs/*.md"),
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "data/README.md")),
        *ROOT.glob("configs/*/README.md"),
    ]
)
MOST_NOT_RUN = 10


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once; every page works in a copy."""
    root = tmp_path_factory.mktemp("world")
    build_world(root)
    return root


@pytest.fixture
def shell(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    """A terminal in a fresh copy of the world, in which timing steps takes no time."""
    shutil.copytree(world, tmp_path / "world")
    monkeypatch.chdir(tmp_path / "world")
    monkeypatch.setattr("panoptic_blend.suggestion.suggest.time_steps", lambda *_: 1.0)
    terminal = Shell()
    yield terminal
    terminal.close()


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=name, marks=[] if name in QUICK else pytest.mark.slow)
        for page in PAGES
        for name in [page.relative_to(ROOT).as_posix()]
    ],
)
def test_what_a_page_says_works(page: Path, shell: Shell) -> None:
    names: dict[str, Any] = {"__name__": "__page__"}
    for block in read_blocks(page):
        if not block.not_run:
            try:
                run(block, shell, names)
            except BaseException as failed:
                failed.add_note(f"in {block}")
                raise


def run(block: Block, shell: Shell, names: dict[str, Any]) -> None:
    """Run or check a block as what it is.

    Args:
        block: of a page.
        shell: where its commands are run.
        names: what the page's Python blocks have defined so far.
    """
    if block.kind == "shell":
        for line in lines_of(block):
            shell.run(line)
    elif block.kind == "python":
        exec(compile(shell.at_address(block.code), str(block), "exec"), names)
    elif block.kind == "json":
        json.loads(block.code)
    elif block.kind == "yaml":
        check_settings(block.code)
    else:
        assert block.kind == "text", (
            f"a block is {block.kind or 'of no kind'}: shell blocks are indented, others fenced"
        )
        assert not re.search(r"^\s*(panoptic-blend|pip|python) ", block.code, re.MULTILINE), "a command that is not run"


def check_settings(text: str) -> None:
    """YAML on a page is part of a configuration, or an ablation over one."""
    content = yaml.safe_load(text)
    if "variants" in content:
        for variant in content["variants"].values():
            check_settings(yaml.safe_dump(variant))
        return
    path = Path("on_a_page.yaml")
    path.write_text(text, encoding="utf-8")
    read_config(path)


def test_few_blocks_are_not_run_and_say_why() -> None:
    marked = [f"{block}: {block.not_run}" for page in PAGES for block in read_blocks(page) if block.not_run]
    assert len(marked) <= MOST_NOT_RUN, marked


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_settings_and_options_named_in_a_sentence_exist(page: Path) -> None:
    known = {name[:end] for name in setting_names() for end in (len(name), name.rfind("."))}
    written = " ".join(re.findall(r"`([^`\n]+)`", page.read_text(encoding="utf-8")))
    named = re.findall(r"--((?:model|data|optimizer|trainer)\.[a-z0-9_.]+)", written)
    assert [name for name in named if name not in known] == []
