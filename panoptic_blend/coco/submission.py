"""Results in a zip as COCO's evaluation server takes them."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

from panoptic_blend.coco.predictions import FOLDER
from panoptic_blend.errors import DatasetError
from panoptic_blend.files.atomic import atomic_path


def submission_name(split: str, name: str) -> str:
    """What COCO's evaluation server calls results: `panoptic_{split}_{name}_results` (cocodataset.org, upload).

    Raises:
        DatasetError: a split or name with other characters than letters, digits, -, _, .
    """
    for what, text in (("split", split), ("name", name)):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", text):
            raise DatasetError(f"submission {what} {text!r}: use letters, digits, '-', '_' and '.' only.")
    return f"panoptic_{split}_{name}_results"


def write_submission(output: Path, split: str, name: str) -> Path:
    """Zip what `PredictionWriter` left in `output` the way COCO's evaluation server takes it.

    The zip holds `{submission_name}.json` and a folder of PNGs `{submission_name}/`.

    Args:
        split: for instance "test-dev2017".
        name: of the algorithm.

    Returns:
        Path of `output/{submission_name}.zip`.

    Raises:
        DatasetError: no predictions in `output`, or what `submission_name` raises.
    """
    stem = submission_name(split, name)
    predictions = output / f"{FOLDER}.json"
    if not predictions.is_file():
        raise DatasetError(f"{predictions}: no such file. Predict into {output} first.")
    rows = json.loads(predictions.read_text(encoding="utf-8"))
    path = output / f"{stem}.zip"
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        archive.writestr(
            f"{stem}.json", json.dumps({"annotations": rows["annotations"]}), compress_type=zipfile.ZIP_DEFLATED
        )
        for row in rows["annotations"]:
            # PNGs are compressed already.
            archive.write(output / FOLDER / row["file_name"], f"{stem}/{row['file_name']}")
    return path
