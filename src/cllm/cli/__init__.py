"""The command line: `cllm COMMAND`. A command's module is imported when it is called, so `--help` is quick."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cllm.errors import CllmError, MemoryLimitError, UsageError, did_you_mean

# Name, module, summary: help needs no import of what it describes.
COMMANDS = (
    ("train", "train a model"),
    ("generate", "write text with a trained model"),
    ("eval", "measure a trained model"),
    ("prepare", "turn a dataset into token files"),
    ("data", "show what is in prepared data"),
    ("tokenizer", "learn a tokenizer from text, or look into one"),
    ("digest", "print the digest of a run"),
    ("diff", "name the first step at which two runs differ"),
    ("report", "write a page with the curves of runs"),
    ("watch", "show the curves of runs in a browser as they go on"),
    ("replay", "compute again what stopped a run"),
    ("verify", "look whether a run or prepared data is as it was written"),
    ("plugins", "list what is installed, or begin a package of your own"),
    ("profile", "show where the time of a training step goes"),
    ("bench", "measure training over thread counts"),
    ("doctor", "show what this machine and this build can do"),
)
DONE, FAILED, USAGE, OTHER_BITS, INTERRUPTED, TERMINATED = 0, 1, 2, 3, 130, 143
EXIT_CODES = """\
exit codes:
  0 done, 1 failed, 2 wrong usage, 3 a replay gave other bits, 17 stopped by a check or a failing reducer,
  130 interrupted (Ctrl-C), 143 terminated (SIGTERM)"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code. Whatever ends it in a way that users meet is one line, no traceback."""
    try:
        try:
            return _run(list(sys.argv[1:] if arguments is None else arguments))
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # at exit it would be too late to say what is wrong
    except CllmError as error:
        if not error.is_echo:
            print(f"cllm: {error}", file=sys.stderr)
        return error.exit_code
    except MemoryError as error:
        print(f"cllm: {_out_of_memory(error)}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("cllm: interrupted", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        # Python would complain again when it flushes at exit.
        sys.stdout = None
        if not isinstance(error, BrokenPipeError):  # else whoever read our output has left
            print(f"cllm: {_explained(error)}", file=sys.stderr)
        return FAILED


def _run(words: Sequence[str]) -> int:
    # Here, within reach of main's handlers: a Ctrl-C that comes while modules are imported is one like any other.
    import argparse
    import importlib

    from cllm import env

    called = next((word for word in words if not word.startswith("-")), None)
    names = [name for name, _ in COMMANDS]
    if called is not None and called not in names:
        expected = f"one of {', '.join(names)}"
        raise UsageError("command", f"there is no {called!r}", expected, did_you_mean(called, names))
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "cllm", description="Trains small language models on CPUs.", formatter_class=raw,
        epilog=f"example:\n  cllm train --demo\n\n{EXIT_CODES}",
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, summary in COMMANDS:
        if name == called:
            env.check()
            module = importlib.import_module(f"cllm.cli.{name}")
            command = subparsers.add_parser(
                name, help=summary, description=module.__doc__, epilog=f"{module.EXAMPLE}\n\n{EXIT_CODES}",
                formatter_class=raw,
            )
            module.add_arguments(command)
            command.set_defaults(run=module.run)
        else:
            subparsers.add_parser(name, help=summary)
    options, left = parser.parse_known_args(words)
    if left:
        from cllm.cli.surplus import surplus

        if called is None:
            raise surplus(parser, left, "name a command first, as in cllm train --demo")
        raise surplus(subparsers.choices[called], left, "put -- before a word that begins with - and is no option")
    if options.version:
        return _print_version()
    if options.command is None:
        parser.print_help()
        return USAGE
    try:
        return int(options.run(options))
    except (CllmError, OSError, MemoryError):
        raise
    except Exception as error:
        from cllm.hooks.blame import blamed

        of_a_plugin = blamed(error, getattr(options, "plugins", ()))
        if of_a_plugin is None:
            raise
        raise of_a_plugin from error


def _explained(error: OSError) -> CllmError:
    """An error that the system gave while results were written."""
    from pathlib import Path

    from cllm.atomic import disk_errors

    try:
        with disk_errors(CllmError, "output", Path("standard output")):
            raise error
    except CllmError as explained:
        return explained


def _out_of_memory(error: MemoryError) -> MemoryLimitError:
    """Less was left than was allowed: estimates know neither other programs nor all that libraries reserve."""
    reason = str(error) or "no reason given"
    advice = "close other programs, raise the limit (ulimit -v), or make the model or the batch smaller"
    return MemoryLimitError("memory", f"the system refused it: {reason}", "as much as was estimated", advice)


def _print_version() -> int:
    from cllm.version import __version__

    print(f"cllm {__version__}")
    return DONE
