"""The one family of errors that fliqd raises on purpose; who shows them decides how."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with what came in: where, and what would do instead."""

    field: str
    problem: str
    code: str = ""  # of the error, where this problem is the first; else `invalid_<field>`

    def __str__(self) -> str:
        return f"{self.field}: {self.problem}"


class FliqdError(Exception):
    """Anything fliqd raises on purpose; `code` is part of the API, the message is for people."""

    code: str = "internal"
    exit_code: int = 1


class InvalidError(FliqdError):
    """What came in cannot be used; carries every problem, the first one names the code."""

    def __init__(self, problems: Sequence[Problem], code: str = "") -> None:
        self.problems = tuple(problems)
        first = self.problems[0]
        self.code = code or first.code or f"invalid_{first.field.partition('.')[0].partition('[')[0]}"
        super().__init__("; ".join(str(problem) for problem in self.problems))


class NotFoundError(FliqdError):
    """There is no such thing."""

    code = "not_found"

    def __init__(self, kind: str, public_id: str) -> None:
        super().__init__(f"there is no {kind} {public_id}")


class ConflictError(FliqdError):
    """The thing exists, and its state does not allow what was asked."""

    code = "conflict"

    def __init__(self, message: str, code: str = "conflict") -> None:
        self.code = code
        super().__init__(message)


class UnauthorizedError(FliqdError):
    """No token, or one that is not known."""

    code = "unauthorized"


class ForbiddenError(FliqdError):
    """A known caller that may not do this."""

    def __init__(self, message: str, code: str = "forbidden") -> None:
        self.code = code
        super().__init__(message)


class UnavailableError(FliqdError):
    """Not now: the disk is full or the daemon is stopping; nothing was changed, ask again later."""

    code = "unavailable"

    def __init__(self, message: str, code: str = "unavailable", retry_after_s: int = 5) -> None:
        self.code = code
        self.retry_after_s = retry_after_s
        self.exit_code = _ENDS.get(code, FliqdError.exit_code)  # where a start ends with it
        super().__init__(message)


_ENDS: Final = {"disk_full": 74, "store_locked": 75}  # EX_IOERR, EX_TEMPFAIL of sysexits.h


class ConfigError(FliqdError):
    """The configuration cannot be used; carries every problem at once."""

    code = "invalid_config"
    exit_code = 78  # EX_CONFIG of sysexits.h

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class StoreUnusableError(FliqdError):
    """The store file is damaged, foreign, newer or unexpectedly gone; never repaired by itself."""

    code = "store_unusable"
    exit_code = 65  # EX_DATAERR
    retry_after_s = 60


class StoreInUseError(FliqdError):
    """Another daemon has the store."""

    code = "store_in_use"
    exit_code = 75  # EX_TEMPFAIL


class StoreIOError(FliqdError):
    """The disk did not take or give what it should; what was not acknowledged may not be there."""

    code = "store_io"
    exit_code = 74  # EX_IOERR
    retry_after_s = 5
