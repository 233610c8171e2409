"""What the API answers with, as its OpenAPI schema describes it."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

from PIL import Image
from pydantic import BaseModel, Field

from panoptic_blend.categories import Categories
from panoptic_blend.coco.segments_png import ids_to_rgb
from panoptic_blend.config import MergeConfig
from panoptic_blend.inference.prediction import describe_segments
from panoptic_blend.inference.visualize import segment_colors
from panoptic_blend.structures import IdMap, PanopticMap

if TYPE_CHECKING:
    from panoptic_blend.serving.explaining import Followed


class Thresholds(BaseModel):
    """Of the merge."""

    min_score: float = Field(description="Instances below are left out.")
    max_overlap: float = Field(description="An instance is left out when more of it than this share is taken already.")
    min_stuff_area: int = Field(description="Stuff with fewer pixels than this becomes void.")


class CategoryRow(BaseModel):
    """A category of a model."""

    id: int
    name: str
    isthing: int = Field(description="1: every object is a segment; 0: stuff, one segment.")
    color: str = Field(description="#rrggbb")


class ModelRow(BaseModel):
    """A model that this server runs."""

    name: str = Field(description="What `model` takes.")
    thresholds: Thresholds = Field(description="Those it uses where a request says nothing.")
    categories: list[CategoryRow]
    explains: bool = Field(description="Whether `/explain` can follow its objects.")


class SegmentRow(BaseModel):
    """A segment of a map, as in COCO panoptic's `segments_info`."""

    id: int = Field(description="Of its pixels in the PNG: R + 256 G + 65536 B.")
    category_id: int
    category: str
    isthing: int
    area: int = Field(description="Pixels.")
    score: float = Field(description="Of a thing, 0 to 1; 1 for stuff.")
    color: str = Field(description="#rrggbb, a proposal to draw it in.")


class Answer(BaseModel):
    """The panoptic map of a picture."""

    model: str
    width: int
    height: int
    thresholds: Thresholds
    segments_info: list[SegmentRow]
    png: str = Field(description="The map: a COCO panoptic PNG of the picture's size, in base64. 0 is void.")
    id: str | None = Field(description="Of the picture as it is kept here, for `/merge` and `/explain`.")


class Explanation(BaseModel):
    """How the mask of one object came about. Pictures are PNGs in base64: red speaks for the object, blue against."""

    category: str
    score: float
    box: tuple[float, float, float, float] = Field(description="XYXY in pixels of the picture.")
    bases: list[str] = Field(description="K maps that the network draws over the whole picture.")
    regions: list[str] = Field(description="The bases inside the box.")
    attention: list[str] = Field(description="How much the object listens to each basis, and where.")
    products: list[str] = Field(description="Of these two.")
    mask: str = Field(description="Sum of the products: where it is red the object is.")


def describe_followed(followed: Followed, categories: Categories) -> Explanation:
    """An object's way through the blender as JSON."""
    return Explanation(
        category=categories.by_id(followed.category_id).name,
        score=round(followed.score, 6),
        box=followed.box,
        bases=[_in_base64(encode_png(each)) for each in followed.bases],
        regions=[_in_base64(encode_png(each)) for each in followed.regions],
        attention=[_in_base64(encode_png(each)) for each in followed.attention],
        products=[_in_base64(encode_png(each)) for each in followed.products],
        mask=_in_base64(encode_png(followed.mask)),
    )


def answer(model: str, found: PanopticMap, categories: Categories, thresholds: MergeConfig, key: str | None) -> Answer:
    """A prediction as JSON."""
    colors = segment_colors(found.segments, categories)
    rows = [
        SegmentRow(**row, color=hex_color(colors[row["id"]])) for row in describe_segments(found.segments, categories)
    ]
    height, width = found.id_map.shape
    return Answer(
        model=model,
        width=width,
        height=height,
        thresholds=describe_thresholds(thresholds),
        segments_info=rows,
        png=_in_base64(encode_map(found.id_map)),
        id=key,
    )


def describe_thresholds(thresholds: MergeConfig) -> Thresholds:
    """Thresholds as JSON."""
    return Thresholds(
        min_score=thresholds.min_score, max_overlap=thresholds.max_overlap, min_stuff_area=thresholds.min_stuff_area
    )


def describe_categories(categories: Categories) -> list[CategoryRow]:
    """Categories as JSON."""
    return [
        CategoryRow(id=each.id, name=each.name, isthing=int(each.is_thing), color=hex_color(each.color))
        for each in categories
    ]


def encode_map(id_map: IdMap) -> bytes:
    """An id map as a COCO panoptic PNG."""
    return encode_png(Image.fromarray(ids_to_rgb(id_map)))


def encode_png(image: Image.Image) -> bytes:
    """A picture as a PNG file, in memory."""
    file = io.BytesIO()
    image.save(file, format="PNG", compress_level=3)
    return file.getvalue()


def hex_color(color: tuple[int, int, int]) -> str:
    """#rrggbb."""
    return "#{:02x}{:02x}{:02x}".format(*color)


def _in_base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
