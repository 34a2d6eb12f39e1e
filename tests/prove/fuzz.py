"""`python -m tests.prove.fuzz PARSER SECONDS FOLDER`: a fuzzer that looks at which lines an input reaches (Atheris).

The kept corpus is where it begins; what reaches something new is put into the folder, and a finding stays in it as
`crash-…`. For an environment that has Atheris, beside fliqd's own libraries. `--keep` adds the least set of what it
found to the kept corpus.
"""

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from tests.prove import corpora

LONGEST: Final = 4096
LONGEST_KEPT: Final = 300


def run(name: str, seconds: str, folder: Path) -> None:
    """Fuzz one parser; does not come back."""
    atheris: Any = import_module("atheris")
    with atheris.instrument_imports(include=["fliqd", "tests.prove.parsers"]):
        parsers = import_module("tests.prove.parsers")
    folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(corpora.read(name)):
        (folder / f"kept-{number}").write_bytes(data)
    limits = [f"-max_total_time={seconds}", f"-max_len={LONGEST}", "-timeout=10", "-rss_limit_mb=4096"]
    atheris.Setup([sys.argv[0], str(folder), *limits, f"-artifact_prefix={folder}/", "-print_final_stats=1"],
                  parsers.PARSERS[name])  # fmt: skip
    atheris.Fuzz()


def keep(name: str, folder: Path) -> None:
    """Add what is short among the least set of inputs that reach all that was reached."""
    least = folder.with_name(f"{folder.name}-least")
    least.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tests.prove.fuzz", name, "merge", str(least), str(folder)]
    subprocess.run(command, check=True)
    corpora.keep(name, (one for file in least.iterdir() if len(one := file.read_bytes()) <= LONGEST_KEPT))


def merge(name: str, least: str, folder: str) -> None:
    """Have the fuzzer itself find the least set; does not come back."""
    atheris: Any = import_module("atheris")
    with atheris.instrument_imports(include=["fliqd", "tests.prove.parsers"]):
        parsers = import_module("tests.prove.parsers")
    atheris.Setup([sys.argv[0], "-merge=1", least, folder], parsers.PARSERS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    parser, what, *folders = sys.argv[1:]
    if what == "merge":
        merge(parser, *folders)
    elif what == "--keep":
        keep(parser, Path(folders[0]))
    else:
        run(parser, what, Path(folders[0]))
