"""The signing secret in its file, and how it is replaced: on disk before it signs, and never lost half-way."""

import asyncio
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from fliqd import credentials, keyfiles
from fliqd.clock import Clock
from fliqd.core.signing import Former, RotatingSigner, new_secret
from fliqd.errors import ConfigError, ConflictError, Problem, StoreIOError
from fliqd.settings import Signing

log = structlog.get_logger()

FILE: Final = "signing.secret"
CREDENTIAL: Final = "signing-secret"
FORMER_FILE: Final = "signing.former"  # a line each: until when it signs, in milliseconds, and the secret
MOST_FORMER: Final = 4  # signatures beside the newest; a header has no room for any number


class Shown(NamedTuple):
    """What may be seen of the secrets. The text is None when the configuration or a credential says it."""

    secret: str | None
    created_ms: int | None
    former_until_ms: tuple[int, ...]


class SigningSecrets:
    """Made by `open`. `signer` is what requests are signed with, None where signing is off."""

    def __init__(self, directory: Path, clock: Clock, signer: RotatingSigner | None, secret: str | None) -> None:
        self.signer = signer
        self._file = directory / FILE
        self._former_file = directory / FORMER_FILE
        self._clock = clock
        self._secret = secret  # None: it is the configuration's, or a credential
        self._former: tuple[Former, ...] = ()
        self._rotating = asyncio.Lock()

    @classmethod
    def open(cls, directory: Path, settings: Signing, env: Mapping[str, str], clock: Clock) -> "SigningSecrets":
        """Read the secrets, making the first one; raise StoreIOError or ConfigError saying what is at fault."""
        if not settings.enabled:
            return cls(directory, clock, None, None)
        if settings.secret:
            return cls(directory, clock, RotatingSigner(settings.secret), None)
        if (given := credentials.read(CREDENTIAL, env)) is not None:
            try:
                return cls(directory, clock, RotatingSigner(given), None)
            except ValueError as err:
                raise ConfigError([Problem(f"credential {CREDENTIAL}", str(err))]) from err
        file = directory / FILE
        secret = keyfiles.read_or_make(file, _make)
        try:
            opened = cls(directory, clock, RotatingSigner(secret), secret)
        except ValueError as err:
            raise StoreIOError(f"{file}: {err}; put back its copy, or delete it to have a new one made") from err
        opened._former = opened._read_former()
        opened._use(secret)
        return opened

    def show(self) -> Shown:
        """Return what signs now; raise ConflictError where nothing does."""
        if self.signer is None:
            raise ConflictError("signing.enabled is false: nothing is signed", "signing_disabled")
        if self._secret is None:
            return Shown(None, None, ())
        now_ms = self._clock.now_ms()
        created_ms = self._file.stat().st_mtime_ns // 1_000_000
        return Shown(self._secret, created_ms, tuple(old.until_ms for old in self._former if old.until_ms > now_ms))

    async def rotate(self, overlap_ms: int) -> Shown:
        """Sign with a new secret from now on, and with the old one too for so long; raise ConflictError."""
        self.show()
        if self._secret is None:
            raise ConflictError(
                "the signing secret is in the configuration (signing.secret, or the credential): change it there and"
                " restart fliqd",
                "managed_by_config",
            )
        async with self._rotating:
            now_ms = self._clock.now_ms()
            former = [
                Former(self._secret, now_ms + overlap_ms),
                *(old for old in self._former if old.until_ms > now_ms),
            ]
            kept = tuple(former[:MOST_FORMER]) if overlap_ms else ()
            secret = _make()
            await asyncio.to_thread(self._write, secret, kept)
            self._former = kept
            self._use(secret)
        log.info("signing.rotated", overlap_s=overlap_ms / 1000)
        return self.show()

    def _write(self, secret: str, former: tuple[Former, ...]) -> None:
        """Write both files so that whatever a crash leaves signs with the old secret, or with the new one."""
        if former:
            # First: should the new secret be on disk and the old one not, its receivers would be cut off.
            keyfiles.write(self._former_file, "\n".join(f"{old.until_ms} {old.secret}" for old in former))
        keyfiles.write(self._file, secret)
        if not former and self._former_file.exists():
            keyfiles.write(self._former_file, "")

    def _use(self, secret: str) -> None:
        self._secret = secret
        if self.signer is not None:
            self.signer.rotate(secret, self._former)

    def _read_former(self) -> tuple[Former, ...]:
        former = []
        for line in keyfiles.read(self._former_file).splitlines():
            until, _, secret = line.partition(" ")
            try:
                old = Former(secret, int(until))
                RotatingSigner(secret)
            except ValueError as err:
                raise StoreIOError(
                    f"{self._former_file} cannot be read: put back its copy, or delete it: then receivers that only"
                    " know an older secret refuse what comes"
                ) from err
            if old.until_ms > self._clock.now_ms() and secret != self._secret:  # the same: a rotation that did not end
                former.append(old)
        return tuple(former)


def _make() -> str:
    return new_secret(secrets.token_bytes(32))
