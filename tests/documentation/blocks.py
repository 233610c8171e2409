"""The code blocks of a Markdown page."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt


@dataclass(frozen=True)
class Block:
    """A code block.

    Attributes:
        page: the file.
        line: where the block begins, counted from 1.
        kind: what its fence says: `python`, `json`, `yaml`, `text`; `shell` for indented blocks, `text` after a
            comment `<!-- text -->`.
        code: its text.
        not_run: the reason in a comment `<!-- not run: reason -->` before it; empty without one.
    """

    page: Path
    line: int
    kind: str
    code: str
    not_run: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def read_blocks(page: Path) -> list[Block]:
    """All blocks of a page in their order."""
    blocks, comment = [], ""
    for token in MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8")):
        if token.type in ("fence", "code_block"):
            assert token.map is not None
            kind = token.info.strip() if token.type == "fence" else "shell"
            kind = "text" if comment == "text" else kind
            blocks.append(Block(page, token.map[0] + 1, kind, token.content, comment.partition("not run: ")[2]))
        said = re.match(r"<!-- (.+) -->", token.content) if token.type == "html_block" else None
        comment = said[1] if said else ""
    return blocks


def lines_of(block: Block) -> list[str]:
    """The commands of a shell block, continued lines joined."""
    joined = re.sub(r"\\\n\s*", " ", block.code)
    return [line.strip() for line in joined.splitlines() if line.strip() and not line.strip().startswith("#")]
