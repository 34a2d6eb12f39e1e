"""How the bench talks to a program: a JSON command a line in, a JSON answer a line out."""

import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

Command = dict[str, Any]
PAYLOAD = {"event": "invoice.due", "customer": "c_81724", "amount": 1999, "currency": "EUR"}
HEADERS = {"Content-Type": "application/json", "X-Tenant": "acme", "X-Source": "bench"}
RETRIES = 3
CONCURRENCY = 32


def say(answer: Command) -> None:
    """Answer the command that came last, or tell that the program is ready."""
    print(json.dumps(answer), flush=True)


def obey(answers: dict[str, Callable[[Command], Command]]) -> None:
    """Answer each command with the function of its name, until there are no more."""
    say({"ready": True})
    for line in sys.stdin:
        command = json.loads(line)
        say(answers[command["do"]](command))


def plan(command: Command) -> Iterator[tuple[str, datetime]]:
    """Yield the delivery id and the due time of each job that a `fill` asks for."""
    for number in range(command["count"]):
        due_ms = command["due_ms"] + number * command["step_ms"]
        yield f"{command['name']}-{number}", datetime.fromtimestamp(due_ms / 1000, UTC)


def request(delivery_id: str) -> dict[str, str]:
    """Return the headers of one delivery."""
    return HEADERS | {"X-Fliq-Delivery-Id": delivery_id}
