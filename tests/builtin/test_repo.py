"""Source trees: what git would list, in the order of paths, and nothing from outside the tree."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from cllm.builtin.repo import RepoConfig, RepoDataset
from cllm.data.globs import parse_glob
from cllm.errors import DataError


def read(tree: Path, **options: Any) -> dict[str, str]:
    """Texts by the path within the tree, in order."""
    documents = RepoDataset(RepoConfig(source=str(tree), **options)).documents()
    return {Path(one.source).relative_to(tree.resolve()).as_posix(): one.text for one in documents}


def write(tree: Path, **files: str) -> Path:
    """Files by their paths, with __ for the slash."""
    for name, text in files.items():
        path = tree / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tree


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write(tmp_path / "tree", b="B", a__z="AZ", a__b__c="ABC", B="big B")


def test_files_come_in_the_order_of_their_paths(tree: Path) -> None:
    (tree / "a.py").write_text("a.py")
    (tree / ".github").mkdir()
    (tree / ".github" / "ci").write_text("ci")
    assert list(read(tree)) == [".github/ci", "B", "a/b/c", "a/z", "a.py", "b"]


def test_binary_large_empty_and_foreign_files_are_left_out(tree: Path) -> None:
    (tree / "zero").write_bytes(b"text\0")
    (tree / "latin1").write_bytes("é".encode("latin-1"))
    (tree / "empty").touch()
    (tree / "large").write_text("x" * 101)
    for folder in (".git", ".tmp-out-1", "runs/one", "data/own"):
        (tree / folder).mkdir(parents=True)
        (tree / folder / "notes").write_text("not to be seen")
    (tree / "runs/one/ledger.jsonl").touch()
    (tree / "data/own/train.tokens").touch()
    os.mkfifo(tree / "pipe")
    assert set(read(tree, max_bytes=100)) == {"B", "b", "a/b/c", "a/z"}
    with pytest.raises(DataError, match=r"latin1: at byte 0 it is not UTF-8 \(byte 0xe9"):
        read(tree, not_utf8="refuse")


def test_links_are_not_followed(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tree / "file").symlink_to(tmp_path / "secret")
    (tree / "folder").symlink_to(tmp_path)
    (tree / "within").symlink_to("b")
    (tree / "circle").symlink_to(".")
    (tree / "broken").symlink_to("gone")
    (tree / ".gitignore").symlink_to(tmp_path / "secret")
    assert set(read(tree)) == {"B", "b", "a/b/c", "a/z"}
    (tmp_path / "link").symlink_to(tree)
    assert set(read(tmp_path / "link")) == {"B", "b", "a/b/c", "a/z"}


def test_the_last_pattern_and_the_nearest_file_decide(tree: Path) -> None:
    write(tree, a__b__d="D", a__e="E", a__f__g="G", **{".gitignore": "*\n!*/\n!b\nf/\n!f/g\n!.gitignore\n"})
    (tree / "a" / ".gitignore").write_text("!z\n!/b/d\n")
    assert set(read(tree)) == {".gitignore", "b", "a/z", "a/b/d", "a/.gitignore"}


def test_a_part_of_a_repository_obeys_what_lies_above_it(tree: Path) -> None:
    (tree / ".git").mkdir()
    (tree / ".gitignore").write_text("c\n")
    (tree.parent / ".gitignore").write_text("z\n")  # above the repository: it does not count
    assert set(read(tree / "a")) == {"z"}
    (tree / ".git").rmdir()
    assert set(read(tree / "a")) == {"b/c", "z"}  # no repository


def test_folders_may_lie_deep(tmp_path: Path) -> None:
    folders = [tmp_path.joinpath("tree", *["a"] * depth) for depth in range(1050)]
    for folder in folders:
        folder.mkdir()
    (folders[-1] / "b").write_text("deep")
    try:
        assert list(read(tmp_path / "tree").values()) == ["deep"]
    finally:  # pytest, which clears up after some runs, would not come to its end
        (folders[-1] / "b").unlink()
        for folder in reversed(folders):
            folder.rmdir()


def test_include_exclude_and_headers(tree: Path) -> None:
    assert set(read(tree, include=["a/", "B"])) == {"B", "a/b/c", "a/z"}
    assert set(read(tree, exclude=["/a/b", "[Bb]"])) == {"a/z"}
    assert read(tree, include=["c"], header="# {path} {{}}") == {"a/b/c": "# a/b/c {}\nABC"}
    with pytest.raises(DataError, match="no text files in"):
        read(tree, include=["*.py"])


def test_a_name_that_is_no_text_cannot_be_a_header(tree: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(tree) + b"/caf\xe9")).write_text("text")
    except OSError:
        pytest.skip("this file system has no such names")
    assert "text" in read(tree).values()
    with pytest.raises(DataError, match="a path in UTF-8"):
        read(tree, header="{path}")


def test_names_that_are_no_text_match_as_they_are(tree: Path) -> None:
    (tree / ".gitignore").write_bytes(b"\xef\xbb\xbf!\r\n/b\r\nB\xff\n/.gitignore\n[\n\\\n")
    assert set(read(tree)) == {"B", "a/b/c", "a/z"}


NAMES = ("a", "b", "ab", "build", "x.o", "y.o", "keep.o", ".hidden", "a b", "a#b", "doc.md", "[x]")
PATTERNS = ("*.o", "!keep.o", "build/", "/a", "a/", "/a/b", "**/ab", "a/**", "!a/b", "*/b", "doc.*", "# note", "",
            "!/build", r"\#x", "[xy].o", "a*", "!ab", "a b",
            "/*/x.o", "**/build/**", r"\[x\]", "?b", "b/ ", "!.hidden", ".*")


def a_tree(folder: Path, chance: random.Random, depth: int = 0) -> None:
    folder.mkdir()
    for name in chance.sample(NAMES, 5):
        if depth < 3 and chance.random() < 0.4:
            a_tree(folder / name, chance, depth + 1)
        else:
            (folder / name).write_text(name)
    if chance.random() < (1.0 if depth == 0 else 0.4):
        (folder / ".gitignore").write_text("\n".join(chance.sample(PATTERNS, chance.randint(1, 5))) + "\n")


def git_lists(tree: Path) -> list[str]:
    """What git would take, by the .gitignore files of the tree alone."""
    alone = {**os.environ, "HOME": str(tree), "GIT_CONFIG_NOSYSTEM": "1", "XDG_CONFIG_HOME": str(tree)}
    for words in (("init", "-q"), ("ls-files", "-co", "--exclude-standard", "-z")):
        done = subprocess.run(["git", "-C", str(tree), *words], env=alone, capture_output=True, check=True)
    return sorted(os.fsdecode(done.stdout).split("\0")[:-1])


def lists(tree: Path) -> list[str]:
    try:
        return sorted(read(tree))
    except DataError:  # nothing at all
        return []


has_git = pytest.mark.skipif(shutil.which("git") is None, reason="git says what it would list")


@has_git
@pytest.mark.parametrize("seed", range(20))
def test_it_is_what_git_lists(seed: int, tmp_path: Path) -> None:
    a_tree(tmp_path / "tree", random.Random(seed))
    assert lists(tmp_path / "tree") == git_lists(tmp_path / "tree")


ATOMS = ("a", "b", "ab", "é", ".", " ", "*", "*", "?", "[", "]", "!", "^", "-", "\\", "#", "[a-b]", "[!a]", "[]a]",
         "[[:alpha:]]", "[[:punct:]]", "[\\]]", "[b-a]", "[^]")


def a_pattern(chance: random.Random) -> str:
    """Without two stars in a row that do not stand alone between slashes: there versions of git differ."""
    names = [re.sub(r"\*+", "*", "".join(chance.choices(ATOMS, k=chance.randint(1, 3)))) for _ in "abc"]
    parts = [chance.choice((name, name, "**")) for name in names[: chance.randint(1, 3)]]
    return chance.choice(("", "", "!", "/")) + "/".join(parts) + chance.choice(("", "", "/", " "))


@has_git
def test_any_pattern_is_read_as_git_reads_it(tmp_path: Path) -> None:
    chance, differ = random.Random(0), 0
    names = ("a", "b", "ab", "aé", "é", "a b", "a ", "a]", "[a", "!a", "#", "^", "-", "a.b", "\\", "*")
    for name in names:
        for folder in ("", "a/", "b/ab/", "a/b/"):
            with suppress(OSError):  # a folder has this name
                write(tmp_path, **{f"{folder}{name}".replace("/", "__"): "x"})
    everything = lists(tmp_path)
    for _ in range(60):
        lines = [a_pattern(chance) for _ in range(chance.randint(1, 3))]
        (tmp_path / ".gitignore").write_text("\n".join(lines) + chance.choice(("", "\n", "\r\n")), newline="")
        assert lists(tmp_path) == git_lists(tmp_path), lines
        differ += lists(tmp_path) != sorted({*everything, ".gitignore"})
    assert differ > 15


def test_no_pattern_takes_long() -> None:
    glob = parse_glob(b"*a" * 60 + b"*b/" + b"**/a/" * 60 + b"b")
    assert glob is not None
    assert not glob.match((b"a" * 250, *[b"a"] * 400), is_folder=False)
    assert parse_glob(b"*a" * 60 + b"b").match((b"a" * 250,), is_folder=False) is False  # type: ignore[union-attr]
