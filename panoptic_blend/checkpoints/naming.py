"""Our parameter names in another project's words, and what of its tensors fits a model of ours."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

Rules = Sequence[tuple[str, str]]
"""(regular expression for the whole of our name, the other project's name with its groups); the first match wins."""

COUNTER = "num_batches_tracked"
"""Batch norms count batches for a momentum setting nobody here uses, and frozen ones do not have the counter."""


@dataclass
class TensorMatch:
    """How another project's tensors fit a model.

    Attributes:
        fitting: tensors under our names, of our shapes.
        missing: their names for tensors of ours they lack (our names where they have none).
        surplus: their names that nothing of ours takes.
        misshaped: our name -> sentence with their name and both shapes.
    """

    fitting: dict[str, Tensor]
    missing: list[str]
    surplus: list[str]
    misshaped: dict[str, str]

    def complaints(self, most: int = 40) -> str:
        """What does not fit as one sentence, with at most so many names of a kind; empty when everything does."""
        parts = [
            f"{kind}: {_listed(names, most)}"
            for kind, names in (
                ("missing", self.missing),
                ("surplus", self.surplus),
                ("of another shape", list(self.misshaped.values())),
            )
            if names
        ]
        return "; ".join(parts)


def _listed(names: list[str], most: int) -> str:
    """More would be another network altogether, which the first ones show."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def translate(name: str, rules: Rules) -> str | None:
    """The other project's name for one of ours, or None."""
    for pattern, replacement in rules:
        match = re.fullmatch(pattern, name)
        if match:
            return match.expand(replacement)
    return None


def match_tensors(own: Mapping[str, Tensor], theirs: Mapping[str, Tensor], rules: Rules) -> TensorMatch:
    """Look up every tensor of a model among another project's; each of theirs serves at most once.

    Args:
        own: the model's state dict.
        theirs: tensors under the other project's names.
        rules: from our names to theirs.
    """
    result = TensorMatch({}, [], [], {})
    taken = set()
    for name, tensor in own.items():
        foreign = translate(name, rules)
        if foreign is None or foreign not in theirs:
            if not name.endswith(COUNTER):
                result.missing.append(foreign or name)
            continue
        taken.add(foreign)
        if theirs[foreign].shape == tensor.shape:
            result.fitting[name] = theirs[foreign]
        else:
            result.misshaped[name] = f"{foreign} {list(theirs[foreign].shape)} instead of {list(tensor.shape)}"
    result.surplus = [name for name in theirs if name not in taken and not name.endswith(COUNTER)]
    return result
