"""A disk under the program that keeps a diary, fails when told, and knows what each power cut would leave."""

import mmap
import os
import random
import shutil
import struct
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, NamedTuple

import pytest

SOURCE: Final = Path(__file__).with_name("disk.c")
ENTRY: Final = struct.Struct("=6q")
SECTOR: Final = 512
NEVER: Final = 1 << 62
CALLS: Final = {"write": 0, "sync": 1, "read": 2}
Survival = Literal["nothing", "everything", "a prefix", "some", "torn"]
SURVIVALS: Final[tuple[Survival, ...]] = ("nothing", "everything", "a prefix", "some", "torn")


def built(folder: Path) -> Path:
    """Build it, or skip the test."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler builds the disk here")
    library = folder / "disk.so"
    command = [compiler, "-O2", "-shared", "-fPIC", "-Wall", "-Werror", "-o", str(library), str(SOURCE), "-ldl"]
    ended = subprocess.run([*command, "-lpthread"], capture_output=True, check=False, encoding="utf-8")
    if ended.returncode != 0:
        pytest.skip(f"the disk cannot be built here: {ended.stderr[:200]}")
    return library


class Disk:
    """The disk below `under`, for programs that are started with `env`. It outlives them."""

    def __init__(self, library: Path, under: Path) -> None:
        under.mkdir(parents=True, exist_ok=True)
        self.under = under
        self.began = 0  # how long the diary was when a program came to it
        self.diary = under.with_name(under.name + ".diary")
        control = under.with_name(under.name + ".control")
        control.write_bytes(bytes(mmap.PAGESIZE))
        self.diary.unlink(missing_ok=True)
        self.diary.touch()
        self.env = {
            "LD_PRELOAD": str(library),
            "DISK_UNDER": str(under),
            "DISK_DIARY": str(self.diary),
            "DISK_CONTROL": str(control),
        }
        with control.open("r+b") as file:
            self._control = mmap.mmap(file.fileno(), mmap.PAGESIZE)

    def _get(self, place: int) -> int:
        return int(struct.unpack_from("=q", self._control, place * 8)[0])

    def _set(self, place: int, value: int) -> None:
        struct.pack_into("=q", self._control, place * 8, value)

    def calls(self, kind: str) -> int:
        """Return how many of these there were."""
        return self._get(CALLS[kind])

    def fail(self, kind: str, number: int, *, first: int = 0, until: int = NEVER) -> None:
        """Have calls fail with an errno, from the `first` one after now, 1 is the next, to the one before `until`."""
        now, place = self.calls(kind), 3 + 3 * CALLS[kind]
        self._set(place, now + first)
        self._set(place + 1, min(NEVER, now + until))
        self._set(place + 2, number)

    def mend(self) -> None:
        """Have nothing fail any more."""
        for kind in CALLS.values():
            self._set(3 + 3 * kind + 2, 0)

    def slow_syncs(self, seconds: float) -> None:
        self._set(12, round(seconds * 1_000_000))

    @property
    def position(self) -> int:
        """How long the diary is."""
        return self._get(13)

    def cut_at(self, position: int) -> None:
        """Kill whoever writes on when the diary is so long."""
        self._set(14, position)

    @property
    def failed(self) -> int:
        """How many calls have failed because they were told to."""
        return self._get(15)

    def history(self) -> "History":
        return History(self.diary.read_bytes(), self.under)

    def power_cut(self, chance: random.Random, survival: Survival) -> None:
        """Leave what the power cut left, and begin a new diary on it."""
        image = self.under.with_name(self.under.name + ".image")
        self.history().image(self.position, image, chance, survival)
        shutil.rmtree(self.under)
        image.rename(self.under)
        self.begin()

    def begin(self) -> None:
        """Begin a new diary with what there is, all of it on disk."""
        self.diary.write_bytes(b"")
        self._set(13, 0)
        for file in sorted(self.under.rglob("*")):
            self._remember(file)
        self.began = self.position

    def _remember(self, file: Path) -> None:
        """Have the diary begin with what there is, on disk."""
        name = str(file).encode()
        if file.is_dir():
            entries = [(b"M", 0, 0, 0, name, b"")]
        else:
            inode, data = file.stat().st_ino, file.read_bytes()
            entries = [
                (b"C", inode, 0, 0, name, b""),
                (b"W", inode, 0, 0, b"", data),
                (b"S", inode, 0, NEVER, b"", b""),
            ]
        entries.append((b"D", 0, 0, NEVER, str(file.parent).encode(), b""))
        with self.diary.open("ab") as diary:
            for kind, inode, offset, began, named, data in entries:
                written = ENTRY.pack(kind[0], inode, offset, began, len(named), len(data)) + named + data
                diary.write(written)
                self._set(13, self.position + len(written))


class Entry(NamedTuple):
    """One change: where it stands in the diary, and what it did."""

    start: int
    end: int
    kind: str
    file: int
    offset: int
    began: int  # of a sync: how long the diary was
    name: str
    data: bytes


@dataclass
class Contents:
    """A file: what is on disk, and what has been written since its last sync."""

    durable: bytearray = field(default_factory=bytearray)
    since: list[Entry] = field(default_factory=list)

    def synced(self, began: int, *, failed: bool) -> None:
        """Take what had been written when a sync began to the disk; after one that failed nobody ever will."""
        for entry in self.since:
            if entry.start < began and not failed:
                apply(self.durable, entry)
        self.since = [entry for entry in self.since if entry.start >= began]


def apply(content: bytearray, entry: Entry) -> None:
    if entry.kind == "T":
        del content[entry.offset :]
        content.extend(bytes(entry.offset - len(content)))
        return
    content.extend(bytes(max(0, entry.offset - len(content))))
    content[entry.offset : entry.offset + len(entry.data)] = entry.data


class History:
    """All that a disk was told, to be read up to any point."""

    def __init__(self, raw: bytes, under: Path) -> None:
        self._under = under
        self.entries: list[Entry] = []
        at = 0
        while at + ENTRY.size <= len(raw):
            kind, file, offset, began, names, size = ENTRY.unpack_from(raw, at)
            end = at + ENTRY.size + names + size
            if end > len(raw):
                break
            name, data = raw[at + ENTRY.size : end - size], raw[end - size : end]
            self.entries.append(Entry(at, end, chr(kind), file, offset, began, os.fsdecode(name), data))
            at = end

    def image(self, position: int, to: Path, chance: random.Random, survival: Survival) -> None:
        """Write to `to` what there would be had the power failed when the diary was so long.

        Of what was not synced survive, of each file and of the changes of names: nothing, everything, what came first,
        or any of the writes of a file, whole or by the sector; names always in the order in which they changed.
        """
        by_inode: dict[int, Contents] = {}
        names: dict[str, Contents | None] = {}  # on disk; None is a directory
        current: dict[str, Contents | None] = {}
        changes: list[tuple[Entry, Contents | None]] = []
        for entry in self.entries:
            if entry.end > position:
                break
            match entry.kind:
                case "W" | "T":
                    by_inode[entry.file].since.append(entry)
                case "S" | "F" if entry.file in by_inode:
                    by_inode[entry.file].synced(entry.began, failed=entry.kind == "F")
                case "D":
                    # A journal keeps the order of all changes of names, whatever directory they are in.
                    done = [one for one in changes if one[0].start < entry.began]
                    changes = changes[len(done) :]
                    for one in done:
                        change(names, *one)
                case "C" | "M" | "R" | "U" | "L":
                    content = Contents() if entry.kind == "C" else None
                    if entry.kind == "C" and content is not None:
                        by_inode[entry.file] = content
                    change(current, entry, content)
                    changes.append((entry, content))
                case _:
                    pass
        left = {"nothing": 0, "everything": len(changes)}.get(survival, chance.randint(0, len(changes)))
        for one in changes[:left]:
            change(names, *one)
        to.mkdir(mode=0o700)
        for name, found in sorted(names.items()):
            place = to / Path(name).relative_to(self._under)
            if place == to:
                continue
            if found is None:
                place.mkdir(mode=0o700, exist_ok=True)
            elif place.parent.is_dir():
                place.write_bytes(survived(found, chance, survival))
                place.chmod(0o600)


def change(names: dict[str, Contents | None], entry: Entry, content: Contents | None) -> None:
    match entry.kind:
        case "C" | "M":
            names[entry.name] = content
        case "U":
            names.pop(entry.name, None)
        case "L":
            if entry.name in names:
                names[os.fsdecode(entry.data)] = names[entry.name]
        case "R":
            other = os.fsdecode(entry.data)
            for name in [name for name in names if name == entry.name or name.startswith(entry.name + "/")]:
                names[other + name.removeprefix(entry.name)] = names.pop(name)
        case _:
            pass


def survived(contents: Contents, chance: random.Random, survival: Survival) -> bytes:
    content = bytearray(contents.durable)
    since = contents.since
    match survival:
        case "nothing":
            since = []
        case "everything":
            pass
        case "a prefix":
            since = since[: chance.randint(0, len(since))]
        case "some":
            since = [entry for entry in since if chance.random() < 0.5]
        case "torn":
            since = [part for entry in since for part in torn(entry, chance)]
    for entry in since:
        apply(content, entry)
    return bytes(content)


def torn(entry: Entry, chance: random.Random) -> list[Entry]:
    """Return the sectors of a write that survive."""
    if entry.kind == "T":
        return [entry] if chance.random() < 0.5 else []
    parts, at = [], entry.offset
    while at < entry.offset + len(entry.data):
        end = min((at // SECTOR + 1) * SECTOR, entry.offset + len(entry.data))
        if chance.random() < 0.5:
            parts.append(entry._replace(offset=at, data=entry.data[at - entry.offset : end - entry.offset]))
        at = end
    return parts
