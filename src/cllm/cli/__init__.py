"""The command line: `cllm COMMAND`. A command's module is imported when it is called, so `--help` is quick."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from cllm.errors import CllmError, MemoryLimitError

# Name, module, summary: help needs no import of what it describes.
COMMANDS = (
    ("train", "train a model"),
    ("generate", "write text with a trained model"),
    ("eval", "measure a trained model"),
    ("prepare", "turn a dataset into token files"),
    ("digest", "print the digest of a run"),
    ("diff", "name the first step at which two runs differ"),
    ("plugins", "list what is installed"),
    ("profile", "show where the time of a training step goes"),
    ("bench", "measure training over thread counts"),
    ("doctor", "show what this machine and this build can do"),
)
DONE, FAILED, USAGE = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code: 0 done, 1 failed, 2 wrong usage."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(
        "cllm", description="Trains small language models on CPUs.", epilog="Example: cllm train --demo",
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    called = next((word for word in words if not word.startswith("-")), None)
    for name, summary in COMMANDS:
        if name == called:
            module = importlib.import_module(f"cllm.cli.{name}")
            example = argparse.RawDescriptionHelpFormatter
            command = subparsers.add_parser(
                name, help=summary, description=module.__doc__, epilog=module.EXAMPLE, formatter_class=example
            )
            module.add_arguments(command)
            command.set_defaults(run=module.run)
        else:
            subparsers.add_parser(name, help=summary)
    options = parser.parse_args(words)
    if options.version:
        return _print_version()
    if options.command is None:
        parser.print_help()
        return USAGE
    return _run(options)


def _run(options: argparse.Namespace) -> int:
    try:
        return int(options.run(options))
    except CllmError as error:
        print(f"cllm: {error}", file=sys.stderr)
        return error.exit_code
    except MemoryError as error:
        print(f"cllm: {_out_of_memory(error)}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has left; Python would complain again when it flushes at exit.
        sys.stdout = None
        return FAILED


def _out_of_memory(error: MemoryError) -> MemoryLimitError:
    """Less was left than was allowed: estimates know neither other programs nor all that libraries reserve."""
    reason = str(error) or "no reason given"
    advice = "close other programs, raise the limit (ulimit -v), or make the model or the batch smaller"
    return MemoryLimitError("memory", f"the system refused it: {reason}", "as much as was estimated", advice)


def _print_version() -> int:
    from importlib.metadata import PackageNotFoundError, version

    try:
        print(f"cllm {version('cllm')}")
    except PackageNotFoundError:
        print("cllm, from its source tree")
    return DONE
