"""The files for llm.c, read as its own C reads them: 256 int32 of header, then what the header says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.model import program_of
from benchmarks.peers import PEERS
from benchmarks.peers.llmc import variant, write_model, write_tokens
from benchmarks.task import TASKS

TASK = variant(TASKS["XS"])


def test_the_model_file_is_a_header_and_sixteen_tensors(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)  # biases and gains are all alike when a run begins: their order would not show
    weights = {p.name: rng.normal(size=p.shape).astype(np.float32) for p in program_of(TASK).parameters}
    write_model(tmp_path / "model.bin", TASK, weights)

    raw = (tmp_path / "model.bin").read_bytes()
    header = np.frombuffer(raw[:1024], "<i4")
    assert list(header[:8]) == [20240326, 3, 32, 100, 2, 4, 64, 128] and not header[8:].any()

    rest, v, t, n, c = np.frombuffer(raw[1024:], "<f4"), 128, 32, 2, 64
    shapes = {
        "wte": (v, c), "wpe": (t, c), "ln1w": (n, c), "ln1b": (n, c), "qkvw": (n, 3 * c, c), "qkvb": (n, 3 * c),
        "attprojw": (n, c, c), "attprojb": (n, c), "ln2w": (n, c), "ln2b": (n, c), "fcw": (n, 4 * c, c),
        "fcb": (n, 4 * c), "fcprojw": (n, c, 4 * c), "fcprojb": (n, c), "lnfw": (c,), "lnfb": (c,),
    }
    found, at = {}, 0
    for name, shape in shapes.items():
        size = int(np.prod(shape))
        found[name] = rest[at : at + size].reshape(shape)
        at += size
    assert at == rest.size
    assert np.array_equal(found["wte"][:100], weights["transformer.wte.weight"]) and not found["wte"][100:].any()
    assert np.array_equal(found["qkvw"][1], weights["transformer.h.1.attn.c_attn.weight"].T)
    assert np.array_equal(found["fcprojw"][0], weights["transformer.h.0.mlp.c_proj.weight"].T)
    assert np.array_equal(found["fcb"][1], weights["transformer.h.1.mlp.c_fc.bias"])
    assert np.array_equal(found["ln2b"][0], weights["transformer.h.0.ln_2.bias"])
    assert np.array_equal(found["lnfb"], weights["transformer.ln_f.bias"])


def test_the_token_file_is_a_header_and_uint16(tmp_path: Path) -> None:
    write_tokens(tmp_path / "tokens.bin", np.array([0, 99, 65535, 7], np.int32))
    raw = (tmp_path / "tokens.bin").read_bytes()
    header = np.frombuffer(raw[:1024], "<i4")
    assert list(header[:3]) == [20240520, 1, 4] and not header[3:].any()
    assert list(np.frombuffer(raw[1024:], "<u2")) == [0, 99, 65535, 7]


def test_a_token_that_its_files_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="65536"):
        write_tokens(tmp_path / "tokens.bin", np.array([65536], np.int32))
    assert not (tmp_path / "tokens.bin").exists()


def test_it_needs_a_copy(tmp_path: Path) -> None:
    peer = PEERS["llmc"]
    assert "--llmc" in (peer.missing(None) or "")
    assert "no train_gpt2.c" in (peer.missing(tmp_path) or "")
    (tmp_path / "train_gpt2.c").touch()
    assert peer.missing(tmp_path) is None
