"""From a TOML file and the environment to settings and entries: everything that is wrong is said at once."""

import difflib
import os
import time
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from fliqd import declarations
from fliqd.core.reconciling import Declarations
from fliqd.core.references import Noting, expand_all, has_references
from fliqd.declarations import NOTHING
from fliqd.errors import ConfigError, Problem
from fliqd.references import lookup_in
from fliqd.settings import SECTIONS, Settings, defaults_of

ENV_PREFIX: Final = "FLIQD_"
MASK: Final = "***"
MOST_BYTES: Final = 16 << 20  # ten thousand entries of more than a kilobyte
MOST_LEVELS: Final = 100  # of values inside of values


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A setting as a person may see it: never a secret, nor what a reference stands for."""

    key: str
    value: object
    origin: str  # "default", "file" or the name of a variable


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Settings, what the file declares, where they came from, and where the daemon keeps its files."""

    settings: Settings
    file: Path | None  # None: no file was found, which is fine
    state_dir: Path
    declared: Declarations = NOTHING
    shown: tuple[Shown, ...] = ()
    explicit: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def store_path(self) -> Path:
        """Return the store's file; a relative path is under the state directory."""
        return self.state_dir / self.settings.store.path

    @property
    def where(self) -> str | None:
        """Return the file's whole path, which says the same to somebody in another directory."""
        return None if self.file is None else str(self.file.absolute())

    def again(self, text: str | None = None) -> "Config":
        """Read the configuration anew, or `text` in its place; raise ConfigError. A file that is gone is an error."""
        if text is not None:
            return _loaded(_toml(text, "the file"), self.file, self.explicit, self.env)
        if self.file is None:
            return load(self.explicit, self.env)
        if self.file.exists() and not self.file.is_file():
            # A pipe has nothing more to give, which would look like an empty file, or keeps a reader waiting for ever.
            raise ConfigError([Problem(str(self.file), "is no regular file, so it cannot be read again")])
        return _loaded(_read(self.file), self.file, self.explicit, self.env)


def load(explicit: str | None, env: Mapping[str, str]) -> Config:
    """Read the configuration that `--config` or the environment names, or the first that is found.

    Raises ConfigError with every problem.
    """
    file = find(explicit, env)
    return _loaded({} if file is None else _read(file), file, explicit, env)


def load_settings(explicit: str | None, env: Mapping[str, str]) -> Settings:
    """Read the settings alone: for who talks to the daemon, and may not have what its entries refer to."""
    file = find(explicit, env)
    return parse({} if file is None else _read(file), env)


def _loaded(document: Mapping[str, Any], file: Path | None, explicit: str | None, env: Mapping[str, str]) -> Config:
    problems: list[Problem] = []
    settings = _settings(document, env, problems)
    defaults = defaults_of(settings)
    now_ms = time.time_ns() // 1_000_000
    declared = declarations.read(document, defaults=defaults, lookup=lookup_in(env), now_ms=now_ms, problems=problems)
    if problems:
        raise ConfigError(problems)
    return Config(
        settings=settings,
        file=file,
        state_dir=state_dir(env),
        declared=declared,
        shown=tuple(_show(document, env)),
        explicit=explicit,
        env=env,
    )


def defaults(env: Mapping[str, str]) -> Config:
    """Return the configuration that there would be without any file."""
    return Config(settings=Settings(), file=None, state_dir=state_dir(env))


def find(explicit: str | None, env: Mapping[str, str]) -> Path | None:
    """Return the file to read: `--config`, `$FLIQD_CONFIG`, else the first that exists, else None."""
    named = explicit or env.get("FLIQD_CONFIG")
    if named:
        return Path(named)
    home = env.get("XDG_CONFIG_HOME") or str(Path(env.get("HOME", "/")) / ".config")
    candidates = (Path("fliqd.toml"), Path(home) / "fliqd/config.toml", Path("/etc/fliqd/config.toml"))
    return next((path for path in candidates if path.is_file()), None)


def state_dir(env: Mapping[str, str]) -> Path:
    """Return the directory of the daemon's files: systemd's, root's, or the user's (XDG base directories)."""
    if given := env.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])  # systemd joins several with colons
    if xdg := env.get("XDG_STATE_HOME"):
        return Path(xdg) / "fliqd"
    if os.geteuid() == 0:
        return Path("/var/lib/fliqd")
    return Path(env.get("HOME", "/")) / ".local/state/fliqd"


def parse(document: Mapping[str, Any], env: Mapping[str, str]) -> Settings:
    """Turn a TOML document into settings, the environment's overrides on top; raise ConfigError."""
    problems: list[Problem] = []
    settings = _settings(document, env, problems)
    if problems:
        raise ConfigError(problems)
    return settings


def _settings(document: Mapping[str, Any], env: Mapping[str, str], problems: list[Problem]) -> Settings:
    problems += [_stray(key) for key in document if key not in (*SECTIONS, *declarations.SECTIONS)]
    lookup = Noting(lookup_in(env))
    overrides = _overrides(env, problems)
    sections = {}
    for name, section in SECTIONS.items():
        given = document.get(name, {})
        if not isinstance(given, Mapping):
            problems.append(Problem(name, f"expected a section, written [{name}]"))
            given = {}
        keys = {key.name: key for key in fields(section)}
        problems += [_unknown(key, keys, "key", f"{name}.") for key in given if key not in keys]
        values = {}
        for key, key_field in keys.items():
            where = f"{name}.{key}"
            if where in overrides:
                where, raw = overrides[where]
            elif key in given:
                raw = given[key]
            else:
                continue
            try:
                values[key] = key_field.metadata["parse"](expand_all(raw, lookup))
            except ValueError as err:
                shown = "" if key_field.metadata["secret"] else f"got {_shown(raw)}, "
                problems.append(Problem(where, f"{shown}{lookup.hide(str(err))}"))
        sections[name] = section(**values)
    settings = Settings(**sections)
    if not problems:
        problems += _together(settings)
    return settings


def _show(document: Mapping[str, Any], env: Mapping[str, str]) -> Iterator[Shown]:
    """Yield every setting as it stands, with where it comes from."""
    overrides = _overrides(env, [])
    for name, section in SECTIONS.items():
        for key in fields(section):
            origin, raw = "default", key.metadata["raw"]
            if key.name in document.get(name, {}):
                origin, raw = "file", document[name][key.name]
            if f"{name}.{key.name}" in overrides:
                origin, raw = overrides[f"{name}.{key.name}"]
            if key.metadata["secret"] and raw and not has_references(raw):
                raw = MASK
            yield Shown(key=f"{name}.{key.name}", value=raw, origin=origin)


def _together(settings: Settings) -> list[Problem]:
    """Say what is wrong with values that are right one by one."""
    server = settings.server
    problems = []
    if bool(server.tls_cert) != bool(server.tls_key):
        there, missing = ("tls_cert", "tls_key") if server.tls_cert else ("tls_key", "tls_cert")
        problems.append(Problem(f"server.{missing}", f"is needed with {there}: TLS takes a certificate and its key"))
    open_to_all = [listen for listen in settings.server.listen if not listen.is_local]
    if settings.auth.mode == "none" and open_to_all:
        problems.append(
            Problem(
                "auth.mode",
                f'got "none", which is for loopback and unix sockets; {open_to_all[0].url} can be reached from'
                ' elsewhere: use "token"',
            )
        )
    return problems


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            content = opened.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ConfigError([Problem(str(file), f"is larger than {MOST_BYTES >> 20} MiB")])
        return _toml(content.decode(), str(file))
    except OSError as err:
        raise ConfigError([Problem(str(file), f"cannot be read: {err.strerror}")]) from err
    except UnicodeDecodeError as err:
        raise ConfigError([Problem(str(file), f"is not TOML: {err}")]) from err


def _toml(text: str, where: str) -> dict[str, Any]:
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as err:  # an integer of thousands of digits is no TOMLDecodeError
        raise ConfigError([Problem(where, f"is not TOML: {err}")]) from err
    _refuse_extremes(document, where)
    return document


def _refuse_extremes(document: dict[str, Any], where: str) -> None:
    """Raise ConfigError for integers and depths that are well-formed, but that nothing after this could take."""
    problems: list[Problem] = []
    level: list[tuple[str, Any]] = [("", document)]
    for _ in range(MOST_LEVELS):
        inside: list[tuple[str, Any]] = []
        for path, value in level:
            if isinstance(value, dict):
                inside += [(f"{path}.{key}" if path else key, part) for key, part in value.items()]
            elif isinstance(value, list):
                inside += [(f"{path}[{index}]", part) for index, part in enumerate(value)]
            elif isinstance(value, int) and value.bit_length() >= 64:  # noqa: PLR2004 - the integers of TOML
                problems.append(Problem(path, "is beyond the integers of TOML, which have 64 bits"))
        level = inside
    if level:
        problems.append(Problem(where, f"has values inside of values deeper than {MOST_LEVELS} levels"))
    if problems:
        raise ConfigError(problems)


def _overrides(env: Mapping[str, str], problems: list[Problem]) -> dict[str, tuple[str, object]]:
    """Return the settings named in the environment, by key; names without `__` are never settings."""
    found: dict[str, tuple[str, object]] = {}
    for name, value in env.items():
        section, separator, key = name.removeprefix(ENV_PREFIX).lower().partition("__")
        if not name.startswith(ENV_PREFIX) or not separator:
            continue
        if section not in SECTIONS:
            problems.append(_unknown(section, SECTIONS, "section", f"{name}: "))
        elif key not in (keys := {key.name: key for key in fields(SECTIONS[section])}):
            problems.append(_unknown(key, keys, "key", f"{name}: "))
        else:
            found[f"{section}.{key}"] = (name, value)
    return found


def _unknown(name: str, known: Iterable[str], what: str, prefix: str = "") -> Problem:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f'did you mean "{near[0]}"?' if near else f"known are {', '.join(known)}"
    return Problem(f"{prefix}{name}", f"unknown {what}; {hint}")


def _stray(name: str) -> Problem:
    """Say what is wrong with a name at the top of the file: a key outside its section, or no section."""
    home = next((section for section, kind in SECTIONS.items() if name in {key.name for key in fields(kind)}), None)
    return (
        Problem(name, f"belongs under [{home}]")
        if home
        else _unknown(name, (*SECTIONS, *declarations.SECTIONS), "section")
    )


def _shown(value: object) -> str:
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}…"  # noqa: PLR2004 -- a line's worth
