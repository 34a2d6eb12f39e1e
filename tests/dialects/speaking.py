"""A client of a stand-in API that holds each answer against the document of that API."""

import re
from typing import Any

import jsonschema  # type: ignore[import-untyped]

from tests.support import Answer, RunningDaemon


def routes_below(fliqd: RunningDaemon, path: str) -> set[tuple[str, str]]:
    """Return the routes of a daemon below a path, without it."""
    assert fliqd.daemon is not None
    routes = fliqd.daemon.application.router.routes()
    found = {(route.method, route.resource.canonical) for route in routes if route.resource is not None}
    return {(way, at.removeprefix(path)) for way, at in found if at.startswith(f"{path}/") and way != "HEAD"}


class Speaker:
    """Calls below `/<name>`; what comes back is as the document says, or the test has failed."""

    def __init__(self, fliqd: RunningDaemon, name: str, document: dict[str, Any]) -> None:
        self._fliqd = fliqd
        self._prefix = f"/{name}"
        self._paths = document["paths"]
        self._components = document["components"]
        self.seen: set[tuple[str, str]] = set()

    async def __call__(
        self, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None, **more: Any
    ) -> Answer:
        answer = await self._fliqd(method, self._prefix + path, body, headers=headers, **more)
        self.hold(method, path.partition("?")[0], answer)
        return answer

    def hold(self, method: str, path: str, answer: Answer) -> None:
        """Hold an answer against the document, where that has the call."""
        template = self._template(self._prefix + path)
        told = self._paths.get(template, {}).get(method.lower(), {"responses": {}})["responses"]
        response = told.get(str(answer.status))
        if response is None:
            assert answer.status in (404, 405), (method, path, answer.status, answer.body)
            response = {"$ref": f"#/components/responses/{answer.status}"}
        if "$ref" in response:
            response = self._components["responses"][response["$ref"].rpartition("/")[2]]
        if "application/json" in response.get("content", {}):
            schema = response["content"]["application/json"]["schema"]
            jsonschema.validate(answer.body, {**schema, "components": self._components})
        else:
            assert answer.body == b""
        self.seen.add((method, template.removeprefix(self._prefix)))

    def _template(self, path: str) -> str:
        if path in self._paths:
            return path
        for template in self._paths:
            if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
                return str(template)
        return path
