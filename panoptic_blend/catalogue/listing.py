"""The table of known models, for people."""

from __future__ import annotations

from itertools import groupby
from urllib.parse import urlsplit

from rich import box
from rich.console import Console
from rich.table import Table

from panoptic_blend.catalogue.cache import HOME, cache_folder, folder_bytes
from panoptic_blend.catalogue.fetching import model_folder
from panoptic_blend.catalogue.models import INSTANCES_ONLY, MODELS, Kind, KnownModel

_USES: dict[Kind, str] = {
    "model": "complete models, for --checkpoint, --init-from and pb.load",
    "start": "weights to start a training from, for --init-from",
}


def list_models(console: Console, models: tuple[KnownModel, ...] = MODELS) -> None:
    """Print every known model: what it is, its score, size, licence, where it comes from, and whether it is here."""
    for (maker, kind, licence), group in groupby(models, lambda each: (each.maker, each.kind, each.licence)):
        rows = list(group)
        source = urlsplit(rows[0].url).netloc or "the package"
        title = f"{maker}: {_USES[kind]}\nlicence: {licence}; from {source}"
        table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        table.add_column("name", no_wrap=True)
        table.add_column("what it is")
        table.add_column("score")
        table.add_column("params", justify="right")
        table.add_column("on disk", justify="right")
        for model in rows:
            size = f"{model.parameters:.1f} M" if model.parameters is not None else "?"
            table.add_row(model.name, model.about, _score(model), size, _on_disk(model))
        console.print(table)
    console.print(f"BlendMask for instances: {INSTANCES_ONLY[0].lower()}{INSTANCES_ONLY[1:]}", highlight=False)
    console.print(f"Kept in {cache_folder()} ({HOME}).", highlight=False, markup=False, soft_wrap=True)


def _score(model: KnownModel) -> str:
    return f"{model.score} on COCO" if model.score and model.url else model.score


def _on_disk(model: KnownModel) -> str:
    size = model.file.stat().st_size if model.file is not None else folder_bytes(model_folder(model))
    if not size:
        return "-"
    begun = any(model_folder(model).glob("*.part"))
    return f"{size / 1e6:,.1f} MB{' so far' if begun else ''}"
