"""`fliqd completion`: what a shell needs to complete our commands and options."""

import click

from fliqd.cli.output import example, write

SHELLS = ("bash", "zsh", "fish")


@click.command(
    "completion",
    epilog=example(
        "fliqd completion bash > /etc/bash_completion.d/fliqd",
        "fliqd completion zsh > ~/.zfunc/_fliqd",
        "fliqd completion fish > ~/.config/fish/completions/fliqd.fish",
    ),
)
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> None:
    """Print the completion script of a shell; the packages install them all."""
    from click.shell_completion import get_completion_class  # noqa: PLC0415 -- help needs it not

    from fliqd.cli.main import cli  # noqa: PLC0415 -- it imports us

    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 -- click knows these three
    complete = kind(cli, {}, "fliqd", "_FLIQD_COMPLETE")
    # Not `source()`: for bash it starts one, to see whether it is new enough for what we print.
    write(complete.source_template % complete.source_vars() + "\n")
