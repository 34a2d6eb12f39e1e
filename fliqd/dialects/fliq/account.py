"""What Fliq has for an account: channels, statistics, credits, tokens, the signing secret, webhooks told."""

from typing import Final

from aiohttp import web

from fliqd import __version__
from fliqd.api.app import Services
from fliqd.api.auth import require_admin
from fliqd.api.documents import write_cursor
from fliqd.api.requests import path_id
from fliqd.api.stats import BALANCE, usage_view
from fliqd.api.tokens import MAX_NAME
from fliqd.api.webhooks import CURSOR as NOTICE_CURSOR
from fliqd.core.channels import MOST_CHANNELS, ChannelDraft
from fliqd.dialects.fliq import asking
from fliqd.dialects.fliq.answers import answer, done
from fliqd.dialects.fliq.documents import ChannelState, Checkout, NewChannel, NewToken, channel_draft
from fliqd.dialects.fliq.views import channel_view, maybe, notice_view, stats_view, time, token_view
from fliqd.errors import InvalidError, Problem
from fliqd.service.channels import AskedChannel
from fliqd.service.tokens import DEFAULT_SCOPES, Tokens
from fliqd.store.base import DeliveryFilter

# There are no credits here. What reads them may not find that they run out.
PLAN: Final = "paid"  # of the two that there are, the one without a limit for a day
PER_DOLLAR: Final = 100_000
USUAL_NOTICES: Final = 25


class AccountCalls:
    """The calls about all that is no job, schedule or buffer."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def add_routes(self, router: web.UrlDispatcher, prefix: str) -> None:
        """Add the routes under `prefix`; those of tokens where any are asked for."""
        channel = f"{prefix}/alerts/{{id}}"
        router.add_post(f"{prefix}/alerts", self.create_channel)
        router.add_get(f"{prefix}/alerts", self.list_channels)
        router.add_get(channel, self.get_channel)
        router.add_patch(channel, self.update_channel)
        router.add_delete(channel, self.delete_channel)
        router.add_get(f"{prefix}/stats/jobs", self.job_stats)
        router.add_get(f"{prefix}/stats/usage", self.usage)
        router.add_get(f"{prefix}/billing/balance", self.balance)
        router.add_post(f"{prefix}/billing/checkout", self.checkout)
        router.add_get(f"{prefix}/billing/transactions", self.transactions)
        router.add_get(f"{prefix}/signing-secret", self.secret)
        router.add_post(f"{prefix}/signing-secret/rotate", self.rotate)
        router.add_get(f"{prefix}/webhooks/deliveries", self.deliveries)
        router.add_get(f"{prefix}/health", self.health)
        if self._services.tokens is not None:
            TokenCalls(self._services.tokens).add_routes(router, prefix)

    # Channels

    async def create_channel(self, request: web.Request) -> web.Response:
        asked, problems, _ = await asking.read(request, NewChannel)
        created = await self._services.channels.create(AskedChannel(channel_draft(asked, problems), problems))
        return answer(channel_view(created, secrets=True), status=201)

    async def list_channels(self, request: web.Request) -> web.Response:
        found, _ = self._services.channels.page(before_pk=None, limit=MOST_CHANNELS)
        secrets = asking.sees_secrets(request)
        return answer({"channels": [channel_view(channel, secrets=secrets) for channel in found]})

    async def get_channel(self, request: web.Request) -> web.Response:
        channel = self._services.channels.get(path_id(request, "channel"))
        return answer(channel_view(channel, secrets=asking.sees_secrets(request)))

    async def update_channel(self, request: web.Request) -> web.Response:
        channel_id = path_id(request, "channel")
        asked, problems, _ = await asking.read(request, ChannelState)
        if not isinstance(asked.enabled, bool) and not problems:
            problems.append(Problem("enabled", "is required, true or false"))
        await self._services.channels.update(channel_id, AskedChannel(ChannelDraft(enabled=asked.enabled), problems))
        return done()

    async def delete_channel(self, request: web.Request) -> web.Response:
        await self._services.channels.delete(path_id(request, "channel"))
        return done()

    # Statistics and credits

    async def job_stats(self, request: web.Request) -> web.Response:
        days = asking.days(request)
        summary, _ = await self._services.stats.jobs(days)
        return answer(stats_view(summary, days))

    async def usage(self, request: web.Request) -> web.Response:
        days = asking.days(request)
        return answer(usage_view(await self._services.stats.usage(days), days, PLAN))

    async def balance(self, _request: web.Request) -> web.Response:
        return answer({"balance": BALANCE, "plan": PLAN, "daily_limit": BALANCE, "credits_per_dollar": PER_DOLLAR})

    async def checkout(self, request: web.Request) -> web.Response:
        """Answer where to pay: nowhere, so it is where one sees that there is enough."""
        asked, problems, _ = await asking.read(request, Checkout)
        if asked.credits < 1 and not problems:
            problems.append(Problem("credits", "must be 1 or more"))
        if problems:
            raise InvalidError(problems)
        return answer({"url": str(request.url.with_path(request.path.replace("checkout", "balance")).with_query(None))})

    async def transactions(self, request: web.Request) -> web.Response:
        asking.limit(request)
        return answer({"transactions": [], "next_cursor": None})

    # What requests are signed with, and what was told

    async def secret(self, request: web.Request) -> web.Response:
        require_admin(request)
        shown = self._services.signing.show()
        return _secret(shown.secret, shown.created_ms)

    async def rotate(self, request: web.Request) -> web.Response:
        """Sign with a new secret, and no longer with the old one."""
        require_admin(request)
        shown = await self._services.signing.rotate(0)
        return _secret(shown.secret, shown.created_ms)

    async def deliveries(self, request: web.Request) -> web.Response:
        part = asking.part(request, NOTICE_CURSOR, USUAL_NOTICES)
        found, more = await self._services.outbox.page(DeliveryFilter(), before_pk=part.before_pk, limit=part.limit)
        next_pk = found[-1].pk if more else None
        views = [notice_view(delivery) for delivery in found]
        return answer({"deliveries": views, "next_cursor": write_cursor(next_pk, NOTICE_CURSOR)})

    async def health(self, _request: web.Request) -> web.Response:
        return answer({"status": "ok", "version": __version__, "time": time(self._services.clock.now_ms())})


class TokenCalls:
    """The calls about tokens, for those with the scope admin."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def add_routes(self, router: web.UrlDispatcher, prefix: str) -> None:
        """Add the routes under `prefix`."""
        router.add_get(f"{prefix}/tokens", self.list)
        router.add_post(f"{prefix}/tokens", self.create)
        router.add_delete(f"{prefix}/tokens/{{id}}", self.revoke)

    async def list(self, request: web.Request) -> web.Response:
        require_admin(request)
        return answer([token_view(token, self._tokens.text(token.id)) for token in self._tokens.list()])

    async def create(self, request: web.Request) -> web.Response:
        require_admin(request)
        asked, problems, _ = await asking.read(request, NewToken)
        if not 1 <= len(asked.name) <= MAX_NAME and not problems:
            problems.append(Problem("name", f"expected 1 to {MAX_NAME} characters"))
        if problems:
            raise InvalidError(problems)
        token, text = await self._tokens.create(asked.name, DEFAULT_SCOPES)
        return answer(token_view(token, text) | {"token": text}, status=201)

    async def revoke(self, request: web.Request) -> web.Response:
        require_admin(request)
        await self._tokens.revoke(path_id(request, "token"))
        return done()


def _secret(secret: str | None, created_ms: int | None) -> web.Response:
    return answer({"secret": secret, "created_at": maybe(created_ms)}, headers={"Cache-Control": "no-store"})
