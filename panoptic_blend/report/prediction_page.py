"""The page of `report`: how good predictions are, what is wrong with them, and the pictures from worst to best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from panoptic_blend._version import __version__
from panoptic_blend.evaluation.details import Details, DetailsResult
from panoptic_blend.evaluation.numbers import category_names
from panoptic_blend.evaluation.scored_files import ScoredFiles, count
from panoptic_blend.files.atomic import atomic_folder
from panoptic_blend.processes import in_processes
from panoptic_blend.report.error_map import COLORS, ERRORS
from panoptic_blend.report.page import Markup, element, gallery, section, write_page
from panoptic_blend.report.prediction_pictures import PICTURES, Shown, draw_row
from panoptic_blend.report.prediction_tables import (
    calibration_section,
    classes_section,
    confusion_section,
    headline_section,
    sizes_section,
    thing_errors_section,
)
from panoptic_blend.report.resampling import CONFIDENCE, DRAWS, Resampled, interval, resample


@dataclass(frozen=True)
class Scored:
    """Predictions, scored.

    Attributes:
        files: truth and predictions.
        details: what all metrics say.
        resampled: how far panoptic quality depends on the images.
    """

    files: ScoredFiles
    details: DetailsResult
    resampled: Resampled


def score(files: ScoredFiles, boundary: bool, workers: int, progress: Callable[[int, int], None]) -> Scored:
    """Score all images.

    Args:
        boundary: count boundary PQ, too.
        workers: processes.
        progress: called with (images done, images in all).

    Raises:
        DatasetError: files do not hold together.
    """
    categories = files.truth.categories
    details = count(Details(categories, boundary), files, workers, progress)
    per_image = {
        name.removeprefix("per_image."): values
        for name, values in details.state().items()
        if name.startswith("per_image.")
    }
    return Scored(files, details.compute(), resample(per_image, categories))


def write_prediction_page(
    output: Path,
    scored: Scored,
    images: Path,
    most_pictures: int,
    workers: int,
    progress: Callable[[int, int], None],
) -> None:
    """Write `output/index.html` and its folder of pictures: whole, or not at all.

    Args:
        output: a folder that is missing or empty.
        images: folder of the images.
        most_pictures: shown in all: of more, the worse half, and every so many of the others.
        workers: processes.
        progress: called with the number of pictures drawn, and of all.

    Raises:
        ConfigError: the output folder has something in it already.
        DatasetError: files changed since they were scored.
    """
    categories = scored.files.truth.categories
    with atomic_folder(output) as folder:
        (folder / PICTURES).mkdir()
        qualities = scored.details.per_image.images
        # A picture without segments has no quality: nothing is wrong there.
        ranked = sorted(range(len(qualities)), key=lambda i: (qualities[i].n == 0, qualities[i].pq))
        shown = [
            Shown(position, [qualities[position]], folder / PICTURES / f"{number:06d}")
            for number, position in enumerate(choose(ranked, most_pictures))
        ]
        rows = []
        work = partial(draw_row, [""], [scored.files], images, categories)
        for number, row in enumerate(in_processes(work, shown, workers), start=1):
            rows.append(row)
            progress(number, len(shown))
        names = category_names(categories)
        data = {
            "filters": [
                {"name": "Error", "options": [*ERRORS, "none"]},
                {"name": "Errors of", "options": [names[category.id] for category in categories]},
            ],
            "categories": [{"name": names[c.id], "color": f"rgb{c.color}"} for c in categories],
            "pictures": rows,
        }
        write_page(folder, f"Predictions: {scored.files.predictions.path.parent.name}", _body(scored, len(rows)), data)


def choose(ranked: Sequence[int], most: int) -> list[int]:
    """At most so many of the images, which are ranked from worst to best: the worse half, then evenly spread ones."""
    if len(ranked) <= most:
        return list(ranked)
    half = (most + 1) // 2
    worst, rest = ranked[:half], ranked[half:]
    room = most - len(worst)
    return [*worst, *(rest[(2 * place + 1) * len(rest) // (2 * room)] for place in range(room))]


def _body(scored: Scored, pictures: int) -> list[Markup]:
    details, resampled, categories = scored.details, scored.resampled, scored.files.truth.categories
    return [
        _verdict(scored),
        headline_section(details, resampled),
        classes_section(details, resampled, categories),
        sizes_section(details),
        thing_errors_section(details, categories),
        confusion_section(details, categories),
        calibration_section(details),
        gallery(_gallery_note(pictures, len(scored.files.truth)), _legend()),
        _made_from(scored),
    ]


def _verdict(scored: Scored) -> Markup:
    images = len(scored.files.truth)
    low, high = interval(scored.resampled.groups[:, 0, 0])
    sure = ""
    if images > 1:
        sure = f", and for other images like these between {100 * low:.1f} and {100 * high:.1f} ({CONFIDENCE} % sure)"
    quality = element("strong", f"PQ is {100 * scored.details.pq.all.pq:.1f}")
    how_many = "1 image" if images == 1 else f"{images:,} images"
    return element("p", quality, f" on {how_many}{sure}.", class_="verdict")


def _gallery_note(pictures: int, images: int) -> Markup:
    which = "" if pictures == images else f" {pictures:,} of {images:,} are here: the worse half, then every so many."
    text = (
        f"From the worst panoptic quality of an image to the best.{which} Press one to see it large, with its segments."
    )
    return element("p", text, class_="note")


def _legend() -> Markup:
    items = [
        element("li", element("span", class_="swatch", style=f"background: rgb{color}"), name)
        for name, color in zip(ERRORS, COLORS, strict=True)
    ]
    return element("ul", *items, class_="legend", aria_label="Colours of errors")


def _made_from(scored: Scored) -> Markup:
    files = scored.files
    lines = [
        f"Truth: {files.truth.path}",
        f"Predictions: {files.predictions.path}",
        f"Intervals: {DRAWS:,} draws of as many images, with replacement. With few images they are too narrow, and "
        "neighbouring frames of a film count as if they were independent.",
        *(f"Note: {note}." for note in (*scored.details.pq.notes, *scored.details.notes)),
        f"panoptic-blend {__version__}",
    ]
    return section("Made from", element("ul", *(element("li", line) for line in lines)))
