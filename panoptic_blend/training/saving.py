"""How a run's state gets to the disk."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO


class WrittenInPlace(TorchCheckpointIO):
    """Writes a state where it is asked to.

    Lightning's own writes into the folder for temporary files first: there it needs as much room again, and after a
    `kill -9` the file stays.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: object = None
    ) -> None:
        """Write a state to a file, which is replaced."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        Path(path).write_bytes(buffer.getbuffer())
