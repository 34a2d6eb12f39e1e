"""`fliqd jobs create --batch`: many jobs in few calls; what is refused is told line by line."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final

import click

from fliqd.cli.batch_file import Entry, entries
from fliqd.cli.client import Client, problems_of
from fliqd.cli.errors import RefusedError, lines_of
from fliqd.cli.output import JSON, JSONL, TABLE, clean, say, show_document, write
from fliqd.errors import FliqdError

MOST_JOBS: Final = 1000  # that the API takes in a call
MOST_BYTES: Final = 900 * 1024  # below server.max_body, unless that was set lower: then calls are halved
CREATED: Final = 201
_DIVISIBLE: Final = (400, 413)  # refusals of a whole call, for which one line may be to blame


def create_all(client: Client, name: str, skip: int, output: str) -> None:
    """Create the jobs in a file; exit with 1 if any was refused; raise what ended it half-way."""
    batch = Batch(client, output)
    with open_file(name, "--batch") as stream:
        try:
            for call in calls(islice(entries(stream), skip, None)):
                batch.send(call)
                batch.show_progress()
        except (FliqdError, KeyboardInterrupt, BrokenPipeError):
            batch.end_progress()
            batch.tell_how_far(name, skip)
            raise
    batch.end_progress()
    batch.summarise()
    if batch.refused:
        raise SystemExit(1)


def calls(found: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Put entries together, as many as one call takes."""
    call: list[Entry] = []
    size = 0
    for entry in found:
        if call and (len(call) == MOST_JOBS or size + len(entry.text) >= MOST_BYTES):
            yield call
            call, size = [], 0
        call.append(entry)
        size += len(entry.text) + 1
    if call:
        yield call


class Batch:
    """What has become of the lines so far."""

    prints_ids = True  # in a table: that of each job, as `jobs create` does

    def __init__(self, client: Client, output: str) -> None:
        self._client = client
        self._output = output
        self._path, self._key = "/jobs/batch", "jobs"  # of the call that makes many
        self._shows_progress = sys.stderr.isatty()
        self._problems: list[dict[str, Any]] = []
        self.done = self.created = self.replayed = self.refused = 0

    def send(self, call: list[Entry]) -> None:
        """Create the jobs of one call; refusals of single lines are noted."""
        for entry, result in zip(call, self._results(call), strict=True):
            self._note(entry, result)

    def _results(self, call: list[Entry]) -> list[dict[str, Any]]:
        """Return what the API says to each entry; those that are no JSON are not sent."""
        right = [entry for entry in call if entry.problem is None]
        answers = iter(self._ask(right) if right else [])
        return [
            next(answers) if entry.problem is None else _refusal(400, "invalid_json", entry.problem) for entry in call
        ]

    def _ask(self, call: list[Entry]) -> list[dict[str, Any]]:
        body = b'{"%s":[%s]}' % (self._key.encode(), b",".join(entry.text for entry in call))
        try:
            answer = self._client.call("POST", self._path, body, expects="results")
        except RefusedError as err:
            if err.status not in _DIVISIBLE:
                raise
            if len(call) == 1:
                return [_refusal(err.status, err.code, "; ".join(lines_of(err)))]
            # One of them spoils the call (too large, or JSON that only this reader minds): look for it.
            half = len(call) // 2
            return self._ask(call[:half]) + self._ask(call[half:])
        results: list[dict[str, Any]] = answer.document["results"]
        if len(results) != len(call):
            answers = f"sent {len(call)} {self._key} and got {len(results)} answers"
            raise FliqdError(f"{answers}; the daemon's log may say why")
        return results

    def _note(self, entry: Entry, result: dict[str, Any]) -> None:
        self.done += 1
        error = result.get("error")
        if error is None:
            self.created += result["status"] == CREATED
            self.replayed += result["status"] != CREATED
            made = result["job"] if "job" in result else result[self._key.removesuffix("s")]
            if self._output == JSONL:
                show_document({"line": entry.line, "status": result["status"], "id": made["id"]}, JSONL)
            elif self._output == TABLE and self.prints_ids:
                write(f"{made['id']}\n")
            return
        self.refused += 1
        problems = [str(problem) for problem in problems_of(error)] or [error["message"]]
        self.end_progress()
        say(f"fliqd: line {entry.line}: {'; '.join(problems)}")
        line = {"line": entry.line, "status": result["status"], "error": error}
        if self._output == JSONL:
            show_document(line, JSONL)
        elif self._output == JSON:
            self._problems.append(line)

    def summarise(self) -> None:
        """Print the end: to a person, or as data."""
        counts = {"created": self.created, "replayed": self.replayed, "refused": self.refused}
        if self._output == TABLE:
            say(", ".join(f"{name} {count}" for name, count in counts.items()))
        elif self._output == JSON:
            show_document({**counts, "problems": self._problems}, JSON)

    def tell_how_far(self, name: str, skip: int) -> None:
        """Say what to do to go on from where it ended."""
        done = skip + self.done
        say(
            f"fliqd: {done} jobs of {clean(name)} are done (created {self.created}, replayed {self.replayed}, refused"
            f" {self.refused}); go on with --skip {done}. What was under way may have been made: an idempotency_key"
            " in each line keeps a repeat from making it twice"
        )

    def show_progress(self) -> None:
        """Keep a person informed, on one line of the terminal."""
        if self._shows_progress:
            click.echo(f"\r{self.done} done, {self.refused} refused ", nl=False, err=True)

    def end_progress(self) -> None:
        """Clear that line, for what comes next."""
        if self._shows_progress:
            click.echo("\r\033[K", nl=False, err=True)


def _refusal(status: int, code: str, message: str) -> dict[str, Any]:
    return {"status": status, "error": {"code": code, "message": message, "details": []}}


def open_file(name: str, hint: str) -> AbstractContextManager[BinaryIO]:
    """Open the file that `hint` was given as, or stdin; raise click's usage error."""
    if name == "-":
        return nullcontext(sys.stdin.buffer)
    try:
        return Path(name).open("rb")
    except OSError as err:
        raise click.BadParameter(f"{name} cannot be read: {err.strerror}", param_hint=hint) from err
