import pytest

from panoptic_blend.errors import DatasetError
from panoptic_blend.files.names import check_file_name, comparison_key, segments_name

ELSEWHERE = [
    "../a.jpg",
    "a/../../b.jpg",
    "/etc/passwd",
    "C:/a.jpg",
    "c:a.jpg",
    "..\\a.jpg",
    "a\\..\\b",
    "\\\\host\\a",
    "..",
]
NOWHERE = [".", "a/", "a/.", "", "a\0b.jpg", "\ud800.jpg", None, 3, ["a.jpg"]]


@pytest.mark.parametrize("name", ELSEWHERE + NOWHERE)
def test_names_that_lead_elsewhere_or_nowhere_are_refused(name):
    with pytest.raises(DatasetError, match=r"^here: .*file_name"):
        check_file_name(name, "here")


def test_png_names():
    assert segments_name("a/b.c.jpg") == "a/b.c.png"
    assert segments_name("no_extension") == "no_extension.png"


def test_names_of_one_file_compare_equal():
    assert comparison_key("A/é.PNG") == comparison_key("a/e\u0301.png")
    assert comparison_key("a//b.png") == comparison_key("./a/b.png")
    assert comparison_key("a.png") != comparison_key("b.png")
