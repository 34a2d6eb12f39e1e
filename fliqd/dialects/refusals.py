"""What the refusals of all stand-in APIs have in common, beneath the shape that each gives them."""

from collections.abc import Mapping, Sequence
from typing import Final

from aiohttp import web

from fliqd.api.errors import FAILED, FROM_AIOHTTP, status_of
from fliqd.errors import FliqdError, InvalidError, Problem, UnauthorizedError, UnavailableError

NO_PATH: Final = "there is no such path"


def status_and_headers(err: Exception) -> tuple[int, dict[str, str]]:
    """Return the HTTP status of an error, and the headers that go with it."""
    if isinstance(err, web.HTTPException):
        return err.status, {name: err.headers[name] for name in ("Allow",) if name in err.headers}
    if not isinstance(err, FliqdError):
        return 500, {}
    headers = {}
    if isinstance(err, UnavailableError):
        headers["Retry-After"] = str(err.retry_after_s)
    if isinstance(err, UnauthorizedError):
        headers["WWW-Authenticate"] = "Bearer"
    return status_of(err), headers


def told(err: Exception, problems: Sequence[Problem]) -> str:
    """Return what is said of an error to people; of the InvalidError of these problems, those alone."""
    if isinstance(err, InvalidError):
        return "; ".join(map(str, problems))
    if isinstance(err, web.HTTPException):
        return NO_PATH if err.status == web.HTTPNotFound.status_code else FROM_AIOHTTP.get(err.status, ("", ""))[1]
    return str(err) if isinstance(err, FliqdError) else FAILED


def problems_of(err: Exception, names: Mapping[str, str]) -> list[Problem]:
    """Return what is wrong with a request, its fields called as the service calls them, each complaint once.

    `names` are those of the service by ours, where they differ.
    """
    if not isinstance(err, InvalidError):
        return []
    renamed = []
    for problem in err.problems:
        name, point, rest = problem.field.partition(".")
        renamed.append(Problem(f"{names.get(name, name)}{point}{rest}", problem.problem, problem.code))
    return list(dict.fromkeys(renamed))
