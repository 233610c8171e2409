"""XML that nobody vouches for."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from panoptic_blend.errors import DatasetError


def read_xml(path: Path) -> Element:
    """The root of an XML file.

    A document type is refused, and with it every entity: a few lines of them can grow to gigabytes.

    Raises:
        DatasetError: the file is missing, not XML or declares a document type.
    """
    builder = TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data

    def refuse(*_: object) -> None:
        raise DatasetError(f"{path}: declares a document type (DOCTYPE), which annotations never need. Remove it.")

    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(path.read_bytes(), True)
        return builder.close()
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such file.") from None
    except (OSError, expat.ExpatError, LookupError, ValueError) as error:
        raise DatasetError(f"{path}: not valid XML ({error}). Export it again.") from error


def text_of(element: Element, name: str, default: str = "") -> str:
    """The text of a child, without spaces around it; `default` where there is no such child."""
    return (element.findtext(name) or default).strip()


def number(text: str | None, where: str) -> float:
    """A finite number written as text; `DatasetError` for anything else."""
    try:
        value = float(text or "")
    except ValueError:
        value = float("nan")
    if not abs(value) < float("inf"):
        raise DatasetError(f"{where} must be a number, found {text!r:.80}.")
    return value


def whole_number(text: str | None, where: str) -> int:
    """A whole number written as text; `DatasetError` for anything else."""
    try:
        return int(text or "")
    except ValueError:
        raise DatasetError(f"{where} must be a whole number, found {text!r:.80}.") from None
