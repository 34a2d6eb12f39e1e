"""Everything that reads what others wrote, as functions of octets: each returns, or refuses in the way it says.

What comes out is checked against what must be so whatever went in. Nothing here knows where the octets come from: a
kept corpus, chance, or a fuzzer that looks at which lines they reach.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec
from multidict import MultiDict

from fliqd import config
from fliqd.api.documents import Params, read_cursor, write_cursor
from fliqd.config import Config
from fliqd.core import cron_grammar, occurrences, zones
from fliqd.core.buffers import BufferDraft, buffer_fields
from fliqd.core.channels import ChannelDraft, channel_fields
from fliqd.core.decoding import decode, decode_list
from fliqd.core.delivery import OutgoingRequest
from fliqd.core.describe import describe
from fliqd.core.drafts import Defaults, JobDraft, job_fields, required
from fliqd.core.durations import LONGEST_MS, format_duration, parse_duration
from fliqd.core.egress import parse_entry
from fliqd.core.headers import check_headers, check_size
from fliqd.core.queues import QueueDraft, queue_fields
from fliqd.core.references import escape, expand, has_references
from fliqd.core.retry import LONGEST_WAIT_S, retry_after_s
from fliqd.core.schedule_drafts import ScheduleDraft, required_of_schedule, schedule_fields
from fliqd.core.sizes import parse_size
from fliqd.core.times import format_time, parse_time
from fliqd.core.urls import check_url, with_query
from fliqd.engine.wire.answer import AnswerReader
from fliqd.engine.wire.octets import encode
from fliqd.errors import ConfigError, FliqdError, InvalidError

NOW_MS: Final = 1_803_902_400_000  # 2027-03-01T12:00:00Z
BERLIN: Final = zones.zone("Europe/Berlin")
DEFAULTS: Final = Defaults()
NO_FILE: Final[Config] = config.defaults({"STATE_DIRECTORY": "/nonexistent"})


def explained(err: Exception) -> None:
    """See that a refusal says what is wrong."""
    if not str(err):
        raise AssertionError("a refusal without a word") from err


def text_of(data: bytes) -> str:
    """Return octets as any text at all, lone surrogates too."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace")


def request(**changes: Any) -> OutgoingRequest:
    asked: dict[str, Any] = {
        "method": "POST", "url": "http://a.example/", "headers": (), "body": None,
        "timeout_s": 1.0, "capture": 100, "limit": 10_000,
    }  # fmt: skip
    return OutgoingRequest(**(asked | changes))


def cron(data: bytes) -> None:
    try:
        read = cron_grammar.parse(text_of(data))
    except ValueError as err:
        explained(err)
        return
    describe(read)
    following = occurrences.next_run(read, BERLIN, NOW_MS)
    if following is not None:
        assert following > NOW_MS
        assert occurrences.previous_run(read, BERLIN, following) == following
        assert occurrences.count_between(read, BERLIN, NOW_MS, following) == 1


def duration(data: bytes) -> None:
    try:
        read = parse_duration(text_of(data))
    except ValueError as err:
        explained(err)
        return
    assert 0 <= read <= LONGEST_MS
    assert parse_duration(format_duration(read)) == read


def time(data: bytes) -> None:
    try:
        read = parse_time(text_of(data))
    except ValueError as err:
        explained(err)
        return
    assert parse_time(format_time(read)) == read


def size(data: bytes) -> None:
    try:
        assert parse_size(text_of(data)) >= 0
    except ValueError as err:
        explained(err)


def url(data: bytes) -> None:
    """What is taken can be sent, as it stands and with a query."""
    text = text_of(data)
    try:
        read = check_url(text)
    except ValueError as err:
        explained(err)
        return
    _, head = encode(request(url=text))
    assert head.count(b"\r\n") == 4
    assert read.host == check_url(with_query(text, [("a", "b &c")])).host


def headers(data: bytes) -> None:
    """What is taken is sent as the very lines it was."""
    lines = [line.partition(":") for line in text_of(data).split("\n")]
    pairs = {name: value for name, _, value in lines}
    if [*check_headers("headers", pairs), *check_size("headers", pairs)]:
        return
    _, head = encode(request(headers=tuple(pairs.items())))
    assert head.split(b"\r\n")[2:-3] == [f"{name}: {value}".encode() for name, value in pairs.items()]


def job(data: bytes) -> None:
    try:
        draft, problems = decode(data, JobDraft)
    except InvalidError:
        return
    fields = job_fields(draft, DEFAULTS, NOW_MS, problems)
    required(draft, problems)
    if not problems:
        encode(request(url=fields["url"], headers=tuple(fields.get("headers", {}).items())))


def jobs(data: bytes) -> None:
    try:
        items = decode_list(data, "jobs", 1000)
    except InvalidError:
        return
    for item in items:
        job(item)


def schedule(data: bytes) -> None:
    try:
        draft, problems = decode(data, ScheduleDraft)
    except InvalidError:
        return
    schedule_fields(draft, DEFAULTS, NOW_MS, problems)
    required_of_schedule(draft, problems)


def others(data: bytes) -> None:
    """The documents of buffers, channels and queues."""
    readers: tuple[tuple[type[msgspec.Struct], Callable[..., Any]], ...] = (
        (BufferDraft, lambda draft, problems: buffer_fields(draft, DEFAULTS, NOW_MS, problems)),
        (ChannelDraft, channel_fields),
        (QueueDraft, queue_fields),
    )
    for kind, read in readers:
        try:
            draft, problems = decode(data, kind)
        except InvalidError:
            continue
        read(draft, problems)


def configuration(data: bytes) -> None:
    try:
        NO_FILE.again(text_of(data))
    except ConfigError as err:
        explained(err)


def reference(data: bytes) -> None:
    """A text that was escaped means itself."""
    text = text_of(data)
    try:
        has_references(text)
        expand(text, lambda kind, name: f"{kind} {name}")
    except (ValueError, FliqdError) as err:
        explained(err)
    assert expand(escape(text), lambda _kind, _name: "found") == text


def cursor(data: bytes) -> None:
    text = text_of(data)
    with suppress(InvalidError):
        place = read_cursor(text)
        assert read_cursor(write_cursor(place) or "") == place
    asked = MultiDict(part.partition("=")[::2] for part in text.split("&"))
    with suppress(InvalidError):
        wanted = Params(asked, ("limit", "cursor", "status"))
        wanted.text("status")
        assert 1 <= wanted.limit() <= 100
        wanted.cursor()


def retry_after(data: bytes) -> None:
    read = retry_after_s(data.decode("latin-1"), NOW_MS)
    assert read is None or 0 <= read <= LONGEST_WAIT_S


def egress(data: bytes) -> None:
    try:
        parse_entry(text_of(data))
    except ValueError as err:
        explained(err)


def answer(data: bytes) -> None:
    """The same octets are the same answer, in whatever pieces they come; and it has an end."""
    pieces = max(1, data[0] % 7) if data else 1
    whole = _answered([data])
    assert whole == _answered([data[at : at + pieces] for at in range(0, len(data), pieces)])


def _answered(parts: list[bytes]) -> tuple[Any, ...]:
    reader = AnswerReader("a.example:80")
    reader.expect(request())
    for part in parts:
        if part and reader.feed(part):
            break
    else:
        reader.end()
    failure = reader.failure
    assert (reader.status is None) <= (failure is not None)
    told = reader.status, reader.headers, reader.body, failure and failure.code
    reader.release()
    return told


PARSERS: Final[Mapping[str, Callable[[bytes], None]]] = {
    parser.__name__: parser
    for parser in (
        cron, duration, time, size, url, headers, job, jobs, schedule, others, configuration, reference, cursor,
        retry_after, egress, answer,
    )
}  # fmt: skip
