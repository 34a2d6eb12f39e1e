"""`fliqd alerts update`, `enable`, `disable`, `delete` and `test`."""

import json
from typing import Any

import click

from fliqd.cli.alert_fields import CHANNEL, channel_path, find, sentence
from fliqd.cli.client import Client
from fliqd.cli.connect import with_client
from fliqd.cli.errors import RefusedError
from fliqd.cli.output import TABLE, example, say, show_document, with_output, write
from fliqd.cli.steps import Step, each
from fliqd.errors import FliqdError


@click.command("update", epilog=example("fliqd alerts update on-call --target https://hooks.slack.com/services/…"))
@click.argument("channel", metavar="ID|NAME")
@click.option("--target", metavar="URL", help="Where alerts are sent to.")
@CHANNEL.options(update=True)
@with_client
@with_output
def update(client: Client, channel: str, output: str, **fields: Any) -> None:
    """Change a channel: the options replace what was asked for, the rest stays.

    What the configuration file declares is changed there: a conflict (5).
    """
    given = {name: value for name, value in fields.items() if value is not None}
    if not given:
        raise click.UsageError("say what to change; see --help")
    channel_id = find(client, channel)["id"]
    try:
        client.call("PATCH", channel_path(channel_id), CHANNEL.document(given, update=True))
    except RefusedError as err:
        raise CHANNEL.in_options(err) from err
    changed = find(client, channel_id)
    if output == TABLE:
        write(f"{channel_id}\n")
        say(sentence(changed))
    else:
        show_document(changed, output)


@click.command("enable", epilog=example("fliqd alerts enable on-call"))
@click.argument("channels", metavar="ID|NAME…", nargs=-1, required=True)
@with_client
@with_output
def enable(client: Client, channels: tuple[str, ...], output: str) -> None:
    """Tell channels what happens from now on. Prints the id of each."""
    each(client, channels, _set(enabled=True), output, sentence)


@click.command("disable", epilog=example("fliqd alerts disable on-call"))
@click.argument("channels", metavar="ID|NAME…", nargs=-1, required=True)
@with_client
@with_output
def disable(client: Client, channels: tuple[str, ...], output: str) -> None:
    """Tell channels nothing until they are enabled, what waits for them included. Prints the id of each."""
    each(client, channels, _set(enabled=False), output, sentence)


@click.command("delete", epilog=example("fliqd alerts delete on-call"))
@click.argument("channels", metavar="ID|NAME…", nargs=-1, required=True)
@with_client
@with_output
def delete(client: Client, channels: tuple[str, ...], output: str) -> None:
    """Delete channels; prints the id of each. What the configuration file declares is taken out there (5)."""
    each(client, channels, _delete, output, lambda _channel: "deleted")


@click.command("test", epilog=example("fliqd alerts test on-call"))
@click.argument("channels", metavar="ID|NAME…", nargs=-1, required=True)
@with_client
@with_output
def test(client: Client, channels: tuple[str, ...], output: str) -> None:
    """Send a test to channels, enabled or not. Prints the id of each that took it; exits with 1 if one did not."""
    each(client, channels, _test, output, lambda tested: f"it answered {tested['status_code']}")


def _set(*, enabled: bool) -> Step:
    def step(client: Client, given: str) -> dict[str, Any]:
        channel = find(client, given)
        client.call("PATCH", channel_path(channel["id"]), json.dumps({"enabled": enabled}).encode())
        return {**channel, "enabled": enabled}

    return step


def _delete(client: Client, given: str) -> dict[str, Any]:
    channel_id = find(client, given)["id"]
    client.call("DELETE", channel_path(channel_id))
    return {"id": channel_id, "status": "deleted"}


def _test(client: Client, given: str) -> dict[str, Any]:
    channel_id = find(client, given)["id"]
    tested = client.call("POST", channel_path(channel_id, "/test"), expects="delivered").document
    if not tested["delivered"]:
        raise FliqdError(f"{given} took no test: {tested['error']}")
    return {"id": channel_id, **tested}
