from __future__ import annotations

import ast
import sys
from importlib import import_module
from pathlib import Path

import pytest

import panoptic_blend
from panoptic_blend.errors import PanopticBlendError

PACKAGE = Path(panoptic_blend.__file__).parent
BRIDGE = {PACKAGE / "integrations" / name for name in ("detectron2.py", "detectron2_data.py")}
ENTRANCES = ("panoptic_blend.integrations.detectron2", "panoptic_blend.integrations.detectron2_data")


def imported_modules(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module or "")
    return modules


def test_only_the_bridge_imports_detectron2_and_nobody_the_bridge():
    sources = sorted(PACKAGE.rglob("*.py"))
    assert set(sources) > BRIDGE
    for path in set(sources) - BRIDGE:
        for module in imported_modules(path):
            assert module.split(".")[0] != "detectron2", path
            assert module not in ("panoptic_blend.integrations", *ENTRANCES), path


def test_importing_the_bridge_says_what_is_missing_and_where_to_get_it(monkeypatch):
    for name in list(sys.modules):
        if name.startswith("panoptic_blend.integrations."):
            monkeypatch.delitem(sys.modules, name)
    for name in {"detectron2", "detectron2.config", *(m for m in sys.modules if m.startswith("detectron2."))}:
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    with pytest.raises(PanopticBlendError) as caught:
        import_module("panoptic_blend.integrations.detectron2")
    message = str(caught.value)
    assert message.startswith("panoptic_blend.integrations.detectron2 needs detectron2, which cannot be imported here")
    assert "pip install --no-build-isolation git+https://github.com/facebookresearch/detectron2" in message
