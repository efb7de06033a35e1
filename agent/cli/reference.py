"""The reference of the command line, printed from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator

import click

from agent.cli.main import cli


def cli_markdown() -> str:
    """``docs/cli.md``: the help of every command."""
    parts = ["# Command line\n\nPrinted by `python -m agent.cli.reference`; a test compares.\n"]
    for path, command in _commands("ingest-agent", cli):
        parts.append(f"## {path}\n\n```\n{command.get_help(_context(path, command))}\n```\n")
    return "\n".join(parts)


def _commands(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = _context(path, command)
        for name in sorted(command.list_commands(context)):
            below = command.get_command(context, name)
            assert below is not None
            yield from _commands(f"{path} {name}", below)


def _context(path: str, command: click.Command) -> click.Context:
    return click.Context(
        command,
        info_name=path,
        max_content_width=100,
        terminal_width=100,
        help_option_names=["-h", "--help"],
    )


if __name__ == "__main__":
    click.echo(cli_markdown(), nl=False)
