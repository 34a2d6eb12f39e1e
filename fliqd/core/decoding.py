"""JSON to typed values: what is wrong is said for every field at once."""

import difflib
import re
from collections.abc import Iterable
from typing import Any, Final, Literal, TypeVar, get_args, get_origin

import msgspec

from fliqd.errors import InvalidError, Problem

D = TypeVar("D", bound=msgspec.Struct)

_EXPECTED: Final = re.compile(r"Expected `([^`]*)`(?:, got `([^`]*)`)?")
_WORDS: Final = {
    "str": "a text", "int": "a whole number", "float": "a number", "bool": "true or false", "object": "an object",
    "array": "a list", "null": "null",
}  # fmt: skip
_objects: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_anything: Final = msgspec.json.Decoder().decode
_DECODERS: Final[dict[type, Any]] = {}


def decode(body: bytes, kind: type[D]) -> tuple[D, list[Problem]]:
    """Read a JSON object into a document; what is wrong with single fields comes back beside it.

    Fields at fault are left unset in the document. Raises InvalidError (`invalid_json`) for what is not
    strict JSON: UTF-8 (RFC 8259, 8.1), no NaN, no lone surrogates, no NUL, not nested too deeply.
    """
    check_text(body)
    decoder = _DECODERS.get(kind) or _DECODERS.setdefault(kind, msgspec.json.Decoder(kind))
    try:
        return decoder.decode(body), []
    except msgspec.ValidationError:
        return _explain(body, kind)
    except (msgspec.DecodeError, RecursionError) as err:
        raise _not_json(err) from err


def decode_list(body: bytes, name: str, longest: int) -> list[bytes]:
    """Read `{"<name>": [object, …]}`; return the objects undecoded."""
    check_text(body)
    try:
        top = _objects(body)
    except msgspec.ValidationError as err:
        raise InvalidError([Problem("body", "expected a JSON object")], "invalid_json") from err
    except (msgspec.DecodeError, RecursionError) as err:
        raise _not_json(err) from err
    problems = [_unknown(key, (name,)) for key in top if key != name]
    if problems:
        raise InvalidError(problems)
    try:
        items = msgspec.json.decode(top.get(name, b"null"), type=list[msgspec.Raw])
    except (msgspec.ValidationError, RecursionError) as err:
        raise InvalidError([Problem(name, "expected a list of objects")]) from err
    if not 1 <= len(items) <= longest:
        raise InvalidError([Problem(name, f"expected 1 to {longest} of them, got {len(items)}")])
    return [bytes(item) for item in items]


def holds(body: bytes, name: str) -> bool:
    """Tell whether a JSON object has a member of that name; False for what is no JSON object."""
    if f'"{name}"'.encode() not in body:
        return False
    try:
        return name in _objects(body)
    except (msgspec.MsgspecError, RecursionError):
        return False


def check_text(body: bytes) -> None:
    """Raise InvalidError for bytes that are not UTF-8, or hold a NUL however it is written."""
    try:
        body.decode()
    except UnicodeDecodeError as err:
        raise _not_json(err) from err
    if b"\\u0000" in body:
        try:
            clean = not _holds_nul(_anything(body))
        except (msgspec.MsgspecError, RecursionError) as err:
            raise _not_json(err) from err
        if not clean:
            raise InvalidError([Problem("body", "holds the character NUL (\\u0000)")], "invalid_json")


def _holds_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_holds_nul(part) for pair in value.items() for part in pair)
    return isinstance(value, list) and any(_holds_nul(item) for item in value)


def _not_json(err: Exception) -> InvalidError:
    what = "is nested too deeply" if isinstance(err, RecursionError) else f"is not JSON: {err}"
    return InvalidError([Problem("body", what)], "invalid_json")


def _explain(body: bytes, kind: type[D]) -> tuple[D, list[Problem]]:
    """Go through a document field by field, for every problem that it has."""
    try:
        raw = _objects(body)
    except msgspec.ValidationError as err:
        raise InvalidError([Problem("body", "expected a JSON object")], "invalid_json") from err
    except (msgspec.DecodeError, RecursionError) as err:
        raise _not_json(err) from err  # what is wrong with a field was met before what is wrong with the text
    known = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    strict = kind.__struct_config__.forbid_unknown_fields
    problems = []
    values = {}
    for name, text in raw.items():
        if name not in known:
            problems += [_unknown(name, known)] if strict else []
            continue
        try:
            values[known[name].name] = msgspec.json.decode(text, type=known[name].type)
        except msgspec.ValidationError as err:
            problems.append(Problem(name, _in_words(str(err), bytes(text), known[name].type)))
        except (msgspec.DecodeError, RecursionError) as err:
            raise _not_json(err) from err
    return kind(**values), problems


def _in_words(error: str, raw: bytes, kind: object) -> str:
    """Put msgspec's complaint about a field of type `kind` into words."""
    within = re.fullmatch(r"Invalid enum value .* at `\$\.(\w+)`", error, re.DOTALL)
    parts = (kind, *get_args(kind))
    struct = next((part for part in parts if isinstance(part, type) and issubclass(part, msgspec.Struct)), None)
    if within and struct:
        member = {field.encode_name: field.type for field in msgspec.structs.fields(struct)}[within[1]]
        return f"{within[1]}: {_in_words('Invalid enum value', raw, member)}"
    match = _EXPECTED.match(error)
    many = next((get_args(part)[0] for part in parts if get_origin(part) is list), None)
    choices = next((get_args(part) for part in (*parts, many) if get_origin(part) is Literal), None)
    if choices is not None and "enum value" in error:
        return f"expected {', '.join(choices[:-1])} or {choices[-1]}, got {_shown(raw)}"
    inner = _inner_choices(error, kind)
    if inner is not None:
        name, words = inner
        return f"{name}: expected {', '.join(words[:-1])} or {words[-1]}, got {_shown(raw)}"
    if match is None or match[2] is None:
        where = error.replace(" - at `$", " at `").replace("`", '"')
        return f"{where}; got {_shown(raw)}"
    kinds = [_WORDS.get(kind, kind) for kind in match[1].split(" | ") if kind != "null"]
    inside = re.search(r"at `\$([^`]*)`", error)
    where = f" in {_culprit(raw) or inside[1].lstrip('.')}" if inside else ""
    return f"expected {' or '.join(kinds)}{where}, got {_WORDS.get(match[2], match[2])}"


def _inner_choices(error: str, kind: object) -> tuple[str, tuple[str, ...]] | None:
    """Return the member of an object, and what it may be, that an error of its words is about."""
    member = re.search(r"enum value .* at `\$\.(\w+)`", error)
    structs = [part for part in get_args(kind) if isinstance(part, type) and issubclass(part, msgspec.Struct)]
    for field in (field for struct in structs for field in msgspec.structs.fields(struct)):
        if member is not None and field.encode_name == member[1]:
            parts = (field.type, *get_args(field.type))
            choices = next((get_args(part) for part in parts if get_origin(part) is Literal), None)
            return None if choices is None else (member[1], choices)
    return None


def _culprit(raw: bytes) -> str | None:
    """Return the name of the first member of an object that is no text: where a text was expected, it is that."""
    try:
        value = _anything(raw)
    except (msgspec.MsgspecError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    return next((name[:64] for name, member in value.items() if not isinstance(member, str)), None)


def _shown(raw: bytes) -> str:
    text = raw.decode()
    return text if len(text) <= 64 else f"{text[:63]}…"  # noqa: PLR2004 -- a line's worth


def _unknown(name: str, known: Iterable[str]) -> Problem:
    near = difflib.get_close_matches(name[:64], known, n=1, cutoff=0.6)
    hint = f'; did you mean "{near[0]}"?' if near else ""
    return Problem(name[:64], f"unknown field{hint}", "unknown_field")
