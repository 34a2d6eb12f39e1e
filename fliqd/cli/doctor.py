"""`fliqd doctor`: what is wrong around the daemon, and what to do about it."""

import os
from typing import TYPE_CHECKING, Any, Final

import click

from fliqd.cli.connect import connect
from fliqd.cli.output import JSON, JSONL, clean, example, show_document, show_documents, with_output, write
from fliqd.errors import ConfigError, FliqdError

if TYPE_CHECKING:
    from fliqd.doctor.finding import Finding

ANSWER_S: Final = 5.0


@click.command("doctor", epilog=example("fliqd doctor", "fliqd doctor --output json | jq '.findings[] | select(.do)'"))
@click.option("--config", metavar="FILE", help="The daemon's configuration.")
@click.option("--url", "daemon", envvar="FLIQD_URL", metavar="URL", help="[$FLIQD_URL] Where the daemon is.")
@click.option("--token", envvar="FLIQD_TOKEN", metavar="TOKEN", help="[$FLIQD_TOKEN] Else that of the token file.")
@with_output
def command(config: str | None, daemon: str | None, token: str | None, output: str) -> None:
    """Look at everything around the daemon that can be wrong, whether it runs or not.

    Versions and their known faults, clock, disk, permissions, network, limits: each with what to do. Exits with 1
    when something is wrong; a warning is for you to judge. Run it as root or as the daemon's user. No secret is shown.
    """
    findings = _examine(config, daemon, token)
    bad = sum(finding.level == "wrong" for finding in findings)
    shown = [{"check": one.check, "level": str(one.level), "says": one.says, "do": one.do} for one in findings]
    if output == JSON:
        show_document({"ok": not bad, "findings": shown}, JSON)
    elif output == JSONL:
        show_documents(shown, JSONL)
    else:
        for finding in findings:
            write(f"{finding.level:<8}  {finding.check}: {clean(finding.says)}\n")
            if finding.do:
                write(f"{'':<8}  → {clean(finding.do)}\n")
    if bad:
        raise SystemExit(1)


def _examine(config: str | None, daemon: str | None, token: str | None) -> "list[Finding]":
    from fliqd import config as configuration  # noqa: PLC0415 -- help needs none of these
    from fliqd.doctor.examine import examine  # noqa: PLC0415 -- likewise
    from fliqd.doctor.finding import Subject, wrong  # noqa: PLC0415 -- likewise

    try:
        loaded = configuration.load(config, os.environ)
    except ConfigError as err:
        do = "mend it; `fliqd config check` says the same. All else is looked at once it can be read"
        return [wrong("configuration", str(problem), do) for problem in err.problems]
    status, why = _status(config, daemon, token)
    return list(examine(Subject(loaded, status, why)))


def _status(config: str | None, daemon: str | None, token: str | None) -> tuple[dict[str, Any] | None, str]:
    try:
        client = connect(daemon, token, config).hurried(ANSWER_S)
        return client.get("/status", expects="uptime_seconds"), ""
    except (FliqdError, click.UsageError) as err:
        return None, err.format_message() if isinstance(err, click.UsageError) else str(err)
