"""The command line. A command imports what it needs when it runs: `--help` and `score` never load torch."""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from panoptic_blend._version import __version__
from panoptic_blend.errors import ConfigError, DatasetError, PanopticBlendError, TrainingStopped
from panoptic_blend.spelling import check_options, did_you_mean

FAILURE, USAGE_ERROR, INTERRUPTED = 1, 2, 130
DEMO_CONFIG = "shapes/demo.yaml"
DEFAULT_OVERLAYS = 16
"""Images that `evaluate --overlays` draws when it is given no number."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: what follows the program's name; by default this process's own.

    Returns:
        The exit code: 0; 1 for something that went wrong and is said on stderr; 2 for an unknown or wrong option or
        setting; 130 after Ctrl-C.
    """
    logging.basicConfig(format="%(message)s")
    logging.getLogger("panoptic_blend").setLevel(logging.INFO)
    try:
        return _run(list(sys.argv[1:] if arguments is None else arguments))
    except TrainingStopped as stopped:
        _complain(str(stopped))
        return stopped.exit_code
    except PanopticBlendError as error:
        _complain(str(error))
        return USAGE_ERROR if isinstance(error, ConfigError) else FAILURE
    except KeyboardInterrupt:
        _complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has left; nothing may be flushed to it when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILURE


def _run(arguments: list[str]) -> int:
    try:
        if arguments and arguments[0] in _COMMANDS:
            _COMMANDS[arguments[0]](arguments[1:])
        else:
            _describe_program(arguments)
        code = 0
    except SystemExit as done:  # argparse, after --help and --version
        code = int(done.code or 0)
    sys.stdout.flush()
    return code


def _describe_program(arguments: list[str]) -> None:
    """Without a command: --help, --version, or a complaint."""
    parser = _command("", "Panoptic segmentation by BlendMask: things and stuff in one map.", epilog=_OVERVIEW)
    parser.usage = "panoptic-blend COMMAND [options]"
    parser.add_argument("--version", action="version", version=f"panoptic-blend {__version__}")
    _, rest = parser.parse_known_args(arguments)
    if rest:
        known = [*_COMMANDS, "--help", "--version"]
        raise ConfigError(f"{rest[0]!r} is not a command of panoptic-blend.{did_you_mean(rest[0], known)}")
    parser.print_help()


_OVERVIEW = """\
commands:
  demo        make a small data set, train on it, evaluate, and look: a few minutes on a laptop
  train       train a model on your images and their COCO panoptic annotations
  evaluate    predict annotated images and score the predictions
  predict     predict images without annotations
  score       score predictions that are already on disk
  compare     train and evaluate variants of a model under equal conditions: one table
  explain     draw what happens inside the model on one picture
  convert-checkpoint
              turn weights of AdelaiDet's BlendMask into a model of this program

panoptic-blend COMMAND --help tells more about each.
"""


def _train(arguments: list[str]) -> None:
    parser = _command(
        "train",
        "Train a model on images with COCO panoptic annotations.",
        "panoptic-blend train --config FILE [--init-from WEIGHTS] [--section.setting VALUE ...]\n"
        "       panoptic-blend train --resume RUN [--section.setting VALUE ...]",
        """\
examples:
  panoptic-blend train --config configs/camvid/r18.yaml --data.root ~/camvid
  panoptic-blend train --config configs/camvid/r18.yaml --trainer.max_steps 2000 --trainer.output runs/short
  panoptic-blend train --resume runs/short
  panoptic-blend train --config configs/coco/panoptic_r50_3x.yaml --init-from R-50.pkl
""",
    )
    parser.add_argument(
        "--config",
        action="append",
        default=[],
        metavar="FILE",
        help="YAML file with any of the settings below, or the name of one that comes with the package; may be given "
        "more than once, the later ones win",
    )
    parser.add_argument("--resume", metavar="RUN", type=Path, help="folder of a run that was stopped, to go on with it")
    parser.add_argument(
        "--init-from",
        metavar="WEIGHTS",
        type=Path,
        help="start from a model trained before, for these or other categories: a run or .safetensors file of this "
        "program, .pth or .pkl of AdelaiDet or detectron2, torchvision's ResNet or FCOS; what does not fit starts anew",
    )
    parser.add_argument(
        "--on-bad-sample",
        choices=["raise", "skip"],
        help="stop at images that do not fit their annotations, or leave them out; short for --data.on_bad_sample",
    )
    options, overrides = _parse_with_settings(parser, arguments)
    if options.on_bad_sample:
        overrides += ["--data.on_bad_sample", options.on_bad_sample]
    if options.resume is not None and options.init_from is not None:
        parser.error("--init-from starts a run, and --resume goes on with one: give one of them")
    files = options.config
    if options.resume is not None and not files:
        files = [(options.resume if options.resume.is_dir() else options.resume.parent) / "config.yaml"]
    if not files:
        parser.error("give --config FILE to start a run, or --resume RUN to go on with one")
    from panoptic_blend.config_files import read_config

    config = read_config(files, overrides)
    from panoptic_blend.training.run import train

    train(config, options.resume, init_from=options.init_from)


def _evaluate(arguments: list[str]) -> None:
    parser = _command(
        "evaluate", "Predict annotated images, write the predictions, and score them (PQ, mask AP, mIoU)."
    )
    _add_checkpoint(parser)
    parser.add_argument("--images", metavar="DIR", type=Path, required=True, help="folder of the images")
    parser.add_argument("--annotations", metavar="JSON", type=Path, required=True, help="their COCO panoptic JSON")
    _add_segments(parser, "--segments", "annotations")
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        required=True,
        help="gets predictions.json, predictions/*.png and metrics.json",
    )
    parser.add_argument(
        "--overlays",
        metavar="N",
        type=int,
        nargs="?",
        const=DEFAULT_OVERLAYS,
        default=0,
        help=f"draw the first N images (by default {DEFAULT_OVERLAYS}) beside prediction and truth, into overlays/",
    )
    options = _parse(parser, arguments)
    from rich.console import Console

    from panoptic_blend.coco.annotations import PanopticAnnotations

    _require_folder(options.images)
    annotations = PanopticAnnotations.load(options.annotations)  # before torch: a wrong path is told at once
    from panoptic_blend.checkpoints.native import load_model
    from panoptic_blend.inference.evaluate import evaluate
    from panoptic_blend.inference.predictor import Predictor

    predictor = Predictor(load_model(options.checkpoint), options.device)
    console = Console()
    evaluate(predictor, annotations, options.images, options.output, console, options.segments, options.overlays)
    console.print(f"Predictions and metrics are in {options.output}", soft_wrap=True, highlight=False)


def _predict(arguments: list[str]) -> None:
    parser = _command(
        "predict",
        "Predict images into COCO panoptic files; no annotations needed.",
        epilog="""\
examples:
  panoptic-blend predict --checkpoint runs/train --input street.jpg --output out --overlays
  panoptic-blend predict --checkpoint runs/train --input 'photos/**/*.jpg' more_photos --output out
  panoptic-blend predict --checkpoint runs/train --input test2017 --annotations image_info_test-dev2017.json \\
      --coco-submission BlendMask --output out
""",
    )
    _add_checkpoint(parser)
    parser.add_argument(
        "--input",
        metavar="IMAGE",
        nargs="+",
        required=True,
        help="images, folders (with all below them), or patterns in quotes",
    )
    parser.add_argument(
        "--output", metavar="DIR", type=Path, required=True, help="gets predictions.json and predictions/*.png"
    )
    parser.add_argument("--overlays", action="store_true", help="also draw every prediction over its image")
    parser.add_argument(
        "--annotations",
        metavar="JSON",
        type=Path,
        help="a COCO JSON that lists the images to predict in the input folder, and their ids",
    )
    parser.add_argument(
        "--coco-submission",
        metavar="NAME",
        help="also zip the results under this name, as COCO's server takes them; needs --annotations",
    )
    options = _parse(parser, arguments)
    if options.coco_submission and not options.annotations:
        parser.error("--coco-submission needs the image ids: give --annotations image_info_....json")
    from rich.console import Console

    from panoptic_blend.checkpoints.native import load_model
    from panoptic_blend.coco.annotations import PanopticAnnotations
    from panoptic_blend.coco.predictions import write_submission
    from panoptic_blend.data.dataset import EvaluationDataset
    from panoptic_blend.inference.export import check_same_meaning, export_predictions, submission_split
    from panoptic_blend.inference.predictor import Predictor
    from panoptic_blend.inference.sources import ImageFiles, Samples, find_images

    source: Samples
    if options.annotations:
        if len(options.input) != 1:
            parser.error("with --annotations, --input is the one folder its images lie in")
        _require_folder(Path(options.input[0]))
        annotations = PanopticAnnotations.load(options.annotations)
        source = EvaluationDataset(annotations, Path(options.input[0]), segments=None)
    else:
        source = ImageFiles(find_images(options.input, leave_out=options.output))
    model = load_model(options.checkpoint)
    if options.annotations:
        check_same_meaning(model.categories, annotations)
    predictor = Predictor(model, options.device)
    console = Console()
    result = export_predictions(predictor, source, options.output, console, options.overlays)
    console.print(f"Predicted {result.written} of {len(source)} images into {options.output}", highlight=False)
    if result.unreadable:
        shown = "".join(f"\n  {reason}" for reason in result.unreadable)
        raise DatasetError(f"{len(result.unreadable)} of {len(source)} images were left out:{shown}")
    if options.coco_submission:
        split = submission_split(options.annotations)
        path = write_submission(options.output, split, options.coco_submission)
        console.print(f"To be handed in: {path}", soft_wrap=True, highlight=False)


def _score(arguments: list[str]) -> None:
    parser = _command("score", "Score predictions on disk against the truth: panoptic quality (PQ, SQ, RQ).")
    parser.add_argument("--ground-truth", metavar="JSON", type=Path, required=True, help="COCO panoptic JSON")
    parser.add_argument("--predictions", metavar="JSON", type=Path, required=True, help="COCO panoptic JSON")
    _add_segments(parser, "--segments", "ground truth")
    _add_segments(parser, "--predicted-segments", "predictions")
    parser.add_argument("--output", metavar="FILE", type=Path, help="write the metrics to this JSON file")
    parser.add_argument(
        "--engine",
        choices=["builtin", "panopticapi"],
        default="builtin",
        help="'panopticapi' lets the official implementation count, when it is installed (default: builtin)",
    )
    parser.add_argument("--workers", metavar="N", type=int, help="processes (default: one per core)")
    options = _parse(parser, arguments)
    from rich.console import Console
    from rich.progress import Progress

    from panoptic_blend.evaluation.pq import panoptic_quality
    from panoptic_blend.evaluation.report import print_tables, write_metrics

    terminal = Console(stderr=True)
    with Progress(console=terminal, transient=True, disable=not terminal.is_terminal) as bar:
        task = bar.add_task("scoring", total=None)
        result = panoptic_quality(
            options.ground_truth,
            options.predictions,
            segments=options.segments,
            predicted_segments=options.predicted_segments,
            workers=options.workers,
            engine=options.engine,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if options.output:
        write_metrics(options.output, result)
    print_tables(Console(), result)


def _demo(arguments: list[str]) -> None:
    parser = _command(
        "demo",
        "Draw a small data set, train a small model on it, evaluate and export it, and show where everything lies.",
        "panoptic-blend demo [--output DIR] [--section.setting VALUE ...]",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        default=Path("runs/demo"),
        help="new folder for it all (default: runs/demo; DIR-2 and so on when it is there already)",
    )
    parser.add_argument(
        "--config", metavar="FILE", default=DEMO_CONFIG, help=f"another configuration (default: {DEMO_CONFIG})"
    )
    parser.add_argument(
        "--train-images", metavar="N", type=int, default=400, help="pictures to train on (default: 400)"
    )
    parser.add_argument("--val-images", metavar="N", type=int, default=60, help="held-out pictures (default: 60)")
    options, overrides = _parse_with_settings(parser, arguments)
    from rich.console import Console

    from panoptic_blend.config_files import read_config

    config = read_config([options.config], overrides)
    from panoptic_blend.inference.demo import run_demo

    run_demo(config, options.output, Console(), options.train_images, options.val_images)


def _convert_checkpoint(arguments: list[str]) -> None:
    parser = _command(
        "convert-checkpoint",
        "Turn a BlendMask checkpoint of AdelaiDet into a model of this program that computes the same.",
        "panoptic-blend convert-checkpoint --from adelaidet SRC.pth --output model.safetensors [options]",
    )
    parser.add_argument("source", metavar="SRC", type=Path, help="its .pth file; nothing in it is run")
    parser.add_argument("--from", dest="kind", choices=["adelaidet"], required=True, help="who wrote the file")
    parser.add_argument("--output", metavar="FILE", type=Path, required=True, help="the .safetensors file to write")
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        help="its YAML, whose _BASE_ files are read too (default: all is inferred from the tensors, or as published)",
    )
    parser.add_argument(
        "--categories",
        metavar="JSON",
        type=Path,
        help="COCO panoptic JSON of the data it was trained on (default: COCO's own, when the numbers fit)",
    )
    options = _parse(parser, arguments)
    from rich.console import Console

    from panoptic_blend.checkpoints.convert import convert_adelaidet

    conversion = convert_adelaidet(options.source, options.output, options.config, options.categories)
    console = Console(soft_wrap=True, highlight=False)
    for note in conversion.notes:
        console.print(note)
    console.print(f"Every tensor has found its place; the model is in {options.output}")


def _compare(arguments: list[str]) -> None:
    parser = _command(
        "compare",
        "Train and evaluate variants of a model with the same data, schedule and seeds: one table an ablation.",
        "panoptic-blend compare FILE ... [--data.root DIR] [--seeds N] [--steps N] [--section.setting VALUE ...]",
        """\
examples:
  panoptic-blend compare configs/ablations/mask_heads.yaml --data.root data/shapes --seeds 3
  panoptic-blend compare configs/ablations/*.yaml --base configs/camvid/r18.yaml --data.root ~/camvid --steps 1000

The same command again goes on where it was stopped; finished variants are not run again.
""",
    )
    parser.add_argument(
        "ablations",
        metavar="FILE",
        nargs="+",
        help="YAML file with a title, a base configuration and, by name, the settings each variant changes in it",
    )
    parser.add_argument("--base", metavar="FILE", help="configuration to use instead of the files' base")
    parser.add_argument("--seeds", metavar="N", type=int, default=1, help="runs of each variant (default: 1)")
    parser.add_argument("--steps", metavar="N", type=int, help="short for --trainer.max_steps")
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        default=Path("runs/compare"),
        help="gets NAME.md, NAME.csv and NAME.png for each ablation, and runs/ (default: runs/compare)",
    )
    # A setting's value, written apart from it, must not be taken for a file.
    options, overrides = _parse_with_settings(parser, _join_settings(arguments))
    if options.seeds < 1:
        parser.error("--seeds must be 1 or more")
    if options.steps is not None:
        overrides.append(f"--trainer.max_steps={options.steps}")
    from panoptic_blend.comparison.ablation import read_ablation

    ablations = [read_ablation(file, options.base, overrides) for file in options.ablations]
    from rich.console import Console

    from panoptic_blend.comparison.compare import compare

    console = Console()
    compare(ablations, options.seeds, options.output, console)
    console.print(f"Tables, plots and runs are in {options.output}", soft_wrap=True, highlight=False)


def _explain(arguments: list[str]) -> None:
    parser = _command(
        "explain",
        "Draw what happens inside the model on one picture: bases, attention, masks, and what the merge decided.",
    )
    _add_checkpoint(parser)
    parser.add_argument("--input", metavar="IMAGE", type=Path, required=True, help="the picture")
    parser.add_argument("--output", metavar="DIR", type=Path, required=True, help="gets NAME_explained.png")
    parser.add_argument(
        "--instances", metavar="N", type=int, default=3, help="instances to follow from bases to mask (default: 3)"
    )
    options = _parse(parser, arguments)
    from rich.console import Console

    from panoptic_blend.checkpoints.native import load_model
    from panoptic_blend.coco.atomic import atomic_path
    from panoptic_blend.inference.explain import explain
    from panoptic_blend.inference.explain_picture import draw_explanation
    from panoptic_blend.inference.predictor import Predictor

    model = load_model(options.checkpoint)
    merge = model.config.merge
    explanation = explain(Predictor(model, options.device), options.input, options.instances)
    figure = draw_explanation(explanation, model.categories, merge.min_score, merge.min_stuff_area)
    path = options.output / f"{options.input.stem}_explained.png"
    with atomic_path(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=120)
    Console().print(f"Drawn: {path}", soft_wrap=True, highlight=False, markup=False)


_COMMANDS = {
    "demo": _demo,
    "train": _train,
    "evaluate": _evaluate,
    "predict": _predict,
    "score": _score,
    "compare": _compare,
    "explain": _explain,
    "convert-checkpoint": _convert_checkpoint,
}


def _complain(text: str) -> None:
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True).print(Text(text, style="bold red"), soft_wrap=True)


class _Parser(argparse.ArgumentParser):
    """argparse that raises our errors instead of leaving the process."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}. Try {self.prog} --help")


def _command(name: str, description: str, usage: str | None = None, epilog: str | None = None) -> _Parser:
    return _Parser(
        prog=f"panoptic-blend {name}".strip(),
        description=description,
        usage=usage,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def _add_checkpoint(parser: _Parser) -> None:
    parser.add_argument(
        "--checkpoint", metavar="PATH", type=Path, required=True, help="a run's folder, or a .safetensors file"
    )
    parser.add_argument(
        "--device", default="auto", help="'auto' takes a GPU when there is one; or cpu, cuda, cuda:1 (default: auto)"
    )


def _add_segments(parser: _Parser, option: str, owner: str) -> None:
    parser.add_argument(
        option, metavar="DIR", type=Path, help=f"folder of the id-map PNGs of the {owner} (default: beside the JSON)"
    )


def _parse(parser: _Parser, arguments: list[str]) -> argparse.Namespace:
    """All arguments must be the parser's; a misspelt one is answered with the nearest."""
    check_options(arguments, _option_names(parser))
    return parser.parse_args(arguments)


def _parse_with_settings(parser: _Parser, arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The parser's own options, and dotted settings with their values."""
    from panoptic_blend.config_files import setting_names, settings_help

    check_options(arguments, [*_option_names(parser), *(f"--{name}" for name in setting_names())])
    if {"--help", "-h"} & set(arguments):
        parser.epilog = f"{parser.epilog or ''}\nsettings, in a configuration file or here:\n\n{settings_help()}"
    return parser.parse_known_args(arguments)


def _join_settings(arguments: list[str]) -> list[str]:
    """`--section.setting VALUE` as one word `--section.setting=VALUE`."""
    joined: list[str] = []
    for word in arguments:
        if joined and re.fullmatch(r"--\w+\.[\w.]+", joined[-1]):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def _option_names(parser: _Parser) -> list[str]:
    return re.findall(r"--[a-z][a-z-]+", parser.format_help())


def _require_folder(path: Path) -> None:
    if not path.is_dir():
        raise DatasetError(f"{path}: no such folder.")
