"""The HTTP API: what is asked for where, and in which words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from panoptic_blend._version import __version__
from panoptic_blend.serving.answers import (
    Answer,
    CategoryRow,
    Explanation,
    ModelRow,
    answer,
    describe_categories,
    describe_followed,
    describe_thresholds,
    encode_map,
)
from panoptic_blend.serving.limits import Refusal
from panoptic_blend.serving.service import Seen, Service

PNG = "image/png"
ABOUT = """\
Panoptic segmentation of pictures: one map with a segment for every thing, and one for every kind of stuff.

What goes wrong is answered with `{"detail": "a sentence"}`. 429: too many requests at this moment; `Retry-After` says
when to ask again. With a token: `Authorization: Bearer TOKEN`.
"""


class ThresholdQuery:
    """Thresholds of the merge in a request's query; the model's own for those that are not there."""

    def __init__(
        self,
        min_score: Annotated[float | None, Query(ge=0, le=1, description="Leave out instances below.")] = None,
        max_overlap: Annotated[
            float | None,
            Query(ge=0, le=1, description="Leave out instances of which more than this share is taken already."),
        ] = None,
        min_stuff_area: Annotated[
            int | None, Query(ge=0, le=2**31 - 1, description="Make stuff with fewer pixels than this void.")
        ] = None,
    ):
        given = {"min_score": min_score, "max_overlap": max_overlap, "min_stuff_area": min_stuff_area}
        self.changed: dict[str, Any] = {name: value for name, value in given.items() if value is not None}


ModelName = Annotated[str | None, Query(description="One of `/models`; by default the first.")]
PictureId = Annotated[str, Query(description="From an answer of `/predict?keep=true`.")]
Thresholds = Annotated[ThresholdQuery, Depends()]
Accept = Annotated[str, Header(description=f"`{PNG}` for the map alone.")]
_PICTURE_BODY = {
    "requestBody": {
        "description": "A picture's file: JPEG, PNG, WebP, GIF, BMP or TIFF.",
        "required": True,
        "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in ("image/*", "*/*")},
    }
}
_MAP: dict[int | str, dict[str, Any]] = {200: {"content": {PNG: {"schema": {"type": "string", "format": "binary"}}}}}
_REFUSALS: dict[int | str, dict[str, Any]] = {
    408: {"description": "The picture did not arrive in time."},
    413: {"description": "Too many bytes or pixels."},
    415: {"description": "Not a picture."},
    422: {"description": "A value that cannot be, or a picture that cannot be decoded."},
    429: {"description": "Too many requests wait; `Retry-After` says when to ask again."},
    503: {"description": "Memory ran out, or the answer took too long."},
}


def make_api(service: Service) -> FastAPI:
    """The API of a service, which is closed when the server ends."""

    @asynccontextmanager
    async def close_at_the_end(_: FastAPI) -> AsyncIterator[None]:
        yield
        await service.worker.close()

    api = FastAPI(
        title="panoptic_blend",
        version=__version__,
        description=ABOUT,
        docs_url=None,
        redoc_url=None,
        lifespan=close_at_the_end,
    )
    api.add_exception_handler(Refusal, _refuse)
    api.add_exception_handler(RequestValidationError, _refuse_value)
    api.add_exception_handler(ClientDisconnect, _gone)

    @api.get("/health", summary="Whether the server runs.")
    async def health() -> dict[str, int | str]:
        return {"status": "ok", "waiting": service.worker.waiting}

    @api.get("/models", summary="The models that run here.")
    async def models() -> list[ModelRow]:
        return [
            ModelRow(
                name=model.name,
                thresholds=describe_thresholds(model.thresholds),
                categories=describe_categories(model.categories),
                explains=model.explains,
            )
            for model in service.models.values()
        ]

    @api.get("/categories", summary="The categories of a model.")
    async def categories(model: ModelName = None) -> list[CategoryRow]:
        return describe_categories(service.model(model).categories)

    @api.post(
        "/predict",
        summary="The panoptic map of a picture.",
        response_model=Answer,
        responses={**_MAP, **_REFUSALS},
        openapi_extra=_PICTURE_BODY,
    )
    async def predict(
        request: Request,
        thresholds: Thresholds,
        model: ModelName = None,
        keep: Annotated[bool, Query(description="Keep the picture for `/merge` and `/explain` for a while.")] = False,
        accept: Accept = "*/*",
    ) -> Response:
        if "expect" in request.headers:  # the client waits before it sends
            service.uploads.check_announced(request.headers.get("content-length"))
        seen = await service.predict(request.stream(), model, thresholds.changed, keep)
        return await _respond(seen, accept)

    @api.post(
        "/merge",
        summary="A kept picture's map with other thresholds; only the merge runs again.",
        response_model=Answer,
        responses={**_MAP, **_REFUSALS, 404: {"description": "The picture is not kept any more."}},
    )
    async def merge(id: PictureId, thresholds: Thresholds, accept: Accept = "*/*") -> Response:
        return await _respond(await service.merge(id, thresholds.changed), accept)

    @api.post(
        "/explain",
        summary="How the mask of an object in a kept picture came about.",
        response_model=Explanation,
        responses={**_REFUSALS, 404: {"description": "No such picture or object, or no model with bases."}},
    )
    async def explain(
        id: PictureId,
        segment: Annotated[int, Query(ge=1, le=2**31 - 1, description="Its id in the map with these thresholds.")],
        thresholds: Thresholds,
    ) -> Response:
        model, followed = await service.explain(id, thresholds.changed, segment)
        return _json(await asyncio.to_thread(describe_followed, followed, model.categories))

    return api


async def _respond(seen: Seen, accept: str) -> Response:
    if PNG in accept:
        return Response(await asyncio.to_thread(encode_map, seen.found.id_map), media_type=PNG, headers=_NOT_STORED)
    made = await asyncio.to_thread(
        answer, seen.model.name, seen.found, seen.model.categories, seen.thresholds, seen.key
    )
    return _json(made)


def _json(made: BaseModel) -> Response:
    return Response(made.model_dump_json(), media_type="application/json", headers=_NOT_STORED)


_NOT_STORED = {"cache-control": "no-store"}


async def _refuse(_: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)
    headers = dict(_NOT_STORED)
    if refusal.retry_after is not None:
        headers["retry-after"] = str(refusal.retry_after)
    if refusal.hang_up:
        headers["connection"] = "close"
    return JSONResponse({"detail": refusal.reason}, refusal.status, headers)


async def _refuse_value(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    said = [f"{each['loc'][-1]}: {each['msg']}" for each in error.errors()]
    return JSONResponse({"detail": "; ".join(said)}, 422, _NOT_STORED)


async def _gone(_: Request, error: Exception) -> Response:
    return Response(status_code=400)  # which nobody reads
