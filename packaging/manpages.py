"""Write fliqd(1) from the commands and fliqd.toml(5) from the settings and their example: `manpages.py DIRECTORY`."""

import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

import click

from fliqd import RELEASED_MS, __version__
from fliqd.cli.main import cli
from fliqd.settings import SECTIONS

EXAMPLE = Path(__file__).parent.parent / "config.example.toml"
DATE = f"{datetime.fromtimestamp(RELEASED_MS / 1000, UTC):%Y-%m-%d}"
KEY = re.compile(r"(?P<key>[a-z_]+) = (?P<value>.*?)(?:\s+#\s*(?P<comment>.*))?")

EXIT_CODES = {
    0: "Done.",
    1: "Refused, or failed; for serve: it cannot listen, or a part of it died.",
    2: "Wrong usage.",
    4: "There is no such thing.",
    5: "Its state does not allow it.",
    65: "serve: the store is damaged, foreign, newer than this program or unexpectedly empty.",
    69: "The daemon cannot be reached.",
    74: "serve: the disk failed.",
    75: "serve: another daemon has the store.",
    77: "Not allowed: no token, a wrong one, or one that may not do this.",
    78: "The configuration is wrong.",
}
FILES = {
    "/etc/fliqd/config.toml": "The configuration, unless --config or $FLIQD_CONFIG name another; ./fliqd.toml and"
    " $XDG_CONFIG_HOME/fliqd/config.toml come before it.",
    "/var/lib/fliqd": "The state: the store fliqd.db, the first token admin.token, keys. $STATE_DIRECTORY names another"
    " place; for users who are not root it is $XDG_STATE_HOME/fliqd or ~/.local/state/fliqd.",
}
ENVIRONMENT = {
    "FLIQD_URL": "Where the daemon is, for all commands that talk to it.",
    "FLIQD_TOKEN": "The token to show there.",
    "FLIQD_CONFIG": "The configuration to read.",
    "FLIQD_SECTION__KEY": "Overrides a setting: FLIQD_SERVER__LISTEN=127.0.0.1:4000.",
    "STATE_DIRECTORY, CREDENTIALS_DIRECTORY, NOTIFY_SOCKET, WATCHDOG_USEC, LISTEN_FDS": "Set by systemd(1) for serve.",
    "NO_COLOR": "Turns colours off.",
}


def main(directory: Path) -> None:
    """Write both pages."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "fliqd.1").write_text(program_page(), encoding="utf-8")
    (directory / "fliqd.toml.5").write_text(settings_page(EXAMPLE.read_text(encoding="utf-8")), encoding="utf-8")


def program_page() -> str:
    """Return fliqd(1)."""
    context = click.Context(cli, info_name="fliqd")
    lines = [
        *_head("fliqd", 1),
        ".SH NAME",
        r"fliqd \- call HTTP endpoints on time",
        ".SH SYNOPSIS",
        r"\fBfliqd\fR \fICOMMAND\fR [\fIARGUMENTS\fR]",
        ".SH DESCRIPTION",
        *_paragraphs(cli.help or ""),
        ".SH COMMANDS",
    ]
    for path, command, inner in leaves(cli, context):
        lines += [f".SS {_quoted(f'{path} ' + ' '.join(command.collect_usage_pieces(inner)))}"]
        lines += _paragraphs(command.help or "")
        for record in (param.get_help_record(inner) for param in command.get_params(inner)):
            if record is not None and record[1] and record[0] != "--help":
                lines += [".TP", f".B {_roff(record[0])}", *_text(record[1])]
        lines += [".PP", *_paragraphs(command.epilog or "")]
    lines += [".SH EXIT STATUS", *(line for code, text in EXIT_CODES.items() for line in _entry(str(code), text))]
    lines += [".SH ENVIRONMENT", *(line for name, text in ENVIRONMENT.items() for line in _entry(name, text))]
    lines += [".SH FILES", *(line for name, text in FILES.items() for line in _entry(name, text))]
    lines += [".SH SEE ALSO", r".BR fliqd.toml (5),", r".BR systemctl (1)"]
    return "\n".join(lines) + "\n"


def leaves(group: click.Group, context: click.Context) -> Iterator[tuple[str, click.Command, click.Context]]:
    """Yield every command with its full name."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None  # noqa: S101 -- it was listed
        inner = click.Context(command, parent=context, info_name=name)
        if isinstance(command, click.Group):
            yield from leaves(command, inner)
        else:
            yield inner.command_path, command, inner


def settings_page(example: str) -> str:
    """Return fliqd.toml(5)."""
    lines = [
        *_head("fliqd.toml", 5),
        ".SH NAME",
        r"fliqd.toml \- the configuration of fliqd",
        ".SH DESCRIPTION",
        r"A TOML file; \fBfliqd\fR(1) says where it is looked for.",
    ]
    preamble, notes, rest = read_example(example)
    lines += [line for text in preamble for line in (".PP", *_text(text))]
    for section, kind in SECTIONS.items():
        lines += [f".SH [{section}]", *_text(_capital((kind.__doc__ or "").partition(": ")[2]))]
        if section in notes:
            lines += [".PP", *_text(f"{_capital(notes[section])}.")]
        for key in (key.name for key in fields(kind)):
            value, note = notes.get(f"{section}.{key}", "").partition("\0")[::2]
            lines += [".TP", f".B {_quoted(f'{key} = {value}')}", *(_text(note) or [r"\&"])]
    if rest:
        lines += [".SH EXAMPLES", ".nf", *(_roff(line) for line in rest), ".fi"]
    lines += [".SH FILES", *_entry("/etc/fliqd/config.toml", "Where the packages put it.")]
    lines += [".SH SEE ALSO", r".BR fliqd (1)"]
    return "\n".join(lines) + "\n"


def read_example(text: str) -> tuple[list[str], dict[str, str], list[str]]:
    """Take the example apart: the words at its top, a note for each section and key, and all that is neither."""
    preamble: list[str] = []
    notes: dict[str, str] = {}
    rest: list[str] = []
    section = last = ""
    for line in text.splitlines():
        if rest or line.startswith(("[[", "# [[", "#[[")):
            rest.append(line)
        elif heading := re.fullmatch(r"\[([a-z]+)\](?:\s+#\s*(.*))?", line):
            section = last = heading[1]
            notes[section] = heading[2] or ""
        elif not section:
            preamble.append(line.lstrip("# "))
        elif pair := KEY.fullmatch(line):
            last = f"{section}.{pair['key']}"
            notes[last] = f"{pair['value']}\0{pair['comment'] or ''}"
        elif more := re.fullmatch(r"\s+#\s*(.*)", line):
            notes[last] += f" {more[1]}"
    return [line for line in preamble if line], {key: note for key, note in notes.items() if note}, rest


def _head(name: str, section: int) -> list[str]:
    return [f'.TH {name.upper()} {section} {DATE} "fliqd {__version__}"', ".nh", ".ad l"]


def _entry(name: str, text: str) -> list[str]:
    return [".TP", f".B {_roff(name)}", *_text(text)]


def _text(text: str) -> list[str]:
    return [_roff(line) for line in textwrap.wrap(text, 70, break_long_words=False, break_on_hyphens=False)]


def _paragraphs(text: str) -> list[str]:
    r"""Write a help text; what follows a `\b` is kept line by line, as click does."""
    lines: list[str] = []
    for part in re.split(r"\n\s*\n", text.strip("\n")):
        if part.startswith("\b\n"):
            title, *kept = part.removeprefix("\b\n").split("\n")
            lines += [
                ".PP",
                _roff(title.strip()),
                ".RS 4",
                ".nf",
                *(_roff(line.strip()) for line in kept),
                ".fi",
                ".RE",
            ]
        else:
            lines += [".PP", *_text(part)]
    return lines[1:] if lines[:1] == [".PP"] else lines


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _quoted(text: str) -> str:
    return '"' + _roff(text).replace('"', "\\(dq") + '"'


def _roff(text: str) -> str:
    text = text.replace("\\", r"\e").replace("-", r"\-").replace("…", "...")
    return rf"\&{text}" if text.startswith((".", "'")) else text


if __name__ == "__main__":
    main(Path(sys.argv[1]))
