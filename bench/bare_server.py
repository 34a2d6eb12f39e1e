"""The bare server: aiohttp and msgspec, a decoded document, a constant answer."""

import argparse
import asyncio
import json

import loops
import msgspec
from aiohttp import web


class Document(msgspec.Struct, kw_only=True, gc=False):
    """The fields that `jobs.document` sends."""

    url: str
    http_method: str
    scheduled_at: str
    headers: dict[str, str]
    json: msgspec.Raw
    max_retries: int


async def serve(answer_bytes: int) -> None:
    decode = msgspec.json.Decoder(Document).decode
    answer = json.dumps({"answer": "x" * (answer_bytes - len('{"answer": ""}'))}).encode()

    async def create(request: web.Request) -> web.Response:
        decode(await request.read())
        return web.Response(body=answer, status=201, content_type="application/json")

    async def readyz(_request: web.Request) -> web.Response:
        return web.Response(body=b'{"status":"ready"}', content_type="application/json")

    app = web.Application()
    app.router.add_post("/v1/jobs", create)
    app.router.add_get("/readyz", readyz)
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(json.dumps({"url": f"http://127.0.0.1:{runner.addresses[0][1]}"}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answer-bytes", type=int, default=1000)
    parser.add_argument("--loop", choices=loops.LOOPS, default="asyncio")
    given = parser.parse_args()
    loops.run(serve(given.answer_bytes), given.loop)
