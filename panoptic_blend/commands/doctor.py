"""What this installation and machine can do, to be pasted into a bug report."""

from __future__ import annotations

from collections.abc import Iterator

from panoptic_blend.commands.parsing import Parser, command, parse


def run(arguments: list[str]) -> None:
    """`panoptic-blend doctor`."""
    options = parse(make_parser(), arguments)
    from rich.console import Console

    console = Console(soft_wrap=True, highlight=False, markup=False)
    for line in _lines(not options.quick):
        console.print(line)


def make_parser() -> Parser:
    """Options of the command."""
    parser = command(
        "doctor",
        "Tell what is installed, what this machine can do, what 'auto' takes here and why, and how fast it is: plain "
        "text for a bug report, without names of people or secrets.",
    )
    parser.add_argument("--quick", action="store_true", help="without the speed check, which takes five seconds")
    return parser


def _lines(with_speed: bool) -> Iterator[str]:
    """Line by line, so that what was found is there when something further down fails."""
    from panoptic_blend.catalogue.cache import cache_folder, folder_bytes
    from panoptic_blend.doctor.installation import describe_extras, describe_installation, from_home
    from panoptic_blend.doctor.machine import describe_machine
    from panoptic_blend.runtime.processor import describe_fastest, processor_kind

    yield from describe_installation()
    yield from ("", *describe_machine(), describe_fastest(processor_kind()))
    try:
        import torch  # noqa: F401  # the first of what only a full installation has
    except ModuleNotFoundError:
        yield from ("", "torch is not installed: folders that `export` wrote can be run, and nothing else.")
    else:
        from panoptic_blend.doctor.choices import check_speed, describe_choices

        yield from ("", *describe_choices())
        if with_speed:
            yield from check_speed()
    yield from ("", "extras:", *(f"  {line}" for line in describe_extras()))
    folder = cache_folder()
    yield from ("", f"downloaded models: {folder_bytes(folder) / 1e6:,.0f} MB in {from_home(folder)}")
