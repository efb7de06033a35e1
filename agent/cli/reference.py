"""The reference of the command line, printed from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator

import click

from agent.cli.main import cli


def cli_markdown() -> str:
    """``docs/cli.md``: the help of every command."""
    parts = ["# Command line\n\nPrinted by `python -m agent.cli.reference`; a test compares.\n"]
    for path, command in _commands("ingest-agent", cli):
        context = click.Context(
            command,
            info_name=path,
            max_content_width=100,
            terminal_width=100,
            help_option_names=["-h", "--help"],
        )
        parts.append(f"## {path}\n\n```\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)


def _commands(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            yield from _commands(f"{path} {name}", command.commands[name])


if __name__ == "__main__":
    click.echo(cli_markdown(), nl=False)
