"""The page of `report`: how good predictions are, what is wrong with them, and the pictures from worst to best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from panoptic_blend._version import __version__
from panoptic_blend.evaluation.numbers import category_names
from panoptic_blend.evaluation.per_image import ImagePQ
from panoptic_blend.files.atomic import atomic_folder
from panoptic_blend.processes import in_processes
from panoptic_blend.report.calibration_section import calibration_section
from panoptic_blend.report.error_map import COLORS, ERRORS
from panoptic_blend.report.page import Markup, element, gallery, section, write_page
from panoptic_blend.report.prediction_comparison import classes_comparison_section, overall_section, verdicts
from panoptic_blend.report.prediction_pictures import PICTURES, Shown, draw_row
from panoptic_blend.report.prediction_scores import Scored
from panoptic_blend.report.prediction_tables import (
    between,
    classes_section,
    confusion_section,
    headline_section,
    percent,
    sizes_section,
    thing_errors_section,
)
from panoptic_blend.report.resampling import CONFIDENCE, DRAWS
from panoptic_blend.report.sweep_section import sweep_section


def write_prediction_page(
    output: Path,
    scored: Sequence[Scored],
    images: Path,
    most_pictures: int,
    workers: int,
    progress: Callable[[int, int], None],
) -> None:
    """Write `output/index.html` and its folder of pictures: whole, or not at all.

    Args:
        output: a folder that is missing or empty.
        scored: predictions for the same truth; the others are held against the first.
        images: folder of the images.
        most_pictures: shown in all; `choose` says which.
        workers: processes.
        progress: called with the number of pictures drawn, and of all.

    Raises:
        ConfigError: the output folder has something in it already.
        DatasetError: files changed since they were scored.
    """
    truth = scored[0].files.truth
    categories = truth.categories
    qualities = list(zip(*(each.details.per_image.images for each in scored), strict=True))
    with atomic_folder(output) as folder:
        (folder / PICTURES).mkdir()
        shown = [
            Shown(position, qualities[position], folder / PICTURES / f"{number:06d}")
            for number, position in enumerate(choose(*_rank(qualities), most_pictures))
        ]
        rows = []
        work = partial(draw_row, [each.name for each in scored], [each.files for each in scored], images, categories)
        for number, row in enumerate(in_processes(work, shown, workers), start=1):
            rows.append(row)
            progress(number, len(shown))
        names = category_names(categories)
        pairs = [(scored[0].name, other.name) for other in scored[1:]]
        data = {
            "filters": [
                {"name": "Error", "options": [*ERRORS, "none"]},
                {"name": "Errors of", "options": [names[category.id] for category in categories]},
                *(
                    {"name": f"{first} or {other}", "options": [f"{other} is better", "even", f"{first} is better"]}
                    for first, other in pairs
                ),
            ],
            "orders": [
                "worst first",
                *(order for first, other in pairs for order in (f"{other} gains most", f"{other} loses most")),
            ],
            "categories": [{"name": names[c.id], "color": f"rgb{c.color}"} for c in categories],
            "pictures": rows,
        }
        title = "Predictions" if pairs else f"Predictions: {scored[0].files.predictions.path.parent.name}"
        write_page(folder, title, _body(scored, len(rows)), data)


def _rank(qualities: Sequence[Sequence[ImagePQ]]) -> tuple[list[int], list[int]]:
    """Positions of images from the worst to the best, and those whose quality differs, most of all first."""
    means = [sum(quality.worth for quality in each) for each in qualities]
    changes = [max(q.worth for q in each) - min(q.worth for q in each) for each in qualities]
    ranked = sorted(range(len(qualities)), key=means.__getitem__)
    return ranked, sorted((i for i in ranked if changes[i] > 0), key=lambda i: -changes[i])


def choose(ranked: Sequence[int], flipped: Sequence[int], most: int) -> list[int]:
    """At most so many of the images, from worst to best.

    Args:
        ranked: all images, from worst to best.
        flipped: those whose quality differs between predictions, most of all first; empty with one prediction.
        most: of more images, a half are those that differ most, then the worse half of what is left, then evenly spread
            ones.
    """
    if len(ranked) <= most:
        return list(ranked)
    chosen = set(flipped[: most // 2])
    others = [image for image in ranked if image not in chosen]
    room = most - len(chosen)
    half = (room + 1) // 2
    rest = others[half:]
    chosen |= set(others[:half])
    chosen |= {rest[(2 * place + 1) * len(rest) // (2 * (room - half))] for place in range(room - half)}
    return [image for image in ranked if image in chosen]


def _body(scored: Sequence[Scored], pictures: int) -> list[Markup]:
    categories = scored[0].files.truth.categories
    end = [gallery(_gallery_note(pictures, scored), _legend()), _made_from(scored)]
    if len(scored) == 1:
        return [_verdict(scored[0]), *_sections(scored[0]), *end]
    one_by_one = [
        element("details", element("summary", f"{each.name} in detail: {_path(each)}"), *_sections(each))
        for each in scored
    ]
    return [
        *verdicts(scored),
        overall_section(scored),
        classes_comparison_section(scored, categories),
        section("One by one", *one_by_one),
        *end,
    ]


def _sections(scored: Scored) -> list[Markup]:
    details, resampled, categories = scored.details, scored.resampled, scored.files.truth.categories
    return [
        headline_section(details, resampled),
        classes_section(details, resampled, categories),
        sizes_section(details),
        thing_errors_section(details, categories),
        confusion_section(details, categories),
        calibration_section(details, categories),
        *([sweep_section(scored.sweep, 100 * details.pq.all.pq)] if scored.sweep else []),
    ]


def _verdict(scored: Scored) -> Markup:
    images = len(scored.files.truth)
    sure = ""
    if images > 1:
        interval = between(scored.resampled.groups[:, 0, 0])
        sure = f", on other images like these probably {interval} ({CONFIDENCE} % sure)"
    quality = element("strong", f"PQ is {percent(scored.details.pq.all.pq)}")
    how_many = "1 image" if images == 1 else f"{images:,} images"
    return element("p", quality, f" on {how_many}{sure}.", class_="verdict")


def _path(scored: Scored) -> Path:
    return scored.files.predictions.path


def _gallery_note(pictures: int, scored: Sequence[Scored]) -> Markup:
    images = len(scored[0].files.truth)
    which = ""
    if pictures < images:
        differ = "those that differ most, " if len(scored) > 1 else ""
        which = f" {pictures:,} of {images:,} are here: {differ}the worst, and every so many of the others."
    press = "Press one to see it large, with its segments."
    return element("p", f"From the worst panoptic quality of an image to the best.{which} {press}", class_="note")


def _legend() -> Markup:
    items = [
        element("li", element("span", class_="swatch", style=f"background: rgb{color}"), name)
        for name, color in zip(ERRORS, COLORS, strict=True)
    ]
    return element("ul", *items, class_="legend", aria_label="Colours of errors")


def _made_from(scored: Sequence[Scored]) -> Markup:
    lines = [f"Truth: {scored[0].files.truth.path}"]
    for each in scored:
        lines.append(f"Predictions {each.name}".rstrip() + f": {_path(each)}")
        notes = (*each.details.pq.notes, *each.details.notes)
        lines += [f"Note on {each.name or 'them'}: {note}." for note in notes]
    lines += [
        f"Intervals: {DRAWS:,} draws of as many images, with replacement. With few images they are too narrow, and "
        "neighbouring frames of a film count as if they were independent.",
        f"panoptic-blend {__version__}",
    ]
    return section("Made from", element("ul", *(element("li", line) for line in lines)))
