"""What a server takes, from everybody together."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of a server's memory and patience.

    Args:
        picture_bytes: of a picture's file.
        picture_pixels: of a picture, decoded.
        waiting: requests that wait for the model; one more is sent away with 429.
        upload_bytes: of all pictures together that are on their way at this moment.
        kept_bytes: of what is kept for the page's sliders; the oldest goes first.
        upload_seconds: within which a request's body must have arrived.
        answer_seconds: within which the model must have answered.
    """

    picture_bytes: int = 20 * 2**20
    picture_pixels: int = 25_000_000
    waiting: int = 16
    upload_bytes: int = 256 * 2**20
    kept_bytes: int = 256 * 2**20
    upload_seconds: float = 30.0
    answer_seconds: float = 120.0


class Refusal(Exception):  # noqa: N818  # an answer, not a fault
    """A request that is not fulfilled, with the HTTP status that says so.

    Args:
        status: of the answer.
        reason: a sentence for the person who asked.
        retry_after: seconds after which asking again may help.
        hang_up: the request was not read to its end, so that the connection cannot go on.
    """

    def __init__(self, status: int, reason: str, retry_after: int | None = None, hang_up: bool = False):
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.retry_after = retry_after
        self.hang_up = hang_up
