"""One step for each of several things: what is refused does not keep the others from theirs."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from fliqd.cli.client import Client
from fliqd.cli.errors import NotAllowedError, UnreachableError, lines_of
from fliqd.cli.output import TABLE, say, show_document, show_documents, write
from fliqd.errors import FliqdError

Step = Callable[[Client, str], dict[str, Any]]


def each(client: Client, given: Sequence[str], step: Step, output: str, word: Callable[[dict[str, Any]], str]) -> None:
    """Take a step for each of `given`: print the id of what it gave, and tell a `word` about it.

    Raises the last refusal, so that its exit code is the command's; earlier ones are told.
    """
    done = []
    refusals: list[FliqdError] = []
    try:
        for one in given:
            try:
                found = step(client, one)
            except (UnreachableError, NotAllowedError):
                raise
            except FliqdError as err:
                refusals.append(_named(err, one))
                continue
            done.append(found)
            if output == TABLE:
                write(f"{found['id']}\n")
                say(word(found))
    finally:
        _show(done, output, one=len(given) == 1)
    for refusal in refusals[:-1]:
        for line in lines_of(refusal):
            say(f"fliqd: {line}")
    if refusals:
        raise refusals[-1]


def _show(found: Iterable[dict[str, Any]], output: str, *, one: bool) -> None:
    if output == TABLE:
        return
    if not one:
        show_documents(found, output)
        return
    for document in found:
        show_document(document, output)


def _named(err: FliqdError, one: str) -> FliqdError:
    """Say of which a refusal speaks, unless it does."""
    if one not in str(err):
        err.args = (f"{one}: {err}",)
    return err
