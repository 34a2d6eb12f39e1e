"""Collect the licences of what a bundle holds: `licenses.py DIRECTORY`, for the packages of requirements.lock."""

import re
import shutil
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parent.parent
LICENCE = re.compile(r"(licen[cs]e|copying|notice|authors)", re.IGNORECASE)


def main(directory: Path) -> None:
    """Write a folder for each package, and one for Python itself."""
    names = re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    for name in names:
        try:
            package = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # for another platform
        folder = directory / f"{name}-{package.version}"
        folder.mkdir(parents=True)
        what = (
            package.metadata.json.get("license_expression") or package.metadata.json.get("license") or "see the files"
        )
        (folder / "LICENCE-NAME").write_text(str(what).splitlines()[0] + "\n")
        for file in package.files or []:
            if ".dist-info" in str(file) and LICENCE.match(file.name):
                shutil.copyfile(package.locate_file(file), folder / file.name)  # type: ignore[arg-type]
    python = Path(sysconfig.get_path("stdlib")) / "LICENSE.txt"
    (directory / "python").mkdir()
    shutil.copyfile(python, directory / "python/LICENSE.txt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
