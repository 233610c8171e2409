"""Takes a picture out of a request, within limits of size and time."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from panoptic_blend.files.images import Pixels, image_to_rgb
from panoptic_blend.serving.limits import Limits, Refusal

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""Those that browsers and cameras write. Pillow knows many more; some of their decoders start other programs."""
MOST_SCANS = 64
"""Of a JPEG. A progressive one has about ten; thousands fit into a small file, and each runs over all pixels."""
_SCAN = b"\xff\xda"
_DAMAGED = (OSError, SyntaxError, ValueError, TypeError, EOFError, RuntimeError, OverflowError, LookupError)
"""What Pillow raises for headers that are cut off or make no sense."""


class Uploads:
    """Reads the bodies of requests, a bounded number of bytes of all of them together.

    Args:
        limits: of size and time.
    """

    def __init__(self, limits: Limits):
        self.limits = limits
        self.held = 0
        """Bytes of pictures that are on their way."""

    async def read(self, chunks: AsyncIterator[bytes]) -> bytes:
        """A body, whole.

        One that is refused is read to its end as well, without being kept, since clients look for an answer only when
        they have sent everything.

        Raises:
            Refusal: it is too large or too slow, or too many are on their way.
        """
        body, refusals = bytearray(), list[Refusal]()

        async def collect() -> None:
            async for chunk in chunks:
                if not refusals:
                    self.held += len(chunk)
                    body.extend(chunk)
                    refusals.extend(self._reasons(len(body)))
                if refusals:
                    self.held -= len(body)
                    body.clear()

        try:
            await asyncio.wait_for(collect(), self.limits.upload_seconds)
        except asyncio.TimeoutError:
            late = Refusal(408, f"The picture did not arrive within {self.limits.upload_seconds:g} seconds.")
            refusal = refusals[0] if refusals else late
            refusal.hang_up = True
            raise refusal from None
        finally:
            self.held -= len(body)
        if refusals:
            raise refusals[0]
        return bytes(body)

    def check_announced(self, length: str | None) -> None:
        """Raise `Refusal` for a length that a client announces and does not send before it is told to go on."""
        if length is not None and length.isdecimal() and int(length) > self.limits.picture_bytes:
            raise Refusal(413, self._too_large(), hang_up=True)

    def _reasons(self, size: int) -> list[Refusal]:
        if size > self.limits.picture_bytes:
            return [Refusal(413, self._too_large())]
        if self.held > self.limits.upload_bytes:
            return [Refusal(429, "Too many pictures are being sent at this moment. Try again later.", retry_after=1)]
        return []

    def _too_large(self) -> str:
        return f"The picture's file is larger than {self.limits.picture_bytes:,} bytes. Scale it down."


@dataclass(frozen=True)
class Picture:
    """A picture's file, not yet decoded.

    Attributes:
        data: the file.
        height, width: as its header says, before it is turned upright.
    """

    data: bytes
    height: int
    width: int

    def decode(self) -> Pixels:
        """Its pixels, uint8 RGB [H, W, 3], upright.

        Raises:
            DatasetError: they cannot be decoded.
        """
        with Image.open(io.BytesIO(self.data), formats=FORMATS) as image:
            return image_to_rgb(image)


def open_picture(data: bytes, most_pixels: int) -> Picture:
    """A picture by its header; no pixel is decoded.

    Raises:
        Refusal: it is no picture of a format that is taken, or one too large to decode.
    """
    if not data:
        raise Refusal(415, "The request holds no picture. Send its file as the request's body.")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            kind = image.format
    except (UnidentifiedImageError, *_DAMAGED):
        raise Refusal(415, f"This is no picture. Send a file of one of these formats: {', '.join(FORMATS)}.") from None
    except Image.DecompressionBombError:
        raise Refusal(413, _too_many(most_pixels)) from None
    if width * height > most_pixels:
        raise Refusal(413, _too_many(most_pixels))
    if kind in ("JPEG", "MPO") and data.count(_SCAN) > MOST_SCANS:
        raise Refusal(413, f"The JPEG is made of more than {MOST_SCANS} scans. Save it again, in another way.")
    return Picture(data, height, width)


def _too_many(most_pixels: int) -> str:
    return f"The picture has more than {most_pixels:,} pixels. Scale it down."
