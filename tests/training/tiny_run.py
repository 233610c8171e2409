"""A training run of seconds; as a command (`python -m tests.training.tiny_run`), one to be signalled or launched."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from panoptic_blend.config import Config, DataConfig, OptimizerConfig, TrainerConfig
from panoptic_blend.errors import TrainingStopped
from panoptic_blend.training.resume import find_begun
from panoptic_blend.training.run import train
from tests.tiny import tiny_model_config


def tiny_config(
    data: Path,
    output: Path,
    *,
    max_steps: int = 6,
    devices: int = 1,
    num_nodes: int = 1,
    checkpoint_every: int = 1000,
) -> Config:
    """Everything on that has a state: warm-up, momentum, averaged weights, accumulation, augmentation, validation."""
    return Config(
        model=tiny_model_config(),
        data=DataConfig(
            root=str(data),
            shortest_edge=(48, 64),
            longest_edge=96,
            jitter=(0.7, 1.4),
            crop=(64, 64),
            color=0.3,
            repeat_threshold=1.0,
            workers=0,
        ),
        optimizer=OptimizerConfig(lr=0.02, warmup_steps=4, schedule="cosine", clip_norm=5.0),
        trainer=TrainerConfig(
            output=str(output),
            max_steps=max_steps,
            batch_size=4,
            accumulate=2,
            precision="fp32",
            accelerator="cpu",
            devices=devices,
            num_nodes=num_nodes,
            ema_decay=0.8,
            val_every=3,
            checkpoint_every=checkpoint_every,
            log_every=2,
        ),
    )


def main() -> int:
    """Train or resume as the arguments say; exit as the command line would."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--resume", type=Path)
    parser.add_argument("--max-steps", type=int, default=6)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--checkpoint-every", type=int, default=1000)
    parser.add_argument("--restartable", action="store_true")
    parser.add_argument("--skip-bad-samples", action="store_true")
    arguments = parser.parse_args()
    config = tiny_config(
        arguments.data,
        arguments.output,
        max_steps=arguments.max_steps,
        devices=arguments.devices,
        num_nodes=arguments.nodes,
        checkpoint_every=arguments.checkpoint_every,
    )
    if arguments.skip_bad_samples:
        config.data.on_bad_sample = "skip"
    try:
        train(config, find_begun(arguments.output) if arguments.restartable else arguments.resume)
    except TrainingStopped as stopped:
        sys.stderr.write(f"{stopped}\n")
        return stopped.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
