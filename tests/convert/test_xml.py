from __future__ import annotations

from pathlib import Path

import pytest

from panoptic_blend.convert.xml import number, read_xml, text_of, whole_number
from panoptic_blend.errors import DatasetError

BOMB = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "ha">' + "".join(
    f'<!ENTITY b{n} "{f"&b{n - 1 if n else str()};" * 10}">' for n in range(12)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB + "]><a>&b11;</a>", "DOCTYPE"),
        ('<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hostname">]><a>&b;</a>', "DOCTYPE"),
        ('<!DOCTYPE a SYSTEM "a.dtd"><a/>', "DOCTYPE"),
        ("<a><b></a>", "not valid XML"),
        ("<a>&b;</a>", "not valid XML"),
        ("", "not valid XML"),
        ('<?xml version="1.0" encoding="nonsense"?><a/>', "not valid XML"),
    ],
)
def test_bombs_and_damage_are_refused(text: str, said: str, tmp_path: Path):
    path = tmp_path / "a.xml"
    path.write_text(text)
    with pytest.raises(DatasetError, match=f"a.xml: .*{said}"):
        read_xml(path)


def test_elements_attributes_and_text(tmp_path: Path):
    path = tmp_path / "a.xml"
    path.write_bytes('<?xml version="1.0" encoding="latin-1"?><a x="1"><b> Bär &amp; </b></a>'.encode("latin-1"))
    root = read_xml(path)
    assert (root.tag, root.get("x"), text_of(root, "b"), text_of(root, "c", "none")) == ("a", "1", "Bär &", "none")


def test_numbers():
    assert (number(" 1.5", "x"), whole_number("3", "x")) == (1.5, 3)
    for text in (None, "", "nan", "inf", "one"):
        with pytest.raises(DatasetError, match="x must be a number"):
            number(text, "x")
        with pytest.raises(DatasetError, match="x must be a whole number"):
            whole_number(text, "x")
