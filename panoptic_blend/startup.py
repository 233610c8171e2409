"""Imports torchvision without torch's compiler, which predicting does not use: a second and 150 MiB less."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

_COMPILER = "torch._dynamo.utils"


def import_torchvision() -> None:
    """Import torchvision; torch's compiler follows when something is compiled.

    `torchvision.ops.roi_align` imports `is_compile_supported` from the compiler, and calls it only on devices that it
    has no operation of its own for. It gets one here that imports the compiler then.
    """
    compiler = _CompilerLater(_COMPILER)
    sys.modules.setdefault(_COMPILER, compiler)
    try:
        import_module("torchvision")
    finally:
        compiler.leave()


class _CompilerLater(ModuleType):
    """Stands in for the compiler's module while torchvision is imported, and makes way when asked for anything else."""

    @staticmethod
    def is_compile_supported(device_type: str) -> bool:
        """As torch's."""
        return bool(import_module(_COMPILER).is_compile_supported(device_type))

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):  # what the import machinery asks any module for
            raise AttributeError(name)
        self.leave()
        return getattr(import_module(_COMPILER), name)

    def leave(self) -> None:
        """Let the next import find the module itself."""
        if sys.modules.get(_COMPILER) is self:
            del sys.modules[_COMPILER]
