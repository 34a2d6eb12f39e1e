"""The jobs that the bench creates, and the requests that create them."""

import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from harness import Server, exchange

BATCH = 1000
YEAR_MS = 365 * 86_400_000
PAYLOAD = {"event": "invoice.due", "customer": "c_81724", "amount": 1999, "currency": "EUR"}
BODY = json.dumps(PAYLOAD).encode()  # what arrives at the target


def when(due_ms: int) -> str:
    """Write an instant as the API takes it."""
    return datetime.fromtimestamp(due_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def document(url: str, due_ms: int, name: str | None = None) -> dict[str, Any]:
    """Return a job of ordinary size."""
    job = {
        "url": url,
        "http_method": "POST",
        "scheduled_at": when(due_ms),
        "headers": {"X-Tenant": "acme", "X-Source": "bench"},
        "json": PAYLOAD,
        "max_retries": 3,
    }
    return job if name is None else job | {"name": name}


def batch(documents: Sequence[dict[str, Any]]) -> bytes:
    """Return the body of a batch create."""
    return json.dumps({"jobs": documents}).encode()


def request(server: Server, path: str, body: bytes) -> bytes:
    """Return a POST as the bytes that go over the wire."""
    head = [f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{server.port}", f"Content-Length: {len(body)}"]
    head += [f"{name}: {value}" for name, value in server.headers().items()]
    return "\r\n".join([*head, "", ""]).encode() + body


def create(daemon: Server, documents: Iterable[dict[str, Any]], *, connections: int = 2) -> list[dict[str, Any]]:
    """Create jobs by the batch; return them as the API shows them, in their order."""
    made: list[dict[str, Any]] = []
    for jobs in _send(daemon, documents, connections):
        made += jobs
    return made


def fill(daemon: Server, documents: Iterable[dict[str, Any]]) -> Iterator[int]:
    """Create jobs by the batch; yield how many there are, now and then, and keep none of them."""
    count = 0
    for jobs in _send(daemon, documents, connections=2):
        count += len(jobs)
        if count % 100_000 == 0:
            yield count


def _send(daemon: Server, documents: Iterable[dict[str, Any]], connections: int) -> Iterator[list[dict[str, Any]]]:
    rest = iter(documents)
    lines = [daemon.connect() for _ in range(connections)]

    def post(line: int, part: list[dict[str, Any]]) -> list[dict[str, Any]]:
        answer = exchange(lines[line], "POST", "/v1/jobs/batch", batch(part), daemon.headers())
        return [item["job"] for item in answer["results"]]

    with ThreadPoolExecutor(connections) as pool:
        while parts := [part for _ in lines if (part := list(islice(rest, BATCH)))]:
            yield from pool.map(post, range(len(parts)), parts)
    for line in lines:
        line.close()
