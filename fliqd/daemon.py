"""Builds everything and connects it; starts it in order, and stops it in the reverse."""

import asyncio
import contextlib
import faulthandler
import gc
import importlib
import math
import os
import random
import resource
import secrets
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, Self, cast

import structlog

from fliqd import RELEASED_MS, __version__, credentials, dialects, heap, keyfiles, loop
from fliqd.api import app as api
from fliqd.api.origin import Doorkeeper
from fliqd.api.server import EdgeRunner
from fliqd.clock import Clock, SystemClock
from fliqd.config import Config
from fliqd.core.drafts import Defaults
from fliqd.core.due_heap import DueEntry
from fliqd.core.egress import EgressPolicy, Policy
from fliqd.core.histogram import Histogram
from fliqd.core.references import Lookup
from fliqd.core.stand_ins import no_keys
from fliqd.core.times import format_time, maybe_time
from fliqd.core.urls import check_url
from fliqd.engine.alerts import Alerts
from fliqd.engine.couriers import Couriers
from fliqd.engine.disk import DiskWatch
from fliqd.engine.dispatcher import Dispatcher, Limits
from fliqd.engine.gate import Gate
from fliqd.engine.janitor import Janitor, Retention
from fliqd.engine.lateness import LatenessWatch
from fliqd.engine.outbox import Messenger
from fliqd.engine.planner import Planner
from fliqd.engine.scheduler import SCHEDULES_LEAD_MS, Scheduler
from fliqd.engine.scrubber import Scrubber
from fliqd.engine.tally import Tally
from fliqd.engine.wire.sender import WireSender
from fliqd.errors import ConfigError, FliqdError, Problem, StoreIOError, UnavailableError
from fliqd.ids import UlidSource, request_ids
from fliqd.listening import Doors, Handed, handed_over
from fliqd.notify import Notifier, status_line
from fliqd.references import lookup_in
from fliqd.reloading import Reloading
from fliqd.service.buffers import BufferService
from fliqd.service.channels import AlertChannels
from fliqd.service.events import Events
from fliqd.service.jobs import Jobs
from fliqd.service.queues import QueueService
from fliqd.service.reconcile import Reconciler
from fliqd.service.schedules import ScheduleService
from fliqd.service.stats import Stats
from fliqd.service.summary import Counted, last_day, summarise
from fliqd.service.tokens import ALL_SCOPES, Tokens
from fliqd.settings import Settings, defaults_of
from fliqd.signing_secrets import SigningSecrets
from fliqd.store.sqlite import files
from fliqd.store.sqlite.store import SqliteStore
from fliqd.tls import Certificate
from fliqd.watchdog import BEAT_S, watch

log = structlog.get_logger()

CLOCK_ALERT_MS: Final = 10_000  # a smaller step makes nothing late that anybody would notice
API_GRACE_S: Final = 5.0  # for requests to the API that are being answered when the daemon stops
CLOSE_S: Final = 10.0  # for the store's last writes, on a slow disk
LAG_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
ROUNDING_S: Final = 0.01  # by as much may a loop's timer be early
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
        self._doors: Doors | None = None
        self._certificate: Certificate | None = None
        self._stopping = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._tally = Tally()
        self._answers: dict[int, int] = {}  # of the API, by status
        self._lag = Histogram(LAG_S)
        self._next_beat = math.inf  # when the loop is to come back to the watchdog
        self._metrics: Any = None  # made when they are first asked for

    @classmethod
    async def start(cls, config: Config, clock: Clock, handed: Sequence[Handed] = ()) -> Self:
        """Open the store, pick up what a predecessor left, and listen, on the sockets that were `handed` over too.

        Raises the FliqdError that says why it could not.
        """
        daemon = cls(config, clock)
        try:
            await daemon._start(handed)
        except BaseException:
            await daemon.stop()
            raise
        return daemon

    async def stop(self) -> None:
        """Stop in the reverse order of starting; whatever fails, the rest is stopped too."""
        if self._doors is not None:
            await self._doors.let_go()  # first, so that who comes from now on is served by our successor
        self._stopping = True
        await self._cleanup.aclose()

    async def _start(self, handed: Sequence[Handed]) -> None:
        settings = self._config.settings
        if settings.server.tls_cert:
            self._certificate = Certificate(settings.server.tls_cert, settings.server.tls_key)
        state_dir = self._state_dir()
        chance = random.Random(secrets.randbits(256))  # noqa: S311 -- makes ids and spreads retries, guards nothing
        new_ulid = UlidSource(self._clock.now_ms, chance.getrandbits)

        self._store = store = await SqliteStore.open(
            self._config.store_path,
            marker=state_dir / files.MARKER,
            durability=settings.store.durability,
            max_bytes=settings.retention.max_db_size,
            new_execution_id=lambda: f"exec_{new_ulid()}",
            new_event_id=lambda: f"evt_{new_ulid()}",
            on_fatal=self._fail,
        )
        self._cleanup.push_async_callback(store.close)
        await self._recover()
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
        signing = SigningSecrets.open(state_dir, settings.signing, os.environ, self._clock)
        sender = WireSender(judge=gate, per_origin=dispatch.max_in_flight_per_host, total=dispatch.max_in_flight)
        self._cleanup.push_async_callback(sender.close)
        signer, owner, lookup = signing.signer, f"run_{new_ulid()}", lookup_in(self._config.env)
        keys = no_keys if tokens is None else tokens.text
        self._dispatcher = dispatcher = Dispatcher(
            store=store,
            sender=sender,
            clock=self._clock,
            signer=signer,
            keys=keys,
            spread=chance.random,
            owner=owner,
            limits=Limits(
                max_in_flight=dispatch.max_in_flight,
                max_in_flight_per_host=dispatch.max_in_flight_per_host,
                response_capture=dispatch.response_capture,
                response_limit=dispatch.response_limit,
                follow_redirects=egress.follow_redirects,
            ),
            give_back=self._offer_again,
            lookup=lookup,
            tally=self._tally,
        )
        couriers = self._alerting(sender, lookup)
        self._lateness = LatenessWatch(
            clock=self._clock, alerts=self._alerts, oldest=dispatcher.oldest, still_waits=dispatcher.still_waits
        )
        self._scheduler = scheduler = Scheduler(source=store, clock=self._clock, hand_over=dispatcher.hand_over)
        self._planner = planner = Planner(
            store=store.schedules,
            clock=self._clock,
            new_ulid=new_ulid,
            give_back=self._offer_schedules_again,
            on_missed=self._alerts.missed,
        )
        self._schedules_due = Scheduler(
            source=store.schedules, clock=self._clock, hand_over=planner.hand_over, lead_ms=SCHEDULES_LEAD_MS
        )
        messenger = Messenger(
            outbox=store.outbox,
            sender=sender,
            clock=self._clock,
            signer=signer,
            keys=keys,
            owner=owner,
            lookup=lookup,
        )
        self._janitor = Janitor(
            store=store,
            clock=self._clock,
            retention=Retention(
                finished_ms=settings.retention.finished_jobs,
                max_finished=settings.retention.max_finished_jobs,
                max_bytes=settings.retention.max_db_size,
            ),
            alerts=self._alerts,
        )
        self._scrubber = Scrubber(store=store, clock=self._clock)
        self._counted = last_day(store, self._clock)
        self._clock.on_step(self._clock_was_set)

        self._events = Events(store, self._clock, new_ulid, kept_ms=settings.retention.events)
        services = await self._services(store, new_ulid, tokens, couriers, signing)
        self.application = application = api.build(
            services, others := dialects.stand_ins(services, settings.stand_ins), max_body=settings.server.max_body
        )
        new_request_id = request_ids(f"{chance.getrandbits(40):010x}")
        public = check_url(settings.server.public_url) if settings.server.public_url else None
        edge = api.Edge(
            application,
            tokens=tokens,
            stand_ins=others,
            doorkeeper=Doorkeeper(_own_names(settings), None if public is None else public.authority),
            new_request_id=new_request_id,
            closed=self._closed,
            answers=self._answers,
            base="" if public is None else public.target.rstrip("/"),
        )
        runner = EdgeRunner(
            application,
            edge,
            new_request_id=new_request_id,
            max_connections=_api_connections(dispatch.max_in_flight),
            shutdown_timeout=API_GRACE_S,
        )
        gate.keep_off(await self._listen(runner, settings, handed, self._certificate))

        self._cleanup.callback(self._events.close)
        # Started last, since nothing may be sent before the gate knows our own doors; and stopped first, while
        # the API still answers whoever wants to read, and tells the others to come back later.
        self._cleanup.push_async_callback(couriers.stop)
        for name, work in (
            ("alerts", self._alerts.run()),
            ("messenger", messenger.run()),
            ("dispatcher", dispatcher.run()),
        ):
            self._cleanup.push_async_callback(self._run(name, work))
        self._cleanup.push_async_callback(dispatcher.stop, dispatch.shutdown_grace / 1000)
        for name, work in (
            ("scheduler", scheduler.run()),
            ("planner", planner.run()),
            ("schedules", self._schedules_due.run()),
            ("janitor", self._janitor.run()),
            ("scrubber", self._scrubber.run()),
        ):
            self._cleanup.push_async_callback(self._run(name, work))
        heap.settle()
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
        time = asyncio.get_running_loop().time
        if (lag_s := time() - self._next_beat) > -ROUNDING_S:  # earlier is not the watchdog's doing
            self._lag.add(max(0.0, lag_s))
        await self._store.ping()
        self._janitor.look()
        if self._certificate is not None:
            self._certificate.look()
        self._disk.look(self._store.blocked)
        await self._lateness.look()
        self._next_beat = time() + BEAT_S

    def reload_certificate(self) -> None:
        """Read the certificate again, if there is one, whether or not its files seem to have changed."""
        if self._certificate is not None:
            self._certificate.reload()

    def in_brief(self) -> str:
        """Return how it goes, in the line that `systemctl status` shows."""
        if self._stopping:
            return f"stopping, {self._dispatcher.in_flight} in flight"
        return status_line(
            next_due_ms=self._scheduler.next_due_ms(),
            now_ms=self._clock.now_ms(),
            in_flight=self._dispatcher.in_flight,
            problem=self._store.blocked,
        )

    async def _render_metrics(self) -> bytes:
        """Return the metrics; what writes them is imported by the first who asks, beside the loop."""
        if self._metrics is None:
            module = await asyncio.to_thread(importlib.import_module, "fliqd.metrics")
            self._metrics = module.Metrics(
                store=self._store,
                traffic=self._dispatcher,
                window=self._scheduler,
                tally=self._tally,
                lag=self._lag,
                answers=self._answers,
                events=self._events,
                limit=self._config.settings.dispatch.max_in_flight,
            )
        rendered: bytes = self._metrics.render(await self._depths.get(), await self._counted.get())
        return rendered

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
            "problem": str(self.fatal.result()) if self.fatal.done() else self._store.blocked,
            "time": format_time(now_ms),
            "started_at": format_time(self._started_ms),
            "uptime_seconds": int(self._clock.monotonic() - self._started),
            "pid": os.getpid(),
            "loop": loop.name(),
            "listen": self.urls,
            "tls": self._certificate.status() if self._certificate is not None else None,
            "in_flight": self._dispatcher.in_flight,
            "backlog": self._dispatcher.backlog,
            "next_due_at": maybe_time(self._next_due_ms()),
            "store": {
                "kind": "sqlite",
                "path": str(self._config.store_path),
                "bytes": self._store.size_bytes(),
                "sqlite_version": sqlite3.sqlite_version,
                "checked_at": maybe_time(self._scrubber.checked_ms),
            },
            "config": self.reloading.file,
        }

    def _next_due_ms(self) -> int | None:
        """Return when the next job is due, made already or not."""
        known = (self._scheduler.next_due_ms(), self._schedules_due.next_due_ms())
        return min((due_ms for due_ms in known if due_ms is not None), default=None)

    async def summary(self) -> dict[str, Any]:
        """Return a few numbers and short texts, flat, for dashboards."""
        status = self.status()
        counts = await self._counted.get()
        return summarise(status, counts, now_ms=self._clock.now_ms(), next_run_ms=self._schedules_due.next_due_ms())

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

    def _state_dir(self) -> Path:
        """Return the state directory, made if need be."""
        state_dir = self._config.state_dir
        try:
            state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as err:
            raise StoreIOError(
                f"the state directory {state_dir} cannot be made: {err.strerror}; set $STATE_DIRECTORY to one that can"
            ) from err
        return state_dir

    async def _recover(self) -> None:
        """Pick up what a predecessor had under way when it died."""
        now_ms = self._clock.now_ms()
        left = await self._store.attempts.recover(now_ms=now_ms, reason="fliqd died before the answer came")
        untold = await self._store.outbox.hand_back(now_ms=now_ms)
        self._tally.add_interrupted(left)
        if left or untold:
            log.warning("daemon.recovered", interrupted=left, webhooks=untold)

    def _alerting(self, sender: WireSender, lookup: Lookup) -> Couriers:
        """Build what notices that something goes wrong; return what has it told."""
        couriers = Couriers(store=self._store.alerts, sender=sender, clock=self._clock, lookup=lookup)
        self._alerts = Alerts(store=self._store.alerts, clock=self._clock, couriers=couriers)
        self._store.on_ended(self._alerts.ended)
        self._disk = DiskWatch(self._config.store_path, self._alerts)
        return couriers

    async def _tokens(self, store: SqliteStore, new_ulid: Callable[[], str]) -> Tokens:
        state_dir = self._config.state_dir
        key = keyfiles.read_or_make(state_dir / "token.key", lambda: secrets.token_hex(32))
        tokens = Tokens(store=store.tokens, clock=self._clock, new_ulid=new_ulid, key=key)
        file = state_dir / ADMIN_TOKEN_FILE
        there_are_some = await tokens.load()
        if (given := credentials.read("admin-token", os.environ)) is not None:
            try:
                tokens.trust(given)
            except ValueError as err:
                raise ConfigError([Problem("credential admin-token", str(err))]) from err
            there_are_some = True
        wanted = not there_are_some or keyfiles.is_empty(file)  # emptied by an operator who has lost it
        if wanted:
            # The file first: a token that is in the store alone would lock everybody out.
            token, text = tokens.draft("admin", ALL_SCOPES)
            keyfiles.write(file, text)
            await tokens.add(token)
            log.info("daemon.first_token", file=str(file))
        return tokens

    async def _services(
        self,
        store: SqliteStore,
        new_ulid: Callable[[], str],
        tokens: Tokens | None,
        couriers: Couriers,
        signing: SigningSecrets,
    ) -> api.Services:
        """Make what the API calls, and bring the store in line with what the file declares."""

        def defaults() -> Defaults:
            return self._defaults

        clock = self._clock
        schedules = ScheduleService(store=store.schedules, clock=clock, new_ulid=new_ulid, defaults=defaults)
        buffers = BufferService(store=store, clock=clock, new_ulid=new_ulid, defaults=defaults)
        queues = QueueService(store=store.buffers, clock=clock, limit=self._dispatcher.limit_queue)
        await queues.load()
        self._depths = Counted(queues.depths, clock)
        reconciler = Reconciler(store=store, schedules=schedules, queues=queues, clock=clock, new_ulid=new_ulid)
        self.reloading = Reloading(config=self._config, reconciler=reconciler, use=self._use)
        await self.reloading.begin()
        return api.Services(
            jobs=Jobs(store=store, clock=clock, new_ulid=new_ulid, defaults=defaults, traffic=self._dispatcher),
            schedules=schedules,
            buffers=buffers,
            queues=queues,
            outbox=store.outbox,
            channels=AlertChannels(store=store.alerts, clock=clock, new_ulid=new_ulid, send_test=couriers.test),
            signing=signing,
            events=self._events,
            stats=Stats(store, clock),
            metrics=self._render_metrics,
            reloading=self.reloading,
            tokens=tokens,
            system=self,
            clock=clock,
            store_id=store.id,
        )

    async def _listen(
        self, runner: EdgeRunner, settings: Settings, handed: Sequence[Handed], certificate: Certificate | None
    ) -> list[tuple[str, int]]:
        """Open every place; return the (address, port) pairs that are ours now."""
        await runner.setup()
        self._cleanup.push_async_callback(runner.cleanup)
        tls = None if certificate is None else certificate.context
        self._doors = doors = Doors(runner, tls, socket_mode=settings.server.listen_mode)
        await doors.open(settings.server.listen, handed, anyone=settings.auth.mode == "none")
        self.urls = doors.urls
        return doors.own

    def _run(self, name: str, work: Any) -> Callable[[], Any]:
        """Start a loop that must never end by itself; return what stops it."""
        task = asyncio.create_task(work, name=name)

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (err := task.exception()) is not None:
                if isinstance(err, FliqdError):
                    self._fail(err)  # which says why, and what to do
                    return
                self._fail(FliqdError(f"the {name} died: {err!r}"))
                log.error("daemon.loop_died", loop=name, exc_info=err)

        task.add_done_callback(ended)

        async def stop() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        return stop

    def _clock_was_set(self, step_ms: int) -> None:
        log.warning("clock.set", step_s=step_ms / 1000)
        if abs(step_ms) >= CLOCK_ALERT_MS:
            self._alerts.clock_was_set(step_ms)
        if step_ms < 0:
            self._planner.clock_set_back()
            # Kept in the set until it is done: the loop itself holds tasks only weakly.
            task = asyncio.create_task(self._pull_retries(-step_ms), name="pull-retries")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pull_retries(self, by_ms: int) -> None:
        try:
            moved = await self._store.attempts.pull_retries(by_ms=by_ms, now_ms=self._clock.now_ms())
            await self._store.outbox.pull(by_ms=by_ms, now_ms=self._clock.now_ms())
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


def _prepare_process() -> None:
    """Set what is the process's own, before anything is opened."""
    os.umask(0o077)  # whatever is made is for this user alone
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))  # a connection is a file
    # A thread of the store that has waited for the disk gets its turn ten times sooner than by default, and the
    # garbage collector runs for every ten thousand new objects, not for every 700. Measured together: 5 to 20 %
    # of a create.
    sys.setswitchinterval(0.0005)
    gc.set_threshold(10_000, 20, 50)


async def serve(config: Config) -> FliqdError | None:
    """Run until a signal or a fatal error; return the error. A second signal ends the process at once."""
    _prepare_process()
    stopping = asyncio.Event()

    def stop() -> None:
        if stopping.is_set():
            os._exit(130)  # asked twice: now. What is open is recovered at the next start
        stopping.set()

    faulthandler.enable(sys.__stderr__ or sys.stderr)  # systemd's watchdog ends us with SIGABRT: show where we stood
    running = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        running.add_signal_handler(name, stop)
    # Where there is a terminal, it has been closed; elsewhere it is how one asks a daemon to read its files again.
    hung_up = asyncio.Event()
    running.add_signal_handler(signal.SIGHUP, stop if sys.stderr.isatty() else hung_up.set)
    clock = SystemClock()
    running.set_exception_handler(_unhandled)
    notifier = Notifier(os.environ)
    daemon = await Daemon.start(config, clock, handed_over(os.environ))

    async def reload() -> None:
        while True:
            await hung_up.wait()
            hung_up.clear()
            notifier.reloading()
            daemon.reload_certificate()
            try:
                await daemon.reloading.reload()
            except FliqdError:
                pass  # the log has it: a wrong file changes nothing
            except Exception:
                log.exception("config.crashed", hint="what was in effect goes on")
            notifier.ready(daemon.in_brief())

    async def alive() -> None:
        clock.look()
        await daemon.beat()
        notifier.beat(daemon.in_brief())  # the first says READY: store and loop have shown that they work

    reloader = asyncio.create_task(reload())
    stopped = asyncio.create_task(stopping.wait())
    watchdog = asyncio.create_task(watch(alive, within_s=notifier.watchdog_s))
    await asyncio.wait((stopped, watchdog, reloader, daemon.fatal), return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    error = daemon.fatal.result() if daemon.fatal.done() else None
    for task, what in ((watchdog, "the store did not answer"), (reloader, "a reload died")):
        if error is None and task.done():
            error = FliqdError(f"{what}: {task.exception()!r}")
    (log.info if error is None else log.error)("daemon.stopping", reason="signal" if error is None else str(error))
    notifier.stopping(config.settings.dispatch.shutdown_grace / 1000 + API_GRACE_S + CLOSE_S)
    reloader.cancel()
    await daemon.stop()
    watchdog.cancel()
    clock.close()
    log.info("daemon.stopped")
    return error
