"""A page to try models on, and its HTTP API."""

from __future__ import annotations

import argparse
import logging
import os
import warnings
from collections import Counter
from pathlib import Path

from panoptic_blend.commands.opening import open_predictor
from panoptic_blend.commands.parsing import (
    CHECKPOINT_OR_EXPORT,
    Parser,
    add_batch,
    add_offline,
    add_speed,
    command,
    one_or_more,
    parse_with_prediction_settings,
)
from panoptic_blend.errors import ConfigError

TOKEN_VARIABLE = "PANOPTIC_BLEND_TOKEN"
MEBIBYTE = 2**20


def make_parser() -> Parser:
    """Options of `panoptic-blend serve`."""
    parser = command(
        "serve",
        "Serve a page to try models on, and an HTTP API (docs/serving.md).",
        epilog="""\
examples:
  panoptic-blend serve --checkpoint runs/train
  panoptic-blend serve --checkpoint runs/first --checkpoint runs/second --port 9000
  curl --data-binary @street.jpg http://127.0.0.1:8000/predict
""",
    )
    parser.add_argument(
        "--checkpoint",
        metavar="PATH",
        type=Path,
        required=True,
        action="append",
        help=f"{CHECKPOINT_OR_EXPORT}; several times, to compare models",
    )
    add_offline(parser)
    parser.add_argument(
        "--device", default="auto", help="'auto' takes a GPU when there is one; or cpu, cuda, cuda:1 (default: auto)"
    )
    add_speed(parser, precision="auto")
    add_batch(parser)
    parser.add_argument(
        "--host",
        metavar="ADDRESS",
        default="127.0.0.1",
        help="where to listen; the default is reached from this machine only, 0.0.0.0 from everywhere",
    )
    parser.add_argument("--port", metavar="N", type=_port, default=8000, help="0 takes a free one (default: 8000)")
    parser.add_argument(
        "--token",
        metavar="TEXT",
        default=os.environ.get(TOKEN_VARIABLE),
        help=f"answer only those who send it; ${TOKEN_VARIABLE} keeps it out of the list of processes",
    )
    parser.add_argument(
        "--queue", metavar="N", type=one_or_more, default=16, help="requests that may wait; more get 429 (default: 16)"
    )
    parser.add_argument(
        "--max-mib", metavar="N", type=one_or_more, default=20, help="of a picture's file (default: 20)"
    )
    parser.add_argument(
        "--max-megapixels", metavar="N", type=one_or_more, default=25, help="of a picture (default: 25)"
    )
    return parser


def run(arguments: list[str]) -> None:
    """`panoptic-blend serve`."""
    parser = make_parser()
    options, settings = parse_with_prediction_settings(parser, arguments)
    _check_token(options.token)
    try:
        from panoptic_blend.serving.site import make_site
    except ModuleNotFoundError as missing:
        if missing.name not in ("fastapi", "uvicorn"):
            raise
        raise ConfigError("serve needs FastAPI and uvicorn: pip install 'panoptic-blend[web]'") from missing
    from rich.console import Console

    from panoptic_blend.serving.limits import Limits
    from panoptic_blend.serving.served_model import ServedModel
    from panoptic_blend.serving.server import LOOPBACK_NAMES, address, is_loopback, listen, serve
    from panoptic_blend.serving.service import Service

    warnings.filterwarnings("ignore", module="PIL")  # whoever sent a damaged picture is told
    console = Console(markup=False, highlight=False)
    listening = listen(options.host, options.port)  # before a model is loaded
    with listening:
        models = []
        for name, path in zip(_names(options.checkpoint), options.checkpoint, strict=True):
            one = argparse.Namespace(**{**vars(options), "checkpoint": path})
            models.append(ServedModel(name, open_predictor(one, settings, precision="auto")))
        limits = Limits(
            picture_bytes=options.max_mib * MEBIBYTE,
            picture_pixels=options.max_megapixels * 1_000_000,
            waiting=options.queue,
        )
        local = is_loopback(listening)
        if not local:
            logging.getLogger(__name__).warning(_warning(options.host, options.token is not None))
        hosts = LOOPBACK_NAMES | {options.host.lower()} if local else None
        site = make_site(Service(models, limits, options.batch), options.token, hosts)
        names = " and ".join(model.name for model in models)
        console.print(f"Serving {names} at {address(listening)} until Ctrl-C.", soft_wrap=True)
        serve(site, listening)
        console.print("Stopped.")


def _names(checkpoints: list[Path]) -> list[str]:
    """A short name for every model: that of its folder or file, numbered where there are several."""
    short = [path.resolve().stem if path.suffix == ".safetensors" else path.resolve().name for path in checkpoints]
    seen: Counter[str] = Counter()
    names = []
    for name in short:
        seen[name] += 1
        names.append(name if short.count(name) == 1 else f"{name} {seen[name]}")
    return names


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port, 0 to 65535")
    return int(text)


def _check_token(token: str | None) -> None:
    if token is not None and (not token or not token.isascii() or not token.isprintable() or " " in token):
        raise ConfigError("--token: must be ASCII letters, digits and signs without spaces; it goes into a header.")


def _warning(host: str, has_token: bool) -> str:
    said = f"--host {host}: everybody who reaches this machine can use the server"
    said += " who knows the token" if has_token else ", since there is no --token"
    return f"{said}; what they send and get is not encrypted. Put a proxy with TLS before it where that matters."
