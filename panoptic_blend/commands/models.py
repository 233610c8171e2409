"""The models that have a name."""

from __future__ import annotations

from panoptic_blend.commands.parsing import Parser, add_offline, command, parse


def make_parser() -> Parser:
    """Options of `panoptic-blend models`."""
    parser = command(
        "models",
        "List the models and weights that `--checkpoint`, `--init-from` and pb.load take by name.",
        "panoptic-blend models [--download NAME]",
    )
    parser.add_argument(
        "--download", metavar="NAME", help="bring this one here now, for instance for a machine without a network"
    )
    add_offline(parser)
    return parser


def run(arguments: list[str]) -> None:
    """`panoptic-blend models`."""
    parser = make_parser()
    options = parse(parser, arguments)
    from rich.console import Console

    console = Console(soft_wrap=True, highlight=False, markup=False)
    if options.download:
        from panoptic_blend.checkpoints.names import find_checkpoint

        console.print(f"{options.download}: {find_checkpoint(options.download)}")
        return
    from panoptic_blend.catalogue.listing import list_models

    list_models(Console())
