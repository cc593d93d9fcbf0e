"""What pages of this machine share: an application with a start page and files of its own."""

import functools
import importlib.resources
from collections.abc import Mapping

import jinja2
from fastapi import FastAPI
from fastapi.responses import HTMLResponse, JSONResponse, Response

from tuner.trial import Json

CSS = "text/css; charset=utf-8"
JS = "text/javascript; charset=utf-8"
SVG = "image/svg+xml"


def static(name: str) -> str:
    """Return a text file of `static/`."""
    folder = importlib.resources.files("tuner.server") / "static"
    return (folder / name).read_text(encoding="utf-8")


def filled(name: str, facts: Mapping[str, object]) -> str:
    """Return a page of `static/` with these facts in it, shown literally."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(static(name)).render(**facts)


def application(
    html: str, assets: Mapping[str, tuple[str, str]], headers: Mapping[str, str] | None = None
) -> FastAPI:
    """Return an application that answers with a page and the files that it needs.

    Args:
        html: The page, at `/`.
        assets: Content and media type of each file, by its name.
        headers: Headers of the page, in place of the guard's own.
    """
    made = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)

    @made.get("/", response_class=HTMLResponse)
    async def index() -> HTMLResponse:
        return HTMLResponse(html, headers=headers)

    for name, (content, media_type) in assets.items():
        made.get(f"/{name}")(functools.partial(_asset, content.encode(), media_type))
    return made


def error(status: int, message: str) -> JSONResponse:
    """Return an answer that says in one message what is wrong."""
    content: dict[str, Json] = {"error": message}
    return JSONResponse(content, status)


async def _asset(content: bytes, media_type: str) -> Response:
    return Response(content, media_type=media_type)
