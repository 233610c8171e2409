"""What the person decides about a conversion: categories and splits."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from panoptic_blend.categories import Categories, Category
from panoptic_blend.convert.source import SourceCategory, SourceImage
from panoptic_blend.errors import ConfigError
from panoptic_blend.files.names import check_category_name
from panoptic_blend.spelling import did_you_mean


@dataclass(frozen=True)
class CategoryChoices:
    """Changes to a format's categories; names are the format's.

    Attributes:
        things: categories that are things, whatever the format says.
        stuff: categories that are stuff.
        renamed: old name -> new name; several old names of one new name become one category.
        dropped: categories whose pixels become void.
    """

    things: Sequence[str] = ()
    stuff: Sequence[str] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    dropped: Sequence[str] = ()


def choose_categories(
    found: Sequence[SourceCategory], choices: CategoryChoices
) -> tuple[Categories, dict[str, Category]]:
    """The categories of the result, and which of them each of the format's names means.

    Raises:
        ConfigError: a choice names a category that the format does not have, or things are merged with stuff.
        DatasetError: a name has half of a character.
    """
    names = [category.name for category in found]
    for option, chosen in (
        ("--things", choices.things),
        ("--stuff", choices.stuff),
        ("--rename or --merge", choices.renamed),
        ("--drop", choices.dropped),
    ):
        for name in chosen:
            if name not in names:
                known = did_you_mean(name, names, f"It has {', '.join(map(repr, names))}.")
                raise ConfigError(f"{option}: the data set has no category {name!r}.{known}")
    both = set(choices.things) & set(choices.stuff)
    if both:
        raise ConfigError(f"{min(both)!r} is in --things and in --stuff. A category is one of the two.")
    kept = [category for category in found if category.name not in choices.dropped]
    for category in kept:
        check_category_name(category.name)
    if not kept:
        raise ConfigError("No category is left. Drop fewer.")
    with_ids = len({category.id for category in kept}) == len(kept) and all(c.id is not None for c in kept)
    rows: dict[str, dict[str, object]] = {}
    for category in kept:
        new_name = choices.renamed.get(category.name, category.name)
        is_thing = category.name in choices.things or (category.is_thing and category.name not in choices.stuff)
        row = rows.setdefault(
            new_name,
            {
                "id": category.id if with_ids else len(rows) + 1,
                "name": new_name,
                "isthing": int(is_thing),
                "color": category.color,
            },
        )
        if row["isthing"] != int(is_thing):
            raise ConfigError(f"{new_name!r} would be made of things and stuff. Say which with --things or --stuff.")
    categories = Categories.from_json(list(rows.values()))
    by_name = {category.name: category for category in categories}
    return categories, {c.name: by_name[choices.renamed.get(c.name, c.name)] for c in kept}


def check_split_name(name: str) -> str:
    """The name itself; `ConfigError` where it could lead files out of their folder."""
    if not re.fullmatch(r"\w[\w. -]*", name):
        raise ConfigError(f"--name {name}: use letters, digits, '-', '_', '.' only.")
    return name


def assign_splits(
    images: Sequence[SourceImage], shares: Sequence[float], seed: int, group_by: str, name: str
) -> dict[str, list[int]]:
    """Positions of the images of every split, in their order.

    Args:
        images: of the source.
        shares: of train, val and, if there are three, test; empty keeps the format's own splits.
        seed: of the random order in which groups are dealt out.
        group_by: regular expression on an image's name; images of equal matches (of its first group, if it has one)
            stay together. "" takes the image's folder, and where there are not several every image by itself.
        name: of the split of images that have none.

    Raises:
        ConfigError: shares that do not add up to 1, an expression that is not valid or does not match an image, or a
            name that cannot be part of a file's name.
    """
    check_split_name(name)
    if not shares:
        splits: dict[str, list[int]] = {}
        for position, image in enumerate(images):
            splits.setdefault(image.split or name, []).append(position)
        return splits
    if not 2 <= len(shares) <= 3 or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
        raise ConfigError(f"--split {','.join(map(str, shares))}: give two or three shares above 0 that add up to 1.")
    groups: dict[str, list[int]] = {}
    for position, image in enumerate(images):
        groups.setdefault(_group(image.name, group_by), []).append(position)
    if len(groups) == 1 and not group_by:  # all lie in one folder
        groups = {image.name: [position] for position, image in enumerate(images)}
    if len(groups) < len(shares):
        raise ConfigError(
            f"--split: {len(groups)} groups of images cannot be dealt out to {len(shares)} splits. Give an expression "
            "that tells more apart as --group-by ('[^/]+$' takes every image by itself), or fewer shares."
        )
    order = sorted(groups)
    random.Random(seed).shuffle(order)
    dealt: list[list[int]] = [[] for _ in shares]
    for dealt_groups, group in enumerate(order):
        # To the split that lacks most of its share, but no split ends empty.
        lacking = [share - len(given) / len(images) for share, given in zip(shares, dealt, strict=True)]
        empty = [position for position, given in enumerate(dealt) if not given]
        takers = empty if len(empty) == len(order) - dealt_groups else range(len(shares))
        dealt[max(takers, key=lacking.__getitem__)] += groups[group]
    return {split: sorted(given) for split, given in zip(("train", "val", "test"), dealt, strict=False)}


def _group(name: str, pattern: str) -> str:
    if not pattern:
        folder, _, _ = name.rpartition("/")
        return folder or name
    try:
        match = re.search(pattern, name)
    except re.error as error:
        raise ConfigError(f"--group-by {pattern}: not a valid regular expression ({error}).") from error
    if match is None:
        raise ConfigError(f"--group-by {pattern}: does not match the image {name}.")
    return match.group(1) if match.re.groups else match.group()
