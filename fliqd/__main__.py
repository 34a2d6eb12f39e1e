"""The program: `fliqd`, and `python -m fliqd`."""

import sys

from fliqd import __version__


def main() -> None:
    """Run the command line; its version is told before anything heavy is imported."""
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
