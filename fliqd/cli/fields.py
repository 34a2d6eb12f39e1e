"""Fields of the API as options, the document that the options make, and refusals in their terms."""

import json
import math
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

import click

from fliqd.cli.errors import RefusedError
from fliqd.errors import Problem

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# What is wrong with a field for the sake of another one.
_OTHERS: Final = re.compile(r"^(and|goes with an?|is required with|is required, or an?) (\w+)")
Command = Callable[..., None]


class RawJson(str):
    """JSON as somebody wrote it: a number that Python cannot hold goes out as it came."""

    __slots__ = ()


def as_it_is(value: object) -> object:
    """Read an option that needs no reading."""
    return value


class Field(NamedTuple):
    """An option for a field of the API."""

    option: str
    name: str  # the API's
    given: dict[str, Any]  # what click needs to know
    read: Callable[[Any], object] = as_it_is  # from what click gives to what the API takes
    short: str = ""
    is_emptied: bool = True  # an empty text takes it back to its default; else it is a text like any other, or a slip


class _Number(click.types.FloatParamType):
    """A number as JSON has it: neither `nan` nor `inf`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        return number if math.isfinite(number) else self.fail(f"{value!r} is not a number.", param, ctx)


NUMBER: Final = _Number()


class _OrEmpty(click.ParamType):  # type: ignore[type-arg]  # not in all versions of click is it generic
    """What another type takes, or an empty text."""

    def __init__(self, inner: "click.ParamType[Any] | type") -> None:
        self._inner = click.types.convert_type(inner)
        self.name = self._inner.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value == "" else self._inner.convert(value, param, ctx)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str | None:
        return self._inner.get_metavar(param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
        return self._inner.shell_complete(ctx, param, incomplete)


class Fields:
    """The fields that may be asked of one kind of thing."""

    def __init__(self, fields: Sequence[Field]) -> None:
        self._fields = {field.name: field for field in fields}

    def options(self, *but: str, update: bool = False) -> Callable[[Command], Command]:
        """Give a command an option for each field `but` those; it is called with them by the API's names.

        In an update each takes an empty text too, if that means anything.
        """

        def decorate(function: Command) -> Command:
            for field in reversed([field for name, field in self._fields.items() if name not in but]):
                names = (field.short, field.option) if field.short else (field.option,)
                given = field.given
                if update and field.is_emptied and "type" in given:
                    given = given | {"type": _OrEmpty(given["type"])}
                function = click.option(*names, field.name, **given)(function)
            return function

        return decorate

    def document(self, values: dict[str, Any], *, update: bool = False) -> bytes:
        """Return what to send for the options that were given; raise click's usage error.

        In an update an empty value takes a field back to its default.
        """
        sent: dict[str, Any] = {}
        raw: dict[str, RawJson] = {}
        for name, value in values.items():
            if value is None or value == ():
                continue
            field = self._fields.get(name)
            if field is None:
                sent[name] = value
            elif update and field.is_emptied and value in ("", ("",)):
                sent[name] = None
            elif isinstance(read := field.read(value), RawJson):
                raw[name] = read
            else:
                sent[name] = read
        members = [json.dumps(sent)[1:-1]] if sent else []
        members += [f"{json.dumps(name)}: {text}" for name, text in raw.items()]
        return f"{{{', '.join(members)}}}".encode("utf-8", "surrogateescape")

    def in_options(self, err: RefusedError) -> RefusedError:
        """Return a refusal that speaks of the options and not of the API's fields."""
        if any(problem.field == "body" and problem.problem.startswith("is not JSON") for problem in err.problems):
            return err  # there "body" is the whole document
        problems = []
        for problem in err.problems:
            name, dot, rest = problem.field.partition(".")
            field = self._fields.get(name)
            problems.append(Problem(f"{field.option if field else name}{dot}{rest}", self._in_options(problem.problem)))
        return RefusedError(str(err), code=err.code, status=err.status, problems=problems)

    def _in_options(self, text: str) -> str:
        """Put options in the place of the API's names of other fields, where a text is about both."""

        def option(match: re.Match[str]) -> str:
            field = self._fields.get(match[2])
            return f"{match[1]} {field.option}" if field else match[0]

        return _OTHERS.sub(option, text)


def refuse(option: str, problem: str, cause: Exception | None = None) -> NoReturn:
    """Raise the usage error for what was given to an option."""
    raise click.BadParameter(problem, param_hint=option) from cause
