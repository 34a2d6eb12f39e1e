"""Secrets that the service manager passes on, as files for this process alone (systemd.exec(5), Credentials)."""

from collections.abc import Mapping
from pathlib import Path

from fliqd.errors import ConfigError, Problem


def read(name: str, env: Mapping[str, str]) -> str | None:
    """Return the credential `name`, None if there is none; raise ConfigError when it is there and cannot be read."""
    directory = env.get("CREDENTIALS_DIRECTORY")
    if not directory:
        return None
    try:
        secret = (Path(directory) / name).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError([Problem(f"credential {name}", "cannot be read, or is not in ASCII")]) from err
    if not secret:
        raise ConfigError([Problem(f"credential {name}", "is empty")])
    return secret
