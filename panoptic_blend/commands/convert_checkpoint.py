"""Another project's weights as one of our models."""

from __future__ import annotations

from pathlib import Path

from panoptic_blend.commands.parsing import Parser, command, file_to_write, parse


def make_parser() -> Parser:
    """Options of `panoptic-blend convert-checkpoint`."""
    parser = command(
        "convert-checkpoint",
        "Turn a BlendMask checkpoint of AdelaiDet into a model of this program that computes the same.",
        "panoptic-blend convert-checkpoint --from adelaidet SRC.pth --output model.safetensors [options]",
    )
    parser.add_argument("source", metavar="SRC", type=Path, help="AdelaiDet's .pth file; code in it is never run")
    parser.add_argument("--from", dest="kind", choices=["adelaidet"], required=True, help="who wrote the file")
    parser.add_argument(
        "--output", metavar="FILE", type=file_to_write, required=True, help="the .safetensors file to write"
    )
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
    return parser


def run(arguments: list[str]) -> None:
    """`panoptic-blend convert-checkpoint`."""
    parser = make_parser()
    options = parse(parser, arguments)
    from rich.console import Console

    from panoptic_blend.checkpoints.convert import convert_adelaidet

    conversion = convert_adelaidet(options.source, options.output, options.config, options.categories)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for note in conversion.notes:
        console.print(note)
    console.print(f"Every tensor has found its place; the model is in {options.output}")
