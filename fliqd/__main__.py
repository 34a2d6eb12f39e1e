"""The program: `fliqd`, and `python -m fliqd`."""

import sys

from fliqd import __version__

OLDEST = (3, 11)


def main() -> None:
    """Run the command line; its version is told before anything heavy is imported."""
    if sys.version_info < OLDEST:  # a file for many Pythons meets those that no installer has kept away
        sys.exit(f"fliqd needs Python {OLDEST[0]}.{OLDEST[1]} or newer, and this is {sys.version.partition(' ')[0]}")
    if sys.argv[1:] == ["--version"]:
        sys.stdout.write(f"fliqd {__version__}\n")
        return
    try:
        from fliqd.cli.main import cli  # noqa: PLC0415 -- after the quick answer

        cli()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
