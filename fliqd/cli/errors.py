"""How a command ends that could not do what it was asked: each way has its exit code."""

from collections.abc import Sequence

from fliqd.errors import FliqdError, Problem


class RefusedError(FliqdError):
    """The daemon answered no, or failed; `status` is that of its answer, 0 where there was none."""

    def __init__(
        self, message: str, *, code: str = "refused", status: int = 0, problems: Sequence[Problem] = ()
    ) -> None:
        self.code = code
        self.status = status
        self.problems = tuple(problems)
        super().__init__(message)


class MissingError(FliqdError):
    """There is no such job, schedule or token."""

    code = "not_found"
    exit_code = 4


class ConflictingError(FliqdError):
    """What is there is in a state that does not allow it."""

    code = "conflict"
    exit_code = 5


class UnreachableError(FliqdError):
    """No daemon answers there, or what answers is not fliqd."""

    code = "unreachable"
    exit_code = 69  # EX_UNAVAILABLE of sysexits.h


class NotAllowedError(FliqdError):
    """No token, a wrong one, or one that may not do this."""

    code = "not_allowed"
    exit_code = 77  # EX_NOPERM


def lines_of(err: FliqdError) -> list[str]:
    """Return what to tell about an error: a line for each problem where it has several."""
    problems = getattr(err, "problems", ())
    lines = [str(problem) for problem in problems] or [str(err)]
    return [" ".join(line.split()) for line in lines]
