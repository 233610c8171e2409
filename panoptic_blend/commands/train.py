"""Train a model, or resume a run."""

from __future__ import annotations

from pathlib import Path

from panoptic_blend.commands.parsing import Parser, add_offline, command, parse_with_settings, refuse_settings
from panoptic_blend.errors import CheckpointError
from panoptic_blend.startup import share_cores


def make_parser() -> Parser:
    """Options of `panoptic-blend train`."""
    parser = command(
        "train",
        "Train a model on images with COCO panoptic annotations.",
        "panoptic-blend train --config FILE [--init-from WEIGHTS] [--section.setting VALUE ...]\n"
        "       panoptic-blend train --resume RUN [--section.setting VALUE ...]",
        """\
examples:
  panoptic-blend train --config configs/camvid/r18.yaml --data.root ~/camvid
  panoptic-blend train --config configs/camvid/r18.yaml --trainer.max_steps 2000 --trainer.output runs/short
  panoptic-blend train --resume runs/short
  panoptic-blend train --config configs/coco/panoptic_r50_3x.yaml --init-from imagenet-r50-caffe
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
    parser.add_argument("--resume", metavar="RUN", type=Path, help="continue the stopped run in this folder")
    parser.add_argument(
        "--init-from",
        metavar="WEIGHTS",
        type=Path,
        help="start from a model trained before, for these or other categories: a run or .safetensors file of this "
        "program, .pth or .pkl of AdelaiDet or detectron2, torchvision's ResNet or FCOS, or a name that "
        "`panoptic-blend models` lists; what does not fit is re-initialised",
    )
    parser.add_argument(
        "--restartable",
        action="store_true",
        help="go on from the state that trainer.output holds, if there is one: for launchers that give a command again "
        "when it failed (torchrun, SLURM, Kubernetes)",
    )
    add_offline(parser)
    parser.add_argument(
        "--on-bad-sample",
        choices=["raise", "skip"],
        help="stop at images that do not fit their annotations, or leave them out; short for --data.on_bad_sample",
    )
    return parser


def run(arguments: list[str]) -> None:
    """`panoptic-blend train`."""
    parser = make_parser()
    options, overrides = parse_with_settings(parser, arguments)
    share_cores()
    if options.on_bad_sample:
        overrides += ["--data.on_bad_sample", options.on_bad_sample]
    if options.restartable and options.resume is not None:
        parser.error("--resume continues a run each time it is given: leave --restartable out")
    if options.resume is not None and options.init_from is not None:
        parser.error("--init-from starts a new run, --resume continues a stopped one: give one of them")
    if options.resume is not None:
        refuse_settings(overrides, {"trainer.output": "a run that goes on stays in its folder. Leave it out."})
    files = options.config
    if options.resume is not None and not files:
        folder = options.resume if options.resume.is_dir() else options.resume.parent
        if not (folder / "config.yaml").is_file():
            if (folder / "last.ckpt").is_file():
                raise CheckpointError(
                    f"{folder / 'config.yaml'}: is missing. Give the run's settings by --config FILE."
                )
            raise CheckpointError(f"{options.resume}: no run lies here. Name the folder of a run that was stopped.")
        files = [folder / "config.yaml"]
    if not files:
        parser.error("give --config FILE to start a run, or --resume RUN to continue a stopped one")
    from panoptic_blend.config_files import read_config

    config = read_config(files, overrides)
    from panoptic_blend.training.resume import find_begun
    from panoptic_blend.training.run import train

    begun = find_begun(Path(config.trainer.output)) if options.restartable else None
    train(config, options.resume or begun, init_from=None if begun else options.init_from)
