"""mkdocs's hook: pages made from code, and pages whose Markdown lies outside docs/.

Their links are written for a plain Git host, as paths in the repository; here they become links between pages.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from site_pages.commands import commands_page
from site_pages.notebooks import notebook_files
from site_pages.python import metrics_page, parts_page, python_page
from site_pages.settings import settings_page

ROOT = Path(__file__).resolve().parents[1]
ELSEWHERE = {
    "data/README.md": "data.md",
    "configs/coco/README.md": "published.md",
    "configs/modern/README.md": "modern.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"""File in the repository -> page of the site."""
AS_THEY_ARE = ("LICENSE", "examples/slurm.sh", "examples/kubernetes.yaml")
"""Files that pages link to, copied."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is not in docs/."""
    contents: dict[str, str | bytes] = {
        "reference/commands.md": commands_page(),
        "reference/settings.md": settings_page(),
        "reference/python.md": python_page(),
        "reference/metrics.md": metrics_page(),
        "reference/parts.md": parts_page(),
    }
    contents |= {page: (ROOT / path).read_text(encoding="utf-8") for path, page in ELSEWHERE.items()}
    contents |= {path: (ROOT / path).read_bytes() for path in AS_THEY_ARE}
    for notebook in sorted((ROOT / "examples").glob("*.ipynb")):
        contents |= notebook_files(notebook)
    for name, content in contents.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links to files of the repository into links to pages of the site."""
    own = page.file.src_uri
    homes = {page_name: path for path, page_name in ELSEWHERE.items()}
    folder = posixpath.dirname(homes.get(own, f"docs/{own}"))

    def link(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, match[1]))
        return f"]({posixpath.relpath(_page(target), posixpath.dirname(own) or '.')}{match[2]})"

    return re.sub(r"\]\((?![a-z]+:)([^)\s#]+)((?:#[^)\s]*)?)\)", link, markdown)


def _page(path: str) -> str:
    """The place on the site of a file of the repository."""
    if path.startswith("examples/") and path.endswith(".ipynb"):
        return f"notebooks/{path.removeprefix('examples/').removesuffix('.ipynb')}.md"
    return ELSEWHERE.get(path, path.removeprefix("docs/"))
