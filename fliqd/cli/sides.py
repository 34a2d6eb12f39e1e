"""All that one document says, a line for each of its sides."""

import json
from collections.abc import Iterator
from typing import Any, Final

from fliqd.cli import moments
from fliqd.cli.output import is_for_people

LONGEST: Final = 2000  # characters of a body that a person is shown
SEPARATORS: Final = {"headers": ": ", "webhook_headers": ": ", "query": "=", "dst": "="}
TOLD_IF_SO: Final = frozenset({"requires_approval", "deduplicated"})
LISTS: Final = frozenset({"tags", "success_statuses", "webhook_events", "actions"})


def sides(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield names and what to show of their values; what is not set is left out."""
    at = moments.now()
    for name, value in document.items():
        if value is None or value in ([], {}) or (name in TOLD_IF_SO and value is False):
            continue
        if name.endswith("_at") and is_for_people():
            yield name, moments.both(value, at)
        elif name in SEPARATORS:
            for key, text in value.items():
                yield name, f"{key}{SEPARATORS[name]}{text}"
        elif name in LISTS:
            yield name, ", ".join(str(item) for item in value)
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            yield name, text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text)} characters in all)"
