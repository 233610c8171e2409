"""What torch and the machine raise in a training run, as sentences with a remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from panoptic_blend.config import Config
from panoptic_blend.data.loading import killed_loaders_told
from panoptic_blend.errors import PanopticBlendError, ResourceError, TrainingError, out_of_memory
from panoptic_blend.files.room import NO_ROOM


@contextmanager
def failures_told(config: Config, kept: Callable[[], str]) -> Iterator[None]:
    """Say what can be done about an error in the block, and what of the run is saved.

    Args:
        config: settings of the run, for what to change.
        kept: tells what is saved, and ends every message.

    Raises:
        ResourceError: memory or the disk's room ran out, or a loader process was killed.
        TrainingError: batch norm met a single value per channel.
        PanopticBlendError: any other of ours that the block raised.
    """
    try:
        with _causes_told(config), killed_loaders_told():
            yield
    except PanopticBlendError as error:
        error.args = (f"{error} {kept()}",)
        raise


@contextmanager
def _causes_told(config: Config) -> Iterator[None]:
    trainer = config.trainer
    images = trainer.batch_size // (trainer.accumulate * trainer.devices * trainer.num_nodes)
    sizes = f"data.shortest_edge and data.longest_edge{' or data.crop' if config.data.crop else ''}"
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise ResourceError(
            f"memory ran out: a forward pass has {_count(images)}, and trainer.batch_size is {trainer.batch_size}. "
            f"Raise trainer.accumulate (now {trainer.accumulate}) to split a batch into smaller passes, or lower "
            f"trainer.batch_size, {sizes}."
        ) from error
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        name = error.filename2 or error.filename or "results"
        raise ResourceError(f"{name}: cannot be written ({error.strerror}). Make room on its disk.") from error
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise TrainingError(
            f"batch norm met a single value per channel: a forward pass has {_count(images)}, too small for the "
            "backbone. Put more images into a pass (raise trainer.batch_size or lower trainer.accumulate), or raise "
            f"{sizes}."
        ) from error


def _count(images: int) -> str:
    return "1 image" if images == 1 else f"{images} images"
