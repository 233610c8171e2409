"""Train and evaluate the variants of ablations under equal conditions, and write one table for each ablation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from torch import Tensor

from panoptic_blend.comparison.ablation import Ablation
from panoptic_blend.comparison.latency import measure_latency
from panoptic_blend.comparison.runs import finish, load_predictor, prepare, validation_set
from panoptic_blend.comparison.table import Row, markdown, write_csv, write_plot
from panoptic_blend.config import Config
from panoptic_blend.data.images import read_image
from panoptic_blend.errors import ConfigError, TrainingStopped
from panoptic_blend.files.atomic import atomic_path
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.inference.torch_model import TorchModel

TIMED_IMAGES = 10


def compare(ablations: Sequence[Ablation], seeds: int, output: Path, console: Console) -> list[Path]:
    """Fill in whatever is missing in `output`, then write the tables.

    Runs that are finished are not run again and one that was stopped goes on, so that the same call continues an
    interrupted comparison. The first seed of all variants comes before the second.

    Args:
        ablations: what to compare; all their variants should have the same data and schedule.
        seeds: runs of each variant, with seeds 0, 1, ...
        output: gets runs/ and, for each ablation, NAME.md, NAME.csv and NAME.png.
        console: where progress and tables go.

    Returns:
        The Markdown files.

    Raises:
        ConfigError: two ablations of one name, or variants for images of different bands.
        TrainingStopped: Ctrl-C or `kill` in a training; the same call goes on.
    """
    _check(ablations)
    jobs = [
        (ablation, variant, prepare(config, seed, output / "runs"))
        for seed in range(seeds)
        for ablation in ablations
        for variant, config in ablation.variants.items()
    ]
    for number, (ablation, variant, config) in enumerate(jobs, start=1):
        console.rule(escape(f"{number}/{len(jobs)}  {ablation.name}: {variant}, seed {config.trainer.seed}"))
        try:
            metrics = finish(config, console)
        except (TrainingStopped, KeyboardInterrupt, SystemExit):
            console.print("The same command again goes on with the comparison.")
            raise
        console.print(
            f"PQ {metrics['PQ']:.1f}  mask AP {metrics['mask_ap']['AP']:.1f}  {config.trainer.output}", markup=False
        )
    return [_report(ablation, seeds, output, console) for ablation in ablations]


def _report(ablation: Ablation, seeds: int, output: Path, console: Console) -> Path:
    runs = {
        variant: [prepare(config, seed, output / "runs") for seed in range(seeds)]
        for variant, config in ablation.variants.items()
    }
    predictors = {variant: load_predictor(configs[0]) for variant, configs in runs.items()}
    latency = measure_latency(predictors, _some_images(next(iter(runs.values()))[0]))
    rows = [
        Row(
            variant,
            _count_parameters(predictors[variant]),
            latency[variant],
            [Path(config.trainer.output).name for config in configs],
            [finish(config, console) for config in configs],
        )
        for variant, configs in runs.items()
    ]
    text = markdown(ablation.title, rows)
    table = output / f"{ablation.name}.md"
    with atomic_path(table) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
    write_csv(table.with_suffix(".csv"), rows)
    write_plot(table.with_suffix(".png"), ablation.title, rows)
    console.print(text, markup=False, highlight=False, soft_wrap=True)
    return table


def _count_parameters(predictor: Predictor) -> int:
    assert isinstance(predictor.engine, TorchModel)
    return sum(parameter.numel() for parameter in predictor.engine.model.parameters())


def _some_images(config: Config) -> list[Tensor]:
    judged = validation_set(config)
    names = [record.file_name for record in judged.annotations[:TIMED_IMAGES]]
    return [read_image(judged.images / name, config.model.input.channels) for name in names]


def _check(ablations: Sequence[Ablation]) -> None:
    """Raise `ConfigError` for what would fail after all the training."""
    names = [ablation.name for ablation in ablations]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"Two ablation files are named {twice}, as their tables would be. Rename one.")
    for ablation in ablations:
        bands = {config.model.input.channels for config in ablation.variants.values()}
        if len(bands) > 1:
            raise ConfigError(
                f"{ablation.name}: its variants have {min(bands)} and {max(bands)} model.input.channels, so that no "
                "image can time them all. Compare those of equal bands."
            )
