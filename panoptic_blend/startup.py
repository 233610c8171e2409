"""Imports torch and torchvision for predicting, which is most of what a prediction of one image would wait for."""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module
from types import ModuleType

from panoptic_blend.stop_signals import signals_wait

_COMPILER = "torch._dynamo.utils"


def start_torch() -> None:
    """Import torch and torchvision into a command of ours, before it imports what needs them, unless torch is there.

    It does without torch's compiler, see `import_torchvision`. What is imported stays, so that collecting garbage need
    not look at it: not meanwhile, later, nor at the end. That is a second of a short command's time. Not for other
    people's programs, whose own objects would stay as well.
    """
    if "torch" in sys.modules:
        return
    collecting = gc.isenabled()
    gc.disable()
    try:
        with signals_wait():  # torch's C++ ends the process where Python's Ctrl-C comes out of it
            import_torchvision()
    finally:
        gc.freeze()
        if collecting:
            gc.enable()


def share_cores() -> None:
    """Let torch's threads sleep while they wait for each other, in a command that trains; before torch is imported.

    OpenMP's threads otherwise spin. Where another program has one of the cores, they then keep the thread they wait
    for from running: steps take three times as long instead of less than twice. On idle cores it costs 2 % (see
    docs/speed.md). A person's own OMP_WAIT_POLICY stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def import_torchvision() -> None:
    """Import torchvision without torch's compiler, which follows when something is compiled: a second and 150 MiB.

    For commands of this program alone: other people's programs find torch as they know it.
    """
    # torchvision/ops/roi_align.py has in line 7 `from torch._dynamo.utils import is_compile_supported` (0.29.1), which
    # imports the whole compiler. It is called in line 280, where torchvision's own operation is missing or would not
    # repeat itself on a GPU. So it gets one here that imports the compiler when it is called.
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
