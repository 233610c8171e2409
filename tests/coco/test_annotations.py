import copy
import json
import pickle
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from panoptic_blend.coco.annotations import ImageRecord, PanopticAnnotations, SegmentRecord
from panoptic_blend.coco.id_maps import read_segments
from panoptic_blend.coco.segments_png import write_id_map
from panoptic_blend.errors import DatasetError

from .panoptic_files import categories, small_id_map, small_json, write_json, write_small

SEGMENTS = [
    SegmentRecord(1, 3, True, 4, (0, 0, 1, 4)),
    SegmentRecord(70000, 90, False, 8, (1, 0, 2, 4)),
    SegmentRecord(5, 7, False, 4, (3, 0, 1, 4)),
]


def test_records_come_in_the_order_of_images(tmp_path):
    annotations = PanopticAnnotations.load(write_small(tmp_path))
    assert list(annotations) == [
        ImageRecord(11, "a.jpg", 6, 4, "a.png", SEGMENTS),
        ImageRecord(12, "folder/ü b.jpg", 6, 4, "folder/ü b.png", SEGMENTS),
    ]
    assert annotations.categories == categories()
    assert annotations[-1] == annotations[1]
    assert annotations[:1] == [annotations[0]]
    with pytest.raises(IndexError):
        annotations[2]
    for record in annotations:
        id_map = read_segments(record, annotations.default_segments_folder, annotations.categories, annotations.path)
        np.testing.assert_array_equal(id_map, small_id_map())
    assert list(pickle.loads(pickle.dumps(annotations))) == list(annotations)


@pytest.mark.parametrize("positions", [[0], [1], [1, 0], range(1, 2)])
def test_some_images_are_annotations_of_their_own(positions, tmp_path):
    data = small_json()
    data["images"][1] |= {"video_id": "film", "frame_id": 3}
    annotations = PanopticAnnotations.load(write_json(tmp_path / "a.json", data))
    part = annotations.only(positions)
    assert list(part) == [annotations[position] for position in positions]
    assert (part.path, part.categories, part.has_segments) == (annotations.path, annotations.categories, True)


def test_some_images_without_annotations_are_sent_as_they_are(tmp_path):
    data = small_json()
    del data["annotations"]
    annotations = PanopticAnnotations.load(write_json(tmp_path / "a.json", data))
    assert list(pickle.loads(pickle.dumps(annotations.only([1])))) == [annotations[1]]


def test_optional_fields_and_text_ids(tmp_path):
    data = small_json()
    data["images"][0]["id"] = data["annotations"][1]["image_id"] = "aachen_000000"
    for field in ("area", "bbox", "iscrowd"):
        del data["annotations"][1]["segments_info"][0][field]
    record = PanopticAnnotations.load(write_json(tmp_path / "a.json", data))[0]
    assert record.image_id == "aachen_000000"
    assert record.segments[0] == SegmentRecord(1, 3, False, -1, (0, 0, 0, 0))


def test_a_whole_area_may_be_written_with_a_point(tmp_path):
    data = small_json()
    segment(data)["area"] = 3.0
    assert PanopticAnnotations.load(write_json(tmp_path / "a.json", data))[0].segments[0].area == 3


def test_byte_order_mark_is_no_obstacle(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(small_json()), encoding="utf-8-sig")
    assert len(PanopticAnnotations.load(path)) == 2


def test_image_info_lists_images_only(tmp_path):
    data = small_json()
    del data["annotations"]
    for category in data["categories"]:
        del category["isthing"]
    annotations = PanopticAnnotations.load(write_json(tmp_path / "image_info.json", data))
    assert not annotations.has_segments
    assert annotations[1] == ImageRecord(12, "folder/ü b.jpg", 6, 4, "", [])
    assert len(annotations.categories) == 3
    with pytest.raises(DatasetError, match="image 12 has no annotation"):
        read_segments(annotations[1], tmp_path, annotations.categories, annotations.path)
    del data["categories"]
    annotations = PanopticAnnotations.load(write_json(tmp_path / "image_info.json", data))
    assert annotations[0].file_name == "a.jpg"
    with pytest.raises(DatasetError, match=r"image_info\.json: has no 'categories'"):
        annotations.categories  # noqa: B018


def segment(data):
    return data["annotations"][1]["segments_info"][0]


def put(target, field, value):
    target[field] = value


FAULTS_OF_THE_FILE = [
    (lambda d: put(d["categories"][0], "id", 7), r"category ids \[7\] appear more than once"),
    (lambda d: d["categories"][1].pop("isthing"), "category 90 .'sky'. has no 'isthing'"),
    (lambda d: d.pop("categories"), "'categories' must be a list"),
    (lambda d: d.pop("images"), "'images' must be a list"),
    (lambda d: put(d, "annotations", {}), "'annotations' must be a list"),
]
FAULTS_OF_ONE_IMAGE = [  # with the images that remain
    (lambda d: put(d["images"][1], "id", 11), "image id 11 appears more than once", []),
    (lambda d: put(d["annotations"][0], "image_id", 11), "image 11 has more than one annotation", []),
    (lambda d: d["annotations"].append(d["annotations"][1]), "image 11 has more than one annotation", [12]),
    (lambda d: put(segment(d), "id", 5), r"image 11: segment ids \[5\] appear more than once", [12]),
    (lambda d: put(segment(d), "category_id", 4), "image 11: segment 1 has category_id 4, which 'categories'", [12]),
    (lambda d: put(segment(d), "category_id", True), "category_id True", [12]),
    (lambda d: put(d["annotations"][0], "image_id", 99), "image 99 is not in 'images'", [11]),
    (
        lambda d: d["annotations"].append({"image_id": 99, "file_name": "x.png", "segments_info": []}),
        r"annotations\[2\]: image 99 is not in 'images'",
        [11, 12],
    ),
    (
        lambda d: put(d["annotations"][0], "image_id", "12"),
        "image_id is the text '12', but 'images' has the number 12 as the image's id",
        [11],
    ),
    (
        lambda d: put(d["images"][1], "id", "0012"),
        "image_id is the number 12, but 'images' has the text '0012' as the image's id",
        [11],
    ),
    (lambda d: d["annotations"].pop(0), r"no annotation for image 12 \(folder/ü b.jpg\)", [11]),
    (lambda d: d["annotations"].clear(), r"no annotation for image 11 \(a.jpg\)", []),
    (lambda d: d["annotations"][0].pop("segments_info"), "instances file", [11]),
    (lambda d: put(d["images"], 0, 3), r"images\[0\] must be an object", [12]),
    (lambda d: put(d["annotations"], 0, None), r"annotations\[0\] must be an object", [11]),
    (lambda d: put(d["annotations"][1]["segments_info"], 0, []), "image 11: a segment must be an object", [12]),
    (lambda d: put(d["images"][0], "id", 1.0), "'id' must be an integer or a text, found 1.0", [12]),
    (lambda d: put(d["images"][0], "id", True), "'id' must be an integer or a text, found True", [12]),
    (lambda d: put(d["images"][0], "width", 0), "'width' must be a positive integer, found 0", [12]),
    (lambda d: put(d["images"][0], "height", 4.0), "'height' must be a positive integer, found 4.0", [12]),
    (lambda d: put(d["annotations"][0], "image_id", None), "'image_id' must be", [11]),
    (lambda d: put(segment(d), "iscrowd", 2), "segment 1: 'iscrowd' must be 0 or 1", [12]),
    (lambda d: put(segment(d), "iscrowd", None), "segment 1: 'iscrowd' must be 0 or 1", [12]),
    (lambda d: put(segment(d), "area", None), "segment 1: 'area' must be", [12]),
    (lambda d: put(segment(d), "area", 2.5), "segment 1: 'area' must be", [12]),
    (lambda d: put(segment(d), "area", -1), "segment 1: 'area' must be", [12]),
    (lambda d: put(segment(d), "area", 25), "segment 1 has area 25, but the image is 6 x 4", [12]),
    (lambda d: put(segment(d), "bbox", [0, 0, 1]), "segment 1: 'bbox' must be", [12]),
    (lambda d: put(segment(d), "bbox", [0, 0, float("nan"), 1]), "segment 1: 'bbox' must be", [12]),
    (lambda d: put(d["images"][0], "file_name", "../a.jpg"), "leaves its folder", [12]),
    (
        lambda d: put(d["annotations"][1], "file_name", "/a.png"),
        "image 11: annotation: file_name '/a.png' leaves",
        [12],
    ),
    *(
        (lambda d, i=i: put(segment(d), "id", i), r"a segment 'id' must be an integer in 1\.\.16777215", [12])
        for i in (0, -1, 256**3, True, 1.0, None, "1")
    ),
]


def test_each_fault_has_its_own_sentence(tmp_path):
    """One fault at a time in an otherwise good file."""
    faults = FAULTS_OF_THE_FILE + [fault[:2] for fault in FAULTS_OF_ONE_IMAGE]
    for number, (spoil, message) in enumerate(faults):
        data = small_json()
        spoil(data)
        path = write_json(tmp_path / f"{number}.json", data)
        with pytest.raises(DatasetError, match=f"{number}\\.json: .*{message}"):
            PanopticAnnotations.load(path)


def test_a_fault_of_one_image_leaves_out_that_image_and_no_other(tmp_path):
    path = tmp_path / "a.json"
    whole = {record.image_id: record for record in PanopticAnnotations.load(write_json(path, small_json()))}
    for spoil, message, remaining in FAULTS_OF_ONE_IMAGE:
        data = small_json()
        spoil(data)
        annotations = PanopticAnnotations.load(write_json(path, data), "skip")
        assert list(annotations) == [whole[image_id] for image_id in remaining], message
        assert re.search(f"a\\.json: .*{message}", annotations.left_out[0].reason)
        names = [sample.file_name for sample in annotations.left_out]
        assert len(names) == len(set(names))
        assert not {whole[image_id].file_name for image_id in remaining} & set(names)


def test_a_fault_of_the_whole_file_cannot_be_left_out(tmp_path):
    for spoil, message in FAULTS_OF_THE_FILE:
        data = small_json()
        spoil(data)
        with pytest.raises(DatasetError, match=message):
            PanopticAnnotations.load(write_json(tmp_path / "a.json", data), "skip")


@pytest.mark.parametrize("text", ["", "{", "[1]", "3", "null", '"x"', "[" * 100_000, '{"a": ' + "9" * 5000 + "}"])
def test_files_that_are_no_panoptic_json(text, tmp_path):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(DatasetError, match=r"a\.json: (not valid JSON|holds a)"):
        PanopticAnnotations.load(path)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(DatasetError, match="no such file"):
        PanopticAnnotations.load(tmp_path / "a.json")
    with pytest.raises(DatasetError, match=r"is a folder\. Give a COCO panoptic JSON, a file"):
        PanopticAnnotations.load(tmp_path)


def _renamed(folder, **names):
    """Predictions of the small data set whose images have these names."""
    data = small_json()
    for image in data["images"]:
        image["file_name"] = names[f"of_{image['id']}"]
    return write_json(folder / "predictions.json", data)


def test_predictions_of_other_pictures_are_told(tmp_path, caplog):
    truth = PanopticAnnotations.load(write_small(tmp_path))

    def load(first, second):
        return PanopticAnnotations.load_predictions(_renamed(tmp_path, of_11=first, of_12=second), truth)

    with pytest.raises(
        DatasetError, match=r"image 11 is ü b.png, but .* has ü b.png as image 12, and a.jpg as image 11"
    ):
        load("ü b.png", "elsewhere/a.jpg")
    for names in (("a.png", "ü b.jpg"), ("a.jpg", "new name.jpg"), (3, None)):
        assert len(load(*names)) == 2
    assert not caplog.records
    load("c.jpg", "d.jpg")
    assert "has other file names than" in caplog.text
    (tmp_path / "b.json").write_bytes(b"\xff\xfe\x80")
    with pytest.raises(DatasetError, match=r"b\.json: cannot be read as UTF-8"):
        PanopticAnnotations.load(tmp_path / "b.json")


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.integers(-2, 8)
    | st.floats()
    | st.text(st.characters(), max_size=5)
    | st.sampled_from(["../a.jpg", "a.png", "\ud800", "a\0b", "{}", "C:/a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


def places(node, path=()):
    """Paths of every value inside a decoded JSON."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from places(child, (*path, key))


PLACES = list(places(small_json()))


@given(st.lists(st.tuples(st.sampled_from(PLACES), st.just("drop") | ANYTHING), min_size=1, max_size=3))
@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_malformed_json_is_never_anything_but_a_dataset_error(tmp_path, changes):
    data = small_json()
    for path, value in changes:
        node = data
        try:
            for key in path[:-1]:
                node = node[key]
            if value == "drop":
                del node[path[-1]]
            else:
                node[path[-1]] = copy.deepcopy(value)
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change removed this place
    file = write_json(tmp_path / "fuzzed.json", data)
    try:
        records = list(PanopticAnnotations.load(file))
    except DatasetError as refused:
        records, message = None, str(refused)
    # What is accepted can be used: every record is there, and predictions of it can be written as text.
    assert len(records) == len(data["images"]) if records is not None else str(file) in message
    try:
        annotations = PanopticAnnotations.load(file, "skip")
    except DatasetError:
        assert records is None  # a fault of the whole file
    else:
        # Left out for a reason, or all there and the same. NaN aside, records can be compared by their text.
        assert bool(annotations.left_out) == (records is None)
        assert repr(list(annotations)) == repr(records) or records is None
        assert all(str(file) in sample.reason for sample in annotations.left_out)


def fault_in_png(tmp_path, id_map):
    path = write_small(tmp_path)
    annotations = PanopticAnnotations.load(path)
    write_id_map(tmp_path / "panoptic" / "a.png", np.asarray(id_map, np.int32))
    with pytest.raises(DatasetError) as refused:
        read_segments(annotations[0], annotations.default_segments_folder, annotations.categories, path)
    return str(refused.value).replace(str(tmp_path) + "/", "")


def test_a_segment_without_pixels(tmp_path):
    id_map = small_id_map()
    id_map[id_map == 5] = 0
    assert fault_in_png(tmp_path, id_map) == (
        "panoptic.json: image 11: segment 5 (category 'person') has no pixels in panoptic/a.png. "
        "Remove it from segments_info or repaint the PNG."
    )


def test_pixels_without_a_segment(tmp_path):
    id_map = small_id_map()
    id_map[1:3, 5] = 9
    assert fault_in_png(tmp_path, id_map) == (
        "panoptic.json: image 11: panoptic/a.png has 2 pixels of id 9, which segments_info does not list. "
        "List it, or paint those pixels 0 (void)."
    )


def test_swapped_channels_are_recognised(tmp_path):
    swapped = small_id_map()
    for segment_id in (1, 70000, 5):  # 70000 = 112 + 256 * 17 + 65536
        red, green, blue = segment_id & 255, segment_id >> 8 & 255, segment_id >> 16
        swapped[small_id_map() == segment_id] = blue + 256 * green + 65536 * red
    assert fault_in_png(tmp_path, swapped) == (
        "panoptic.json: image 11: the colour channels of panoptic/a.png look swapped: with red and blue exchanged, its "
        "ids are those of segments_info. Write id = R + 256 G + 65536 B in the order R, G, B; OpenCV writes B, G, R."
    )
    swapped[0, 0] = 9  # one id more, that neither order explains
    assert "segment 1 (category 'car') has no pixels" in fault_in_png(tmp_path, swapped)


def test_a_png_of_another_size(tmp_path):
    assert fault_in_png(tmp_path, small_id_map().T) == (
        "panoptic.json: image 11 is 6 x 4, but panoptic/a.png is 4 x 6. Save the id map at the size the JSON gives."
    )


def test_a_segment_of_area_zero(tmp_path):
    data = small_json()
    write_small(tmp_path)
    segment(data)["area"] = 0
    annotations = PanopticAnnotations.load(write_json(tmp_path / "panoptic.json", data))
    with pytest.raises(DatasetError, match=r"segment 1 \(category 'car'\) has area 0"):
        read_segments(annotations[0], tmp_path / "panoptic", annotations.categories, annotations.path)


def test_a_png_that_is_missing_or_of_another_mode(tmp_path):
    path = write_small(tmp_path)
    annotations = PanopticAnnotations.load(path)
    Image.new("L", (6, 4)).save(tmp_path / "panoptic" / "a.png")
    (tmp_path / "panoptic" / "folder" / "ü b.png").unlink()
    for record, message in zip(annotations, (r"a\.png: is 8-bit grayscale", r"ü b\.png: no such file"), strict=True):
        with pytest.raises(DatasetError, match=message):
            read_segments(record, tmp_path / "panoptic", annotations.categories, path)


def test_real_files_hold_together(shared):
    for name, images in (("camvid_panoptic", 101), ("coco_sample", 2)):
        root = shared / "datasets" / name
        annotations = PanopticAnnotations.load(root / "annotations" / "panoptic_val.json")
        assert len(annotations) == images
        for record in annotations[:5]:
            id_map = read_segments(record, root / "panoptic_val", annotations.categories, annotations.path)
            for one in record.segments:
                assert (id_map == one.id).sum() == one.area
