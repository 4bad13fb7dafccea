"""Plugins that are none or break: files and modules of -p, installed packages, metadata that is damaged."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

from cllm.errors import CllmError, ConfigError, PluginError, UsageError
from tests.hostile.case import SITE, Case, Words
from tests.hostile.samples import SMALL, settings, text

REDUCER = """
    from cllm.hooks import ReducerSpec, hookimpl

    @hookimpl
    def cllm_register_reducers():
        yield ReducerSpec({spec})
    """


def of_a_file(
    name: str, source: str, came: str, expected: str = "a plugin that works", todo: str = "mend it, or `-p no:bad`",
) -> Case:
    def make(folder: Path) -> Words:
        (folder / "bad.py").write_text(textwrap.dedent(source))
        return ["plugins", "list", "-p", "./bad.py"]

    return Case(f"plugin: {name}", make, PluginError, "plugin bad (bad.py)", came, expected, todo)


def argument(name: str, word: str, came: str, expected: str, todo: str) -> Case:
    def make(folder: Path) -> Words:
        (folder / "beside.py").touch()
        (folder / "dir.py").mkdir()
        return ["plugins", "list", "-p", word]

    return Case(f"-p: {name}", make, UsageError, "-p", came, expected, todo)


def made(name: str, source: str, came: str, expected: str, todo: str, error: type[CllmError] = PluginError) -> Case:
    """A reducer whose factory gives `source`, used by a run."""

    def make(folder: Path) -> Words:
        text(folder)
        spec = '"bad.it", "a reducer", Part'
        (folder / "bad.py").write_text(textwrap.dedent(REDUCER.format(spec=spec)) + textwrap.dedent(source))
        data = ["train", "--data", "text.txt", "--out", "out", *settings(*SMALL, "reducer.name=bad.it")]
        return [*data, "-p", "./bad.py"]

    return Case(f"part: {name}", make, error, "reducer bad.it", came, expected, todo)


def package(folder: Path, name: str, source: str, entry_points: str | bytes = "", metadata: str | bytes = "") -> None:
    """Something that looks like an installed package, on sys.path while the case runs."""
    site = folder / SITE
    site.mkdir(exist_ok=True)
    (site / f"{name}_module.py").write_text(textwrap.dedent(source))
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    entry_points = entry_points or f"[cllm]\n{name} = {name}_module\n"
    metadata = metadata or f"Metadata-Version: 2.1\nName: dist-{name}\nVersion: 1.0\n"
    for file, content in (("entry_points.txt", entry_points), ("METADATA", metadata)):
        (info / file).write_bytes(content if isinstance(content, bytes) else content.encode())


def installed(
    name: str, make: Callable[[Path], object], came: str, expected: str, todo: str, who: str = "plugin bad",
    error: type[CllmError] = PluginError, words: str = "plugins list --strict-plugins",
) -> Case:
    def made(folder: Path) -> Words:
        make(folder)
        return words.split()

    return Case(f"package: {name}", made, error, who, came, expected, todo)


def twice(folder: Path) -> None:
    package(folder, "one", GOOD, "[cllm]\nbad = one_module\n")
    package(folder, "two", GOOD, "[cllm]\nbad = two_module\n")


def same_part(folder: Path) -> None:
    package(folder, "one", GOOD)
    package(folder, "two", GOOD)


def takes_over(folder: Path) -> None:
    package(folder, "bad", GOOD.replace("mine.it", "tree"))


def not_allowed(folder: Path) -> Words:
    """It is named with -p, and the config lets in no package."""
    text(folder)
    package(folder, "bad", "open('imported', 'w').close()")
    (folder / "bad.toml").write_text('[plugins]\nallow = []\n[data]\npath = "text.txt"\n')
    return ["train", "bad.toml", "--out", "out", "-p", "bad"]


def of_one_not_allowed(folder: Path) -> Words:
    """The config names a part of a package that it does not let in."""
    text(folder)
    package(folder, "bad", f"open('imported', 'w').close()\n{textwrap.dedent(GOOD)}")
    (folder / "bad.toml").write_text(
        '[plugins]\nallow = ["another"]\n[data]\npath = "text.txt"\n[reducer]\nname = "mine.it"\n'
    )
    return ["train", "bad.toml", "--out", "out"]


def of_one_left_out(folder: Path) -> Words:
    of_one_not_allowed(folder)
    return ["train", "--data", "text.txt", "--out", "out", "--set", "reducer.name=mine.it", "--no-plugins"]


GOOD = REDUCER.format(spec='"mine.it", "a reducer", "a.b:c"')
MENDED, MEND = "a plugin that works", "mend it, or `-p no:bad`"
PROTOCOLS = "see the protocols in cllm.hooks"

CASES = [
    of_a_file("no Python", "def (", "SyntaxError"),
    of_a_file("empty", "", "no hook in it", "functions marked with cllm.hooks.hookimpl", "see cllm.hooks.hookspecs"),
    of_a_file("zero bytes in it", "x = '\0'", "null bytes"),
    of_a_file("raises", "x = 1\n1 / 0", "ZeroDivisionError: division by zero (bad.py:2)"),
    of_a_file("raises with a line break", "raise ValueError('a\\nb')", "ValueError: a b (bad.py:1)"),
    of_a_file("raises an escape sequence", "raise ValueError('\\x1b[2J')", "ValueError: "),
    of_a_file("exits", "raise SystemExit(3)", "SystemExit: 3 (bad.py:1)"),
    of_a_file("never stops to call itself", "def f():\n    f()\nf()", "RecursionError"),
    of_a_file("misses a module", "import no_such_module_anywhere", "No module named 'no_such_module_anywhere'"),
    of_a_file("an unmarked hook", "def cllm_register_reducers():\n    return []", "no hook in it", "functions marked",
              "mark cllm_register_reducers with @hookimpl"),
    of_a_file("an unknown hook", """
        from cllm.hooks import hookimpl

        @hookimpl
        def cllm_register_reducer():
            return []
        """, "no hook is called cllm_register_reducer", "one of those in", 'did you mean "cllm_register_reducers"?'),
    of_a_file("a hook with unknown arguments", """
        from cllm.hooks import hookimpl

        @hookimpl
        def cllm_step_end(reports):
            pass
        """, "PluginValidationError"),
    of_a_file("a wrapper", """
        from cllm.hooks import hookimpl

        @hookimpl(wrapper=True)
        def cllm_step_end(report):
            yield
        """, "cllm_step_end is a wrapper", "a plain function", "leave out wrapper=True"),
    of_a_file("a hook that yields numbers", """
        from cllm.hooks import hookimpl

        @hookimpl
        def cllm_register_reducers():
            return [3]
        """, "cllm_register_reducers yields 3", "ReducerSpecs", "yield those"),
    of_a_file("a hook that returns a number", """
        from cllm.hooks import hookimpl

        @hookimpl
        def cllm_register_reducers():
            return 3
        """, "TypeError: 'int' object is not iterable"),
    of_a_file("a name with blanks", REDUCER.format(spec='"a b", "a reducer", "a.b:c"'), "name 'a b'", "small letters",
              "correct it in the plugin"),
    of_a_file("a name with an escape sequence", REDUCER.format(spec=r'"\x1b[2J", "x", "a.b:c"'), r"name '\x1b[2J'",
              "small letters", "correct it in the plugin"),
    of_a_file("a summary of two lines", REDUCER.format(spec='"a", "x\\ny", "a.b:c"'), "summary 'x\\ny'", "one line",
              "correct it in the plugin"),
    of_a_file("a factory that is a number", REDUCER.format(spec='"a", "a reducer", 3'), "factory 3", "a callable",
              "correct it in the plugin"),
    of_a_file("a reference without an attribute", REDUCER.format(spec='"a", "a reducer", "a.b"'), "reference 'a.b'",
              '"package.module:attribute"', "correct it in the plugin"),
    argument("a file that is missing", "./absent.py", "absent.py: No such file", "a Python file", "check the path"),
    argument("a folder", "./dir.py", "dir.py: Is a directory", "a Python file that can be read", "check the path"),
    argument("a module that is missing", "no_such_module", "no plugin 'no_such_module'", "a file.py, a module", "see"),
    argument("a file without its end", "beside", "no plugin 'beside'", "a file.py", 'did you mean "./beside.py"?'),
    argument("a name that no module has", "a-b", "no plugin 'a-b'", "a file.py, a module, or no:NAME", "see"),
    argument("nothing", "", "no plugin ''", "a file.py, a module, or no:NAME", "see"),
    argument("a line break", "a\nb", "no plugin 'a\\nb'", "a file.py, a module, or no:NAME", "see"),
    argument("cllm itself left out", "no:builtin", "no:builtin, which has all", "cllm can do without",
             "name other parts"),
    made("a factory that raises", "def Part():\n    raise RuntimeError('no luck')", "RuntimeError: no luck",
         "a working plugin", "mend or update it, or `-p no:bad`"),
    made("a list", "Part = list", "a list without kind", "kind", PROTOCOLS),
    made("of no kind", "class Part:\n    kind = 'sideways'", "kind = 'sideways'", '"fold" or "gather"', PROTOCOLS),
    made("without its methods", "class Part:\n    kind = 'fold'", "a Part without merge and finish", "merge, finish",
         PROTOCOLS),
    installed("does not import", lambda folder: package(folder, "bad", "1 / 0"), "ZeroDivisionError", MENDED, MEND),
    installed("its module is gone", lambda folder: package(folder, "bad", "", "[cllm]\nbad = nowhere\n"),
              "No module named 'nowhere'", MENDED, MEND),
    installed("an attribute that it lacks", lambda folder: package(folder, "bad", "", "[cllm]\nbad = bad_module:it\n"),
              "has no attribute 'it'", MENDED, MEND),
    installed("a reference that is none", lambda folder: package(folder, "bad", "", "[cllm]\nbad = a b c\n"),
              "its entry point is 'a b c'", '"package.module"', "correct it in the package's pyproject.toml"),
    installed("entry points that are no text", lambda folder: package(folder, "bad", "", b"[cllm]\nbad = \xff\xfe\n"),
              "UnicodeDecodeError", MENDED, MEND),
    installed("metadata that is no text", lambda folder: package(folder, "bad", "1 / 0", metadata=b"\xff\xfe\0Name"),
              "ZeroDivisionError", MENDED, MEND),
    installed("metadata without a name", lambda folder: package(folder, "bad", "1 / 0", metadata="Version: 1\n"),
              "ZeroDivisionError", MENDED, MEND),
    Case("package: not among those allowed", not_allowed, UsageError, "-p", "bad of dist-bad", "none",
         "add it to [plugins] allow"),
    Case("package: a part of one that is not allowed", of_one_not_allowed, ConfigError, "config",
         ('[reducer] name = "mine.it"', "dist-bad: [plugins] allow does not name its package"), "one of ordered, tree",
         "choose one of these"),
    Case("package: a part of one left out", of_one_left_out, ConfigError, "config",
         ('[reducer] name = "mine.it"', "dist-bad: --no-plugins"), "one of ordered, tree", "choose one of these"),
    installed("two plugins of one name", twice, "two of this name, from dist-one and from dist-two", "one",
              "uninstall or rename one of them", words="plugins list"),
    installed("two parts of one name", same_part, "two of this name, from dist-one and from dist-two", "one",
              "rename one, or leave its plugin out: -p no:two", "reducer mine.it", words="plugins list"),
    installed("a part of cllm's taken over", takes_over, "two of this name, from cllm and from dist-bad", "one",
              "-p no:bad", "reducer tree", words="plugins list"),
]
