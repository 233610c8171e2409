"""Which rows of which tensors belong to a category, and how they get into a model that lists categories differently."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from panoptic_blend.categories import Categories, Category
from panoptic_blend.config import ModelConfig


@dataclass(frozen=True)
class ClassAxis:
    """An axis of a tensor along which there is a row for each thing, or for each stuff category.

    Attributes:
        name: regular expression for the tensor's whole name.
        axis: of the tensor.
        of_things: rows of things; else of stuff.
        before: rows that belong to no category and come first.
    """

    name: str
    axis: int
    of_things: bool
    before: int = 0

    def size(self, categories: Categories) -> int:
        """How many rows there are."""
        return self.before + len(categories.things if self.of_things else categories.stuff)

    def row(self, category: Category, categories: Categories) -> int:
        """A category's row."""
        return self.before + (categories.things if self.of_things else categories.stuff).index(category)


def class_axes(config: ModelConfig) -> list[ClassAxis]:
    """Every such axis of the model that a configuration describes."""
    axes = [
        ClassAxis(r"network\.head\.class_logits\.(weight|bias)", 0, of_things=True),
        ClassAxis(r"network\.auxiliary\.2\.(weight|bias)", 0, of_things=True, before=1),  # the background
        ClassAxis(r"network\.stuff_predictor\.(weight|bias)", 0, of_things=False, before=1),  # any thing
        ClassAxis(r"mask_head\.predictor\.(weight|bias)", 0, of_things=True),
    ]
    masks = config.masks
    if masks.head == "centermask_point" and masks.centermask_point.class_specific:
        axes.append(ClassAxis(r"network\.bases\.(predictor|tower\.\d+)\.(weight|bias)", 0, of_things=True))
        if config.bases.kind == "shared":  # the stuff predictor reads these maps after the trunk
            trunk = config.semantic.channels
            axes.append(ClassAxis(r"network\.stuff_predictor\.weight", 1, of_things=True, before=trunk))
    return axes


def has_class_rows(name: str, config: ModelConfig) -> bool:
    """Whether a tensor of this name has rows that belong to categories."""
    return any(re.fullmatch(each.name, name) for each in class_axes(config))


def match_categories(ours: Categories, theirs: Categories) -> list[tuple[Category, Category]]:
    """Pairs of one name that are both things or both stuff; where several share a name, those of one id."""

    def namesakes(category: Category, categories: Categories) -> list[Category]:
        return [c for c in categories if (c.name, c.is_thing) == (category.name, category.is_thing)]

    pairs = []
    for mine in ours:
        found = namesakes(mine, theirs)
        alone = len(found) == 1 and len(namesakes(mine, ours)) == 1
        pairs += [(mine, their) for their in found if alone or their.id == mine.id]
    return pairs


def rearrange_class_rows(
    own: Mapping[str, Tensor], theirs: Mapping[str, Tensor], config: ModelConfig, ours: Categories, listed: Categories
) -> dict[str, Tensor]:
    """Tensors of another model of ours, with the rows of its categories where this model has them.

    Args:
        own: this model's tensors; rows of categories that the other model lacks come from here.
        theirs: the other model's tensors; those that differ in more than their categories are returned as they are.
        config: of this model.
        ours: this model's categories.
        listed: the other model's categories.
    """
    axes, pairs = class_axes(config), match_categories(ours, listed)
    rearranged = dict(theirs)
    for name in own.keys() & theirs.keys():
        classes = {each.axis: each for each in axes if re.fullmatch(each.name, name)}
        expected = list(own[name].shape)
        for axis, each in classes.items():
            expected[axis] = each.size(listed)
        if not classes or list(theirs[name].shape) != expected:
            continue
        to, source = [], []
        for axis, size in enumerate(expected):
            mine, their = list(range(size)), list(range(size))
            if axis in classes:
                each = classes[axis]
                same = [pair for pair in pairs if pair[0].is_thing == each.of_things]
                mine = [*range(each.before), *(each.row(category, ours) for category, _ in same)]
                their = [*range(each.before), *(each.row(category, listed) for _, category in same)]
            to.append(torch.tensor(mine, dtype=torch.int64))
            source.append(torch.tensor(their, dtype=torch.int64))
        rearranged[name] = own[name].clone().to(theirs[name].dtype)
        rearranged[name][torch.meshgrid(to, indexing="ij")] = theirs[name][torch.meshgrid(source, indexing="ij")]
    return rearranged
