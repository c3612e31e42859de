"""The command `fastcore`: finds the subcommand and hands it the rest of the line."""

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import NamedTuple

from fastcore._version import __version__


class Command(NamedTuple):
    """A subcommand: the module whose `main(argv) -> int` runs it, and its line in the help."""

    module: str
    help: str


COMMANDS = {
    "demo": Command("fastcore.reference.demo", "the whole scenario, and what it cost; needs no cluster"),
    "run": Command("fastcore.reference.run", "the reference controller against a cluster"),
    "apiserver": Command("fastcore.testing.apiserver", "the embedded Kubernetes API server, on loopback"),
    "top": Command("fastcore.observe.top", "a running controller in the terminal: rates, queues, slowest keys"),
    "replay": Command("fastcore.controller.replay", "what a controller did of late, and whether it kept its promises"),
    "doctor": Command("fastcore.doctor", "checks this installation; says what is wrong with it"),
}

EPILOG = """\
First steps:
  fastcore demo                      a controller converges 500 objects
  fastcore demo --serve              ... and keeps running, to look at with kubectl
  fastcore run --context my-cluster  the reference controller on a cluster of yours
  fastcore top                       what it does; http://127.0.0.1:8080/debug/ shows the same

Every subcommand explains itself: fastcore COMMAND --help
"""

EXTRA = "fastcore {command} needs the package {missing!r}: pip install 'fastcore-k8s[controller]'"


def parser() -> argparse.ArgumentParser:
    """The parser of the first word; each subcommand parses its own arguments."""
    result = argparse.ArgumentParser(
        prog="fastcore",
        description="A Kubernetes controller runtime on compiled primitives.",
        epilog=EPILOG,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    result.add_argument("--version", action="version", version=f"fastcore {__version__}")
    lines = "\n".join(f"  {name:<10} {command.help}" for name, command in COMMANDS.items())
    result.add_argument("command", choices=COMMANDS, metavar="COMMAND", help=f"one of:\n{lines}")
    result.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="see fastcore COMMAND --help")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run `fastcore ARGV` and return its exit status."""
    words = sys.argv[1:] if argv is None else argv
    if not words:  # whoever types the bare name asks what it can do
        parser().print_help(sys.stderr)
        return 2
    try:
        return _run(parser().parse_args(words))
    except KeyboardInterrupt:  # while the command was imported; then it is the command's own affair
        print("interrupted", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace) -> int:
    command = COMMANDS[options.command]
    try:
        run: Callable[[Sequence[str]], int] = import_module(command.module).main
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("fastcore"):
            raise
        print(EXTRA.format(command=options.command, missing=error.name), file=sys.stderr)
        return 2
    return run(options.arguments)
