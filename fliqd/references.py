"""Where `${env:NAME}` and `${file:PATH}` are looked up."""

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from fliqd.core.references import Lookup

MOST_BYTES: Final = 64 * 1024


def lookup_in(env: Mapping[str, str]) -> Lookup:
    """Return what finds references: in `env`, and in files; it raises ValueError for what is missing."""

    def lookup(kind: str, name: str) -> str:
        if kind == "file":
            return _content(Path(name))
        if name not in env:
            raise ValueError(f"the environment has no {name}")
        try:
            env[name].encode()
        except UnicodeEncodeError as err:
            raise ValueError(f"{name} in the environment is not UTF-8") from err
        return env[name]

    return lookup


def _content(path: Path) -> str:
    """Return a file's text without the line breaks at its end."""
    try:
        found = path.stat()
        # Opening a named pipe would wait for a writer for ever.
        if not stat.S_ISREG(found.st_mode) or found.st_size > MOST_BYTES:
            raise ValueError(f"{path} is no file of at most {MOST_BYTES // 1024} KiB")
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as err:
        raise ValueError(f"the file {path} cannot be read: {err.strerror}") from err
    except UnicodeDecodeError as err:
        raise ValueError(f"the file {path} is not UTF-8") from err
