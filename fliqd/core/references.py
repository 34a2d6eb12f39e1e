"""`${env:NAME}` and `${file:PATH}` in texts of the configuration file: replaced when they are used, never kept.

`$${` stands for `${` itself. A text that came over the API is literal and does not pass here.
"""

import json
import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from fliqd.core.headers import check_headers
from fliqd.core.model import Job
from fliqd.core.urls import check_url

REFERENCE: Final = re.compile(r"(\$\$\{)|\$\{(?:(env|file):([^}]*)\})?")

# Given a kind ("env" or "file") and a name, returns what stands there; raises ValueError for what is missing.
Lookup = Callable[[str, str], str]


class Noting:
    """A lookup that remembers what came for each reference, so that no message repeats it: it may be a secret."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._found: dict[str, str] = {}

    def __call__(self, kind: str, name: str) -> str:
        found = self._lookup(kind, name)
        if found:
            # A message may quote it, as Python does or as JSON does.
            for spelling in (
                found,
                repr(found)[1:-1],
                json.dumps(found)[1:-1],
                json.dumps(found, ensure_ascii=False)[1:-1],
            ):
                self._found[spelling] = f"${{{kind}:{name}}}"
        return found

    def hide(self, text: str) -> str:
        """Return a message with the references in the place of what they stand for."""
        for found in sorted(self._found, key=len, reverse=True):
            text = text.replace(found, self._found[found])
        return text


def has_references(value: object) -> bool:
    """Tell whether a text, or one inside of a JSON value, has anything to replace."""
    if isinstance(value, str):
        return any(match[1] or match[2] for match in REFERENCE.finditer(value))
    if isinstance(value, dict):
        return any(has_references(part) for part in value.values())
    return isinstance(value, list) and any(has_references(part) for part in value)


def expand(text: str, lookup: Lookup) -> str:
    """Return `text` with its references replaced; raise ValueError for one that is missing or misspelt."""

    def replace(match: re.Match[str]) -> str:
        if match[1]:
            return "${"
        if not match[2]:
            raise ValueError("a ${ that is no reference: there are ${env:NAME} and ${file:PATH}, and $${ for ${ itself")
        return lookup(match[2], match[3])

    return REFERENCE.sub(replace, text)


def escape(text: str) -> str:
    """Return `text` as the configuration file says it when it is meant literally."""
    return text.replace("${", "$${")


def as_meant(text: str) -> str:
    """Return `text` as it is meant where it refers to nothing; one that does refer stays as it is written."""
    if any(match[2] and not match[1] for match in REFERENCE.finditer(text)):
        return text
    return REFERENCE.sub(lambda match: match[0][1:] if match[1] else match[0], text)


def expand_all(value: Any, lookup: Lookup) -> Any:
    """Return a JSON value with the references in its texts replaced; keys are literal."""
    if isinstance(value, str):
        return expand(value, lookup)
    if isinstance(value, dict):
        return {key: expand_all(part, lookup) for key, part in value.items()}
    return [expand_all(part, lookup) for part in value] if isinstance(value, list) else value


def expand_job(job: Job, lookup: Lookup) -> Job:
    """Return `job` as it is sent; raise ValueError for a reference that is missing, or makes no valid request.

    The body of an item never comes from the file, as its buffer does, and is literal.
    """
    body = job.body
    if body is not None and job.buffer_id is None:
        if job.body_is_json:
            body = msgspec.json.encode(expand_all(msgspec.json.decode(body), lookup))
        else:
            body = expand(body.decode(), lookup).encode()
    url = expand(job.url, lookup)
    check_url(url)
    headers = expand_all(job.headers, lookup)
    for problem in check_headers("headers", headers):
        raise ValueError(str(problem))
    return msgspec.structs.replace(job, url=url, headers=headers, query=expand_all(job.query, lookup), body=body)
