"""Config files and overrides that make no run: no TOML, keys and values that are none, sizes that no machine has."""

from __future__ import annotations

import os
from pathlib import Path

from cllm.errors import CllmError, ConfigError, DataError, MemoryLimitError, ProgramError, UsageError
from tests.hostile.case import Case, Words
from tests.hostile.samples import text

SOUND = '[data]\npath = "text.txt"\n'


def config(
    name: str, content: str | bytes, came: str, expected: str, todo: str, error: type[CllmError] = ConfigError,
    who: str = "config",
) -> Case:
    def make(folder: Path) -> Words:
        text(folder)
        (folder / "bad.toml").write_bytes(content if isinstance(content, bytes) else content.encode())
        return ["train", "bad.toml", "--out", "out"]

    return Case(f"config: {name}", make, error, who, came, expected, todo)


def toml(name: str, content: str | bytes, came: str) -> Case:
    return config(f"no TOML: {name}", content, f"bad.toml: {came}", "TOML in UTF-8", "correct the file")


def value(
    name: str, line: str, came: str, expected: str, todo: str, error: type[CllmError] = ConfigError, who: str = "config"
) -> Case:
    """A dotted key that is laid over a sound config by a line of a file."""
    return config(name, f"{line}\n{SOUND}", came, expected, todo, error, who)


def override(name: str, words: str, came: str, expected: str, todo: str, error: type[CllmError] = ConfigError) -> Case:
    def make(folder: Path) -> Words:
        text(folder)
        return ["train", "--data", "text.txt", "--out", "out", "--set", words]

    return Case(f"override: {name}", make, error, "config", came, expected, todo)


def too_large(name: str, line: str) -> Case:
    return value(f"too large: {name}", line, " GB", "at most 80 % of the", "smaller", MemoryLimitError, "memory")


def missing(folder: Path) -> Words:
    return ["train", "gone.toml", "--out", "out"]


def a_folder(folder: Path) -> Words:
    return ["train", ".", "--out", "out"]


def endless(folder: Path) -> Words:
    return ["train", "/dev/zero", "--out", "out"]


def sparse(folder: Path) -> Words:
    (folder / "sparse.toml").touch()
    os.truncate(folder / "sparse.toml", 1 << 40)
    return ["train", "sparse.toml", "--out", "out"]


def resume_with_out(folder: Path) -> Words:
    return ["train", "--resume", "run", "--out", "out"]


COUNT, CORRECT = "a whole number, 1 or more", "choose another value"
READ, CHECK = "a TOML file that can be read", "check the path"
FINITE, PLAIN = "a finite number", "correct it"

CASES = [
    toml("a key without a value", "train", "Expected '='"),
    toml("a table without its end", "[train\nsteps = 3", "Expected ']'"),
    toml("text without quotes", f"{SOUND}loader = squad", "Invalid value (at line 3"),
    toml("text without its end", 'name = "run', "Unterminated string"),
    toml("a key twice", f'{SOUND}path = "b"', "Cannot overwrite a value"),
    toml("a table twice", f"{SOUND}[data]\n", "Cannot declare ('data',) twice"),
    toml("Latin-1", b"name = '\xff'", "'utf-8' codec can't decode byte 0xff"),
    toml("UTF-16", SOUND.encode("utf-16"), "'utf-8' codec can't decode byte 0xff"),
    toml("zero bytes", bytes(100), "Invalid statement"),
    toml("JSON", '{"data": {"path": "text.txt"}}', "Invalid statement"),
    toml("100,000 brackets", "a = " + "[" * 100_000, "maximum recursion depth"),
    toml("a number of 9,999 digits", "a = " + "9" * 9999, "Exceeds the limit"),
    toml("a day that is none", "a = 2024-02-31", "Invalid date"),
    config("empty", "", "[data] does not say where the text is", "path, loader or mixture", "add path"),
    config("a table in capitals", "[Data]\npath = 'a'", "the config has no 'Data'", "one of", 'did you mean "data"?'),
    config("a key with a line break", '"a\\nb" = 1', "the config has no 'a\\nb'", "one of", "choose"),
    config("a key with an escape sequence", '"\\u001b[2J" = 1', "the config has no", "one of", "choose"),
    config("a key of 100 parts", "a." * 99 + "a = 1", "more than 32 deep", "the few levels of a config", PLAIN),
    config("a value for a table", "data = 3", "data = 3", "a table", "write [data]"),
    config("a list for a table", "[[data]]\npath = 'a'", "data = [", "a table", "write [data]"),
    config("a table for a value", "[name.x]\n" + SOUND, "name = {", "letters, digits", "choose another name"),
    value("a misspelt key", "train.stepz = 3", "[train] has no 'stepz'", "one of", 'did you mean "steps"?'),
    value("text for a number", 'train.steps = "3"', 'steps = "3"', COUNT, "write it without quotes"),
    value("a fraction for a count", "train.steps = 3.0", "steps = 3.0", COUNT, "write 3"),
    value("true for a count", "train.steps = true", "steps = true", COUNT, CORRECT),
    value("no steps", "train.steps = 0", "steps = 0", COUNT, CORRECT),
    value("fewer than no steps", "train.steps = -1", "steps = -1", COUNT, CORRECT),
    value("NaN", "optimizer.learning_rate = nan", "learning_rate = nan", FINITE, PLAIN),
    value("infinity", "optimizer.learning_rate = -inf", "learning_rate = -inf", FINITE, PLAIN),
    value("a seed beyond 2^32", "train.seed = 4294967296", "seed = 4294967296", "below 2^32", "use a smaller one"),
    value("a number of 4,000 digits", f"train.steps = {'9' * 4000}", "a number of 13288 bits", "at most 1000", PLAIN),
    value("two lengths", "train.steps = 3\ntrain.epochs = 1", "steps = 3 and epochs = 1.0", "one of them", "remove"),
    value("endless epochs", "train.epochs = 1e307", "epochs = 1e+307", "an end that could be reached", "use fewer"),
    value("a shard larger than the batch", "train.micro_batch_size = 13", "is more than batch_size = 12", "at most",
          "12"),
    value("heads that do not divide", "model.n_embd = 130", "n_embd = 130 is not divisible", "a multiple",
          "128 or 132"),
    value("all dropped", "model.dropout = 1.0", "dropout = 1.0", "at least 0 and below 1", CORRECT),
    value("an unknown activation", 'model.activation = "relu"', 'activation = "relu"', "gelu_tanh, gelu",
          "did you mean"),
    value("an unknown preset", 'model.preset = "huge"', 'preset = "huge"', "tiny, mini", "choose one of these"),
    value("an unknown family", 'model.family = "llama9"', 'family = "llama9"', "one of gpt2, llama", 'mean "llama"?'),
    value("an option of another family", "model.rope_theta = 500.0", "rope_theta = 500.0 with family",
          "its own options", "remove rope_theta"),
    value("a family without biases", 'model.family = "llama"\nmodel.bias = true', "bias = true with family",
          "n_kv_head", "remove bias"),
    value("heads that do not share", 'model.family = "llama"\nmodel.n_kv_head = 3', "3 heads of keys", "a divisor of",
          "change n_kv_head", ProgramError, "self_attn"),
    value("heads without halves", 'model.family = "llama"\nmodel.n_embd = 12', "heads of 3 channels", "an even number",
          "change n_head", ProgramError, "model.rotary"),
    value("a name that leads away", 'name = "../../tmp"', 'name = "../../tmp"', "letters, digits",
          "choose another name"),
    value("a name with a line break", 'name = "a\\nb"', 'name = "a\nb"', "letters, digits", "choose another name"),
    value("an unknown optimizer", 'optimizer.name = "adamx"', 'name = "adamx"', "one of adamw", 'mean "adamw"?'),
    value("an option that it lacks", "optimizer.betaz = [1, 2]", "[optimizer] has no 'betaz'", "one of",
          'mean "betas"?'),
    value("a pair of three", "optimizer.betas = [1, 2, 3]", "betas = [1, 2, 3]", "a list of 2", CORRECT),
    value("a reducer with options", "reducer.depth = 3", "[reducer] depth", "no options at all", "remove depth"),
    value("finite switched off", "checks.finite = false", "[checks] has finite", "always on", "remove it"),
    value("a check that nobody has", "checks.spyke = true", '[checks.spyke] name = "spyke"', "one of", '"spike"?'),
    value("a communicator", 'dist.communicator = "wire"', 'communicator = "wire"', "one of single", "choose"),
    value("no checkpoint kept", "checkpoint.keep = 0", "keep = 0", COUNT, CORRECT),
    config("two sources", f'{SOUND}loader = "text"', "[data] has path and loader", "one of path", "remove the others"),
    config("an empty mixture", "[data]\nmixture = []", "mixture = []", "at least one source", "add [[data.mixture]]"),
    config("a mixture of text", '[data]\nmixture = ["a"]', 'mixture[0] = "a"', "a table of path, weight",
           "without quotes"),
    config("a weight of nothing", '[[data.mixture]]\npath="a"\nweight=0', "weight = 0", "a number above 0", CORRECT),
    config("a path with a zero byte", '[data]\npath = "a\\u0000b"', "the path", "without zero bytes", "correct it"),
    config("pydoc with a source", '[data]\nloader = "pydoc"\nsource = "a"', 'source = "a"', "nothing", "remove it"),
    config("squad without a source", '[data]\nloader = "squad"', "[data.options] without source", "text or a list",
           "add source"),
    config("an unknown loader", '[data]\nloader = "sqad"', 'loader = "sqad"', "one of csv, jsonl, markdown, pydoc",
           'mean "squad"?'),
    config("a missing text", '[data]\npath = "gone.txt"', "gone.txt: No such file", "can be read", CHECK, DataError,
           "data"),
    config("too little text for a window", f"{SOUND}[model]\nblock_size = 100000", "tokens for windows",
           "at least 100,001",
           "take more text or a smaller block_size", DataError, "data"),
    too_large("n_embd = 10^9", "model.n_embd = 1000000000"),
    too_large("n_layer = 10^12", "model.n_layer = 1000000000000"),
    too_large("batch_size = 10^9", "train.batch_size = 1000000000"),
    too_large("vocab_size = 10^15", "model.vocab_size = 1000000000000000"),
    too_large("n_embd of 30 digits", "model.n_embd = 100000000000000000000000000000"),
    override("without a value", "train.steps", "'train.steps'", "table.key=value", "as in train.steps=2000"),
    override("without a key", "=3", "'=3'", "table.key=value", "as in train.steps=2000"),
    override("two dots", "train..steps=3", "'train..steps=3'", "table.key=value", "as in train.steps=2000"),
    override("a value for a table", "train=3", "train = 3", "a table", "[train]"),
    override("no UTF-8", "data.path=a\udcff", "data.path", "text in UTF-8", PLAIN),
    override("more than a value", "train.steps=3\ntrain.seed=4", "steps = ", COUNT, "without quotes"),
    Case("config: missing", missing, ConfigError, "config", "gone.toml: No such file", READ, CHECK),
    Case("config: a folder", a_folder, ConfigError, "config", "directory", READ, CHECK),
    Case("config: zeros without end", endless, ConfigError, "config", "it has more than 1 MiB", READ, CHECK),
    Case("config: a terabyte of nothing", sparse, ConfigError, "config", "it has more than 1 MiB", READ, CHECK),
    Case("config: --resume with --out", resume_with_out, UsageError, "train", "--resume with --out", "--resume alone",
         "start a new run"),
]
