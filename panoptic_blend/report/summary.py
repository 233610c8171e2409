"""What a check of a data set found, for machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from panoptic_blend.report.dataset_facts import SplitFacts
from panoptic_blend.report.findings import Finding


def as_json(splits: Sequence[SplitFacts], findings: Sequence[Finding]) -> dict[str, Any]:
    """`{"faults": N, "splits": [...], "findings": [...]}`; a finding's `image` is null when it is about the split."""
    return {
        "faults": sum(finding.kind == "fault" for finding in findings),
        "splits": [_split(split) for split in splits],
        "findings": [
            {
                "kind": finding.kind,
                "split": splits[finding.split].name,
                "image": None if finding.image is None else splits[finding.split].file_name(finding.image),
                "category": None
                if finding.category is None
                else splits[finding.split].categories[finding.category].name,
                "text": finding.text,
            }
            for finding in findings
        ],
    }


def _split(split: SplitFacts) -> dict[str, Any]:
    counts = np.bincount(split.segments.category, minlength=len(split.categories)).tolist()
    return {
        "name": split.name,
        "annotations": str(split.files.annotations),
        "images": len(split.annotations),
        "segments": len(split.segments.id),
        "crowds": int(split.segments.crowd.sum()),
        "per_category": [
            {"id": category.id, "name": category.name, "isthing": int(category.is_thing), "segments": count}
            for category, count in zip(split.categories, counts, strict=True)
        ],
    }
