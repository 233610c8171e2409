"""Notebooks as pages, with the outputs that are stored in them."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import nbformat


def notebook_files(notebook: Path) -> dict[str, str | bytes]:
    """The page of a notebook and its pictures, by their places on the site."""
    cells = nbformat.read(notebook, as_version=4).cells
    title, *rest = cells
    parts = [title.source, f"This page is the notebook `examples/{notebook.name}`."]
    files: dict[str, str | bytes] = {}
    for number, cell in enumerate(rest):
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for output in cell.outputs:
            parts += _shown(output, f"{notebook.stem}_{number}", files)
    return {f"notebooks/{notebook.stem}.md": "\n\n".join(parts) + "\n", **files}


def _shown(output: Any, name: str, files: dict[str, str | bytes]) -> list[str]:
    """Markdown of a cell's output; a picture is added to the files under the name."""
    data = output.get("data", {})
    for kind, ending in (("image/jpeg", "jpg"), ("image/png", "png")):
        if kind in data:
            files[f"notebooks/{name}.{ending}"] = base64.b64decode(data[kind])
            return [f"![what the cell above draws]({name}.{ending})"]
    text = output.get("text") or data.get("text/plain") or ""
    return [f"```text\n{text.strip()}\n```"] if text.strip() and "text/html" not in data else []
