"""Builds everything and connects it; starts it in order, and stops it in the reverse."""

import asyncio
import contextlib
import errno
import gc
import os
import random
import resource
import secrets
import signal
import sqlite3
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Self, cast

import structlog
from aiohttp import web

from fliqd import RELEASED_MS, __version__, keyfiles, loop
from fliqd.api import app as api
from fliqd.api.origin import Doorkeeper
from fliqd.api.server import EdgeRunner
from fliqd.clock import Clock, SystemClock
from fliqd.config import Config
from fliqd.core.drafts import Defaults
from fliqd.core.due_heap import DueEntry
from fliqd.core.egress import EgressPolicy, Policy
from fliqd.core.signing import Signer, new_secret
from fliqd.core.times import format_time, maybe_time
from fliqd.core.urls import check_url
from fliqd.engine.dispatcher import Dispatcher, Limits
from fliqd.engine.gate import Gate
from fliqd.engine.janitor import Janitor, Retention
from fliqd.engine.planner import Planner
from fliqd.engine.scheduler import SCHEDULES_LEAD_MS, Scheduler
from fliqd.engine.wire.sender import WireSender
from fliqd.errors import FliqdError, StoreIOError, UnavailableError
from fliqd.ids import UlidSource, request_ids
from fliqd.references import lookup_in
from fliqd.reloading import Reloading
from fliqd.service.buffers import BufferService
from fliqd.service.jobs import Jobs
from fliqd.service.queues import QueueService
from fliqd.service.reconcile import Reconciler
from fliqd.service.schedules import ScheduleService
from fliqd.service.summary import Counting, summarise
from fliqd.service.tokens import ALL_SCOPES, Tokens
from fliqd.settings import Listen, Settings, defaults_of
from fliqd.store.sqlite.store import SqliteStore
from fliqd.watchdog import watch

log = structlog.get_logger()

API_GRACE_S: Final = 5.0  # for requests to the API that are being answered when the daemon stops
ADMIN_TOKEN_FILE: Final = "admin.token"  # noqa: S105 -- the name of the file


class Daemon:
    """A running fliqd. Made by `start`; `stop` ends it; `fatal` tells when it cannot go on."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._defaults = defaults_of(config.settings)
        self._started_ms = clock.now_ms()
        self._started = clock.monotonic()
        self._cleanup = AsyncExitStack()
        self.fatal: asyncio.Future[FliqdError] = asyncio.get_running_loop().create_future()
        self.urls: list[str] = []
        self._stopping = False
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    async def start(cls, config: Config, clock: Clock) -> Self:
        """Open the store, pick up what a predecessor left, and listen.

        Raises the FliqdError that says why it could not.
        """
        daemon = cls(config, clock)
        try:
            await daemon._start()
        except BaseException:
            await daemon.stop()
            raise
        return daemon

    async def stop(self) -> None:
        """Stop in the reverse order of starting; whatever fails, the rest is stopped too."""
        self._stopping = True
        await self._cleanup.aclose()

    async def _start(self) -> None:
        settings = self._config.settings
        state_dir = self._config.state_dir
        try:
            state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as err:
            raise StoreIOError(
                f"the state directory {state_dir} cannot be made: {err.strerror}; set $STATE_DIRECTORY to one that can"
            ) from err
        chance = random.Random(secrets.randbits(256))  # noqa: S311 -- makes ids and spreads retries, guards nothing
        new_ulid = UlidSource(self._clock.now_ms, chance.getrandbits)

        self._store = store = await SqliteStore.open(
            self._config.store_path,
            marker=state_dir / "store.marker",
            durability=settings.store.durability,
            max_bytes=settings.retention.max_db_size,
            new_execution_id=lambda: f"exec_{new_ulid()}",
            on_fatal=self._fail,
        )
        self._cleanup.push_async_callback(store.close)
        left = await store.recover(now_ms=self._clock.now_ms(), reason="fliqd died before the answer came")
        if left:
            log.warning("daemon.recovered", interrupted=left)
        tokens = await self._tokens(store, new_ulid) if settings.auth.mode == "token" else None
        if tokens is not None:
            self._cleanup.push_async_callback(tokens.close)

        dispatch = settings.dispatch
        egress = settings.egress
        gate = Gate(
            EgressPolicy(
                policy=cast("Policy", egress.policy),
                allow=egress.allow,
                deny=egress.deny,
                allow_ports=egress.allow_ports,
            )
        )
        sender = WireSender(judge=gate, per_origin=dispatch.max_in_flight_per_host, total=dispatch.max_in_flight)
        self._cleanup.push_async_callback(sender.close)
        self._dispatcher = dispatcher = Dispatcher(
            store=store,
            sender=sender,
            clock=self._clock,
            signer=self._signer(settings),
            spread=chance.random,
            owner=f"run_{new_ulid()}",
            limits=Limits(
                max_in_flight=dispatch.max_in_flight,
                max_in_flight_per_host=dispatch.max_in_flight_per_host,
                response_capture=dispatch.response_capture,
                response_limit=dispatch.response_limit,
                follow_redirects=egress.follow_redirects,
            ),
            give_back=self._offer_again,
            lookup=lookup_in(self._config.env),
        )
        self._scheduler = scheduler = Scheduler(source=store, clock=self._clock, hand_over=dispatcher.hand_over)
        self._planner = planner = Planner(
            store=store.schedules,
            clock=self._clock,
            new_ulid=new_ulid,
            give_back=self._offer_schedules_again,
        )
        self._schedules_due = Scheduler(
            source=store.schedules, clock=self._clock, hand_over=planner.hand_over, lead_ms=SCHEDULES_LEAD_MS
        )
        self._janitor = Janitor(
            store=store,
            clock=self._clock,
            retention=Retention(
                finished_ms=settings.retention.finished_jobs,
                max_finished=settings.retention.max_finished_jobs,
                max_bytes=settings.retention.max_db_size,
            ),
        )
        self._counting = Counting(store=store, clock=self._clock)
        self._clock.on_step(self._clock_was_set)

        services = await self._services(store, new_ulid, tokens)
        application = api.build(services, max_body=settings.server.max_body)
        new_request_id = request_ids(f"{chance.getrandbits(40):010x}")
        edge = api.Edge(
            application,
            tokens=tokens,
            doorkeeper=Doorkeeper(_own_names(settings)),
            new_request_id=new_request_id,
            closed=self._closed,
        )
        runner = EdgeRunner(
            application,
            edge,
            new_request_id=new_request_id,
            max_connections=_api_connections(dispatch.max_in_flight),
            shutdown_timeout=API_GRACE_S,
        )
        gate.keep_off(await self._listen(runner, settings.server.listen))

        self._cleanup.push_async_callback(runner.cleanup)
        # Started last, since nothing may be sent before the gate knows our own doors; and stopped first, while
        # the API still answers whoever wants to read, and tells the others to come back later.
        self._cleanup.push_async_callback(self._run("dispatcher", dispatcher.run()))
        self._cleanup.push_async_callback(dispatcher.stop, dispatch.shutdown_grace / 1000)
        self._cleanup.push_async_callback(self._run("scheduler", scheduler.run()))
        self._cleanup.push_async_callback(self._run("planner", planner.run()))
        self._cleanup.push_async_callback(self._run("schedules", self._schedules_due.run()))
        self._cleanup.push_async_callback(self._run("janitor", self._janitor.run()))
        gc.collect()
        gc.freeze()  # what lives from now on as long as the daemon need not be looked at again
        log.info(
            "daemon.ready",
            version=__version__,
            loop=loop.name(),
            listen=self.urls,
            store=str(self._config.store_path),
            config=self._config.where,
            pid=os.getpid(),
        )

    async def beat(self) -> None:
        """Return once the store's threads have answered; a moment for what is done now and then."""
        await self._store.ping()
        self._janitor.look()

    def _use(self, settings: Settings) -> None:
        """Take over what can be changed while it runs."""
        self._defaults = defaults_of(settings)

    # What the API asks about the daemon

    async def not_ready(self) -> str | None:
        """Return why it cannot take work, None when it can; asks the disk again if that was full."""
        if self.fatal.done():
            return str(self.fatal.result())
        if (closed := self._closed()) is not None:
            return str(closed)
        if self._store.blocked is not None:
            with contextlib.suppress(UnavailableError):
                await self._store.probe()
        return self._store.blocked

    def status(self) -> dict[str, Any]:
        """Return what an operator wants to know first."""
        now_ms = self._clock.now_ms()
        return {
            "version": __version__,
            "status": "ok" if self._store.blocked is None and not self.fatal.done() else "failing",
            "problem": self._store.blocked,
            "time": format_time(now_ms),
            "started_at": format_time(self._started_ms),
            "uptime_seconds": int(self._clock.monotonic() - self._started),
            "pid": os.getpid(),
            "loop": loop.name(),
            "listen": self.urls,
            "in_flight": self._dispatcher.in_flight,
            "backlog": self._dispatcher.backlog,
            "next_due_at": maybe_time(self._next_due_ms()),
            "store": {
                "kind": "sqlite",
                "path": str(self._config.store_path),
                "bytes": self._store.size_bytes(),
                "sqlite_version": sqlite3.sqlite_version,
            },
            "config": self._config.where,
        }

    def _next_due_ms(self) -> int | None:
        """Return when the next job is due, made already or not."""
        known = (self._scheduler.next_due_ms(), self._schedules_due.next_due_ms())
        return min((due_ms for due_ms in known if due_ms is not None), default=None)

    async def summary(self) -> dict[str, Any]:
        """Return a few numbers and short texts, flat, for dashboards."""
        status = self.status()
        return summarise(status, await self._counting.counts(), self._clock.now_ms())

    def _closed(self) -> UnavailableError | None:
        """Return why no write is taken right now, whatever it is."""
        if self._stopping:
            return UnavailableError("fliqd is shutting down; nothing was changed", "shutting_down")
        now_ms = self._clock.now_ms()
        if now_ms < RELEASED_MS:
            # "In five minutes" by such a clock would be due the moment it is set.
            return UnavailableError(
                f"this machine's clock says {format_time(now_ms)}, before this fliqd was made: it has not been set yet",
                "clock_not_set",
            )
        return None

    # Parts of the start

    async def _tokens(self, store: SqliteStore, new_ulid: Callable[[], str]) -> Tokens:
        state_dir = self._config.state_dir
        key = keyfiles.read_or_make(state_dir / "token.key", lambda: secrets.token_hex(32))
        tokens = Tokens(store=store, clock=self._clock, new_ulid=new_ulid, key=key)
        file = state_dir / ADMIN_TOKEN_FILE
        wanted = not await tokens.load() or keyfiles.is_empty(file)  # emptied by an operator who has lost it
        if wanted:
            # The file first: a token that is in the store alone would lock everybody out.
            token, text = tokens.draft("admin", ALL_SCOPES)
            keyfiles.write(file, text)
            await tokens.add(token)
            log.info("daemon.first_token", file=str(file))
        return tokens

    async def _services(self, store: SqliteStore, new_ulid: Callable[[], str], tokens: Tokens | None) -> api.Services:
        """Make what the API calls, and bring the store in line with what the file declares."""

        def defaults() -> Defaults:
            return self._defaults

        clock = self._clock
        schedules = ScheduleService(store=store.schedules, clock=clock, new_ulid=new_ulid, defaults=defaults)
        buffers = BufferService(store=store, clock=clock, new_ulid=new_ulid, defaults=defaults)
        await buffers.sweep()
        queues = QueueService(store=store.buffers, clock=clock, limit=self._dispatcher.limit_queue)
        await queues.load()
        reconciler = Reconciler(store=store.schedules, schedules=schedules, clock=clock, new_ulid=new_ulid)
        self.reloading = Reloading(config=self._config, reconciler=reconciler, use=self._use)
        await self.reloading.begin()
        return api.Services(
            jobs=Jobs(store=store, clock=clock, new_ulid=new_ulid, defaults=defaults, traffic=self._dispatcher),
            schedules=schedules,
            buffers=buffers,
            queues=queues,
            reloading=self.reloading,
            tokens=tokens,
            system=self,
            clock=clock,
        )

    def _signer(self, settings: Settings) -> Signer | None:
        if not settings.signing.enabled:
            return None
        if settings.signing.secret:
            return Signer(settings.signing.secret)
        file = self._config.state_dir / "signing.secret"
        secret = keyfiles.read_or_make(file, lambda: new_secret(secrets.token_bytes(32)))
        try:
            return Signer(secret)
        except ValueError as err:
            raise StoreIOError(f"{file}: {err}; put back its copy, or delete it to have a new one made") from err

    async def _listen(self, runner: EdgeRunner, places: tuple[Listen, ...]) -> list[tuple[str, int]]:
        """Open every place; return the (address, port) pairs that are ours now."""
        await runner.setup()
        for place in places:
            try:
                self.urls.append(await _open(runner, place))
            except OSError as err:
                await runner.cleanup()
                hint = "is another fliqd running? " if err.errno == errno.EADDRINUSE else ""
                raise FliqdError(
                    f"cannot listen on {place.url}: {os.strerror(err.errno or 0)}; {hint}"
                    "Set server.listen to another address"
                ) from err
        return [(address[0], address[1]) for address in runner.addresses if isinstance(address, tuple)]

    def _run(self, name: str, work: Any) -> Callable[[], Any]:
        """Start a loop that must never end by itself; return what stops it."""
        task = asyncio.create_task(work, name=name)

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (err := task.exception()) is not None:
                self._fail(err if isinstance(err, FliqdError) else FliqdError(f"the {name} died: {err!r}"))
                log.error("daemon.loop_died", loop=name, exc_info=err)

        task.add_done_callback(ended)

        async def stop() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        return stop

    def _clock_was_set(self, step_ms: int) -> None:
        log.warning("clock.set", step_s=step_ms / 1000)
        if step_ms < 0:
            self._planner.clock_set_back()
            # Kept in the set until it is done: the loop itself holds tasks only weakly.
            task = asyncio.create_task(self._pull_retries(-step_ms), name="pull-retries")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pull_retries(self, by_ms: int) -> None:
        try:
            moved = await self._store.pull_retries(by_ms=by_ms, now_ms=self._clock.now_ms())
        except FliqdError as err:
            log.warning("clock.retries_not_moved", error=str(err))
        else:
            log.info("clock.retries_moved", jobs=moved, by_s=by_ms / 1000)

    def _offer_again(self, entries: Sequence[DueEntry]) -> None:
        self._scheduler.offer(entries)

    def _offer_schedules_again(self, entries: Sequence[DueEntry]) -> None:
        self._schedules_due.offer(entries)

    def _fail(self, error: FliqdError) -> None:
        if not self.fatal.done():
            self.fatal.set_result(error)


async def _open(runner: web.AppRunner, place: Listen) -> str:
    """Listen at one place; return its URL, with the port that was picked."""
    if place.path:
        _remove_stale_socket(Path(place.path))
        await web.UnixSite(runner, place.path).start()
        return place.url
    site = web.TCPSite(runner, place.host, place.port)
    await site.start()
    port = runner.addresses[-1][1]
    return replace(place, port=port).url


def _unhandled(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what nobody else took, once a second at most: accepting without a file descriptor left fails in a flood."""
    global _told_at  # noqa: PLW0603 -- one loop, one handler
    if loop.time() - _told_at >= 1.0:
        _told_at = loop.time()
        log.error("loop.unhandled", what=context.get("message"), error=repr(context.get("exception")))


_told_at = 0.0


def _api_connections(max_in_flight: int) -> int:
    """Return how many clients may be connected: each is a file, and deliveries need theirs whatever clients do."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(32, min(10_000, files - 2 * max_in_flight - 64))


def _own_names(settings: Settings) -> Iterator[str]:
    """Yield the names that requests may give as their Host."""
    yield from settings.server.hosts
    if settings.server.public_url:
        yield check_url(settings.server.public_url).host


def _remove_stale_socket(path: Path) -> None:
    """Remove what a predecessor left; the store's lock says that none is alive."""
    if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
        path.unlink()


async def serve(config: Config) -> FliqdError | None:
    """Run until a signal or a fatal error; return the error. A second signal ends the process at once."""
    os.umask(0o077)  # whatever is made is for this user alone
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))  # a connection is a file
    # A thread of the store that has waited for the disk gets its turn ten times sooner than by default, and the
    # garbage collector runs for every ten thousand new objects, not for every 700. Measured together: 5 to 20 %
    # of a create.
    sys.setswitchinterval(0.0005)
    gc.set_threshold(10_000, 20, 50)
    stopping = asyncio.Event()

    def stop() -> None:
        if stopping.is_set():
            os._exit(130)  # asked twice: now. What is open is recovered at the next start
        stopping.set()

    running = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        running.add_signal_handler(name, stop)
    # Where there is a terminal, it has been closed; elsewhere it is how one asks a daemon to read its files again.
    hung_up = asyncio.Event()
    running.add_signal_handler(signal.SIGHUP, stop if sys.stderr.isatty() else hung_up.set)
    clock = SystemClock()
    running.set_exception_handler(_unhandled)
    daemon = await Daemon.start(config, clock)

    async def alive() -> None:
        clock.look()
        await daemon.beat()

    async def reload() -> None:
        while True:
            await hung_up.wait()
            hung_up.clear()
            try:
                await daemon.reloading.reload()
            except FliqdError:
                pass  # the log has it: a wrong file changes nothing
            except Exception:
                log.exception("config.crashed", hint="what was in effect goes on")

    reloader = asyncio.create_task(reload())
    stopped = asyncio.create_task(stopping.wait())
    watchdog = asyncio.create_task(watch(alive))
    await asyncio.wait((stopped, watchdog, reloader, daemon.fatal), return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    reloader.cancel()
    error = daemon.fatal.result() if daemon.fatal.done() else None
    if error is None and watchdog.done():
        error = FliqdError(f"the store did not answer: {watchdog.exception()!r}")
    log.info("daemon.stopping", reason="signal" if error is None else str(error))
    await daemon.stop()
    watchdog.cancel()
    clock.close()
    log.info("daemon.stopped")
    return error
