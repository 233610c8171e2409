"""A server of small models, on a free port of this machine."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest

from panoptic_blend.inference.predictor import Predictor  # after what may be lacking
from panoptic_blend.serving.limits import Limits
from panoptic_blend.serving.served_model import ServedModel
from panoptic_blend.serving.server import LOOPBACK_NAMES, listen, make_server
from panoptic_blend.serving.service import Service
from panoptic_blend.serving.site import make_site
from tests.chromium import start_chromium
from tests.inference.test_explain import talkative_model


@dataclass
class Reply:
    """What a server answered."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Site:
    """A server that runs."""

    port: int
    service: Service

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, **query: Any
    ) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, f"{path}?{urlencode(query)}", body, headers or {})
            answer = connection.getresponse()
            return Reply(answer.status, answer.headers, answer.read())
        finally:
            connection.close()


@pytest.fixture(scope="session")
def predictor() -> Predictor:
    """Of the model that the sites below serve; untrained, with instances and stuff all the same."""
    return Predictor(talkative_model("blender"), "cpu", "fp32")


@pytest.fixture(scope="session")
def start_site() -> Iterator[Callable[..., Site]]:
    """Starts sites with limits or a token of their own."""
    running = []

    def start(
        limits: Limits | None = None,
        token: str | None = None,
        batch: int = 1,
        models: int = 1,
        served: list[ServedModel] | None = None,
    ) -> Site:
        if served is None:
            predictors = [Predictor(talkative_model("blender"), "cpu", "fp32") for _ in range(models)]
            served = [ServedModel(f"model {number}", each) for number, each in enumerate(predictors)]
        listening = listen("127.0.0.1", 0)
        service = Service(served, limits or Limits(), batch)
        server = make_server(make_site(service, token, LOOPBACK_NAMES))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        running.append((server, thread))
        while not server.started:
            time.sleep(0.01)
        return Site(listening.getsockname()[1], service)

    yield start
    for server, _ in running:
        server.should_exit = True
    for _, thread in running:
        thread.join()


@pytest.fixture(scope="session")
def site(start_site: Callable[..., Site]) -> Site:
    """A server with the usual limits and two models of equal weights."""
    return start_site(models=2, batch=4)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory):
    """Chromium, which takes seconds to start."""
    browser = start_chromium(tmp_path_factory.mktemp("browser"))
    yield browser
    browser.quit()


@pytest.fixture
def browser(chromium):
    """Chromium that shows nothing, and whose console is empty."""
    chromium.get("about:blank")
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    chromium.get_log("browser")
    return chromium
