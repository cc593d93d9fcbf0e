"""The page that shows a study while it runs, and its report once it has finished.

Browsers are told by server-sent events which parts have changed; see `watched`. The parts and
their charts are those of a report.
"""

import json
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse
from mlflow.exceptions import MlflowException

from tuner.errors import StudyError
from tuner.names import may_be_stopped
from tuner.reports import page
from tuner.server import pages
from tuner.server.watched import Watched, why
from tuner.server.work import Busy

WORK_SECONDS = 600.0
"""How long to wait for the store: the trials of a large study take a while on a slow server."""

MAX_BYTES = 1000
"""Largest size of a request to stop."""

_POLICY = (
    # Plotly writes styles into the page, and compiles the code that draws many points.
    "default-src 'self'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; object-src 'none'; "
    "frame-ancestors 'none'"
)


def application(watched: Watched) -> FastAPI:
    """Return the page of a study."""
    made = pages.application(
        pages.filled("watch.html", {"title": f"Study {watched.name}"}),
        {
            "report.css": (page.asset("report.css"), pages.CSS),
            "watch.css": (pages.static("watch.css"), pages.CSS),
            "charts.js": (page.asset("charts.js"), pages.JS),
            "watch.js": (pages.static("watch.js"), pages.JS),
            "plotly.js": (page.plotly(), pages.JS),
            "icon.svg": (pages.static("icon.svg"), pages.SVG),
        },
        {"content-security-policy": _POLICY},
    )

    @made.get("/events")
    async def events() -> StreamingResponse:
        return StreamingResponse(watched.events(), media_type="text/event-stream")

    @made.post("/stop")
    async def stop(request: Request) -> JSONResponse:
        # A form, which the page of any site can send, has another type.
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            return pages.error(
                415, "Send what is to end as JSON: Content-Type: application/json."
            )
        try:
            trial_id, now = _read_request(await request.body())
        except ValueError:
            return pages.error(
                422, 'Send {"trial": "0007"}, {"study": "true"} or {"study": "now"}.'
            )
        try:
            said = await watched.stop(trial_id, now)
        except StudyError as error:
            return pages.error(409, str(error))
        except Busy:
            return pages.error(
                503, "The tracking store takes long to answer: retry in a moment."
            )
        except MlflowException as error:
            return pages.error(502, f"The tracking store refused: {why(error)}.")
        return JSONResponse({"said": said})

    return made


def _read_request(content: bytes) -> tuple[str | None, bool]:
    """Return the trial that is to end, or None for the study, and whether that ends now.

    Raises:
        ValueError: If it asks for something else.
    """
    asked = json.loads(content)
    if isinstance(asked, Mapping) and len(asked) == 1:
        [(what, which)] = asked.items()
        if what == "study" and which in ("true", "now"):
            return None, which == "now"
        if what == "trial" and isinstance(which, str) and may_be_stopped(which):
            return which, False
    raise ValueError(asked)
