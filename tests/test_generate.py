"""Decoding with a cache gives the bits of the full forward; sampling is a function of logits, seed and position."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import cllm
from cllm.decoder import Decoder
from cllm.errors import CheckpointError, DataError, KernelError, UsageError
from cllm.reference import Reference
from cllm.sampling import Sampling, choose
from tests.models import CONFIGS, a_model, build, shape
from tests.runs import config, train


def decoding(name: str = "plain", **changes: object) -> tuple[Decoder, np.ndarray, object]:
    _, parameters = a_model(name, **changes)
    program = build(shape(**{**CONFIGS[name], **changes}), "decode")
    return Decoder(program, parameters), parameters, program


@pytest.mark.parametrize("name", CONFIGS)
def test_one_at_a_time_is_all_at_once_to_the_bit(name: str) -> None:
    tokens = [(7 * n + 3) % 37 for n in range(16)]
    stepwise, parameters, program = decoding(name)
    for n, token in enumerate(tokens):
        logits = stepwise.feed([token]).copy()
        whole = Decoder(program, parameters).feed(tokens[: n + 1])
        assert logits.tobytes() == whole.tobytes()


@pytest.mark.parametrize("name", CONFIGS)
def test_logits_agree_with_the_reference(name: str) -> None:
    decoder, parameters, program = decoding(name)
    bound = 1e-2 if "bf16" in name else 1e-5
    tokens = np.array([[5, 0, 36, 12, 7]])
    reference = Reference(program, {n: v.astype(float) for n, v in program.views(parameters)}, tokens)
    reference.run()
    exact = reference.values["logits"]
    assert np.linalg.norm(decoder.feed(tokens[0]) - exact) <= bound * np.linalg.norm(exact)


def test_a_full_block_forgets_the_oldest() -> None:
    tokens = [(5 * n + 1) % 37 for n in range(40)]
    decoder, parameters, program = decoding()
    for token in tokens:
        logits = decoder.feed([token])
    assert logits.tobytes() == Decoder(program, parameters).feed(tokens[-16:]).tobytes()


LOGITS = np.array([1.0, 3.0, 2.0, -1.0, 3.0], dtype=np.float32)


def test_temperature_zero_takes_the_first_of_the_likeliest() -> None:
    assert choose(LOGITS, Sampling(temperature=0.0), 0) == 1


def test_draws_follow_the_probabilities() -> None:
    counts = np.bincount([choose(LOGITS, Sampling(seed=3), n) for n in range(4000)], minlength=5)
    expected = np.exp(LOGITS) / np.exp(LOGITS).sum()
    assert np.abs(counts / 4000 - expected).max() < 0.03


def test_top_k_and_top_p_leave_out_the_unlikely() -> None:
    assert {choose(LOGITS, Sampling(top_k=2, seed=1), n) for n in range(200)} == {1, 4}
    assert {choose(LOGITS, Sampling(top_p=0.5, seed=1), n) for n in range(200)} == {1, 4}
    assert {choose(LOGITS, Sampling(top_p=0.99, seed=1), n) for n in range(400)} == {0, 1, 2, 4}


@pytest.mark.parametrize("wrong", [{"temperature": -1.0}, {"top_k": 0}, {"top_p": 0.0}, {"seed": -1}, {"seed": 2**32}])
def test_senseless_sampling_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        Sampling(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_logit_that_is_not_finite_is_no_choice(wrong: float, temperature: float) -> None:
    for token in range(len(LOGITS)):
        logits = LOGITS.copy()
        logits[token] = wrong
        with pytest.raises(KernelError, match=f"logit .* of token {token};"):
            choose(logits, Sampling(temperature), 0)


def test_a_temperature_too_small_for_float32_takes_the_likeliest() -> None:
    assert choose(LOGITS, Sampling(temperature=1e-60), 0) == 1


@pytest.mark.parametrize("token", [-1, 37, 9999])
@pytest.mark.parametrize("n_known", [0, 5, 16])
def test_a_token_that_the_model_has_not_is_refused(token: int, n_known: int) -> None:
    tokens = [(7 * n + 3) % 37 for n in range(16)]
    decoder, parameters, program = decoding()
    if n_known:
        decoder.feed(tokens[:n_known])
    with pytest.raises(DataError, match=r"decoder: a token outside 0 \.\. 36"):
        decoder.feed([4, token])
    kept = tokens[:n_known] if n_known < 16 else []
    expected = Decoder(program, parameters).feed([*kept, 8])
    assert decoder.feed([8]).tobytes() == expected.tobytes()


def test_text_from_a_run(tmp_path: Path) -> None:
    train(config(tmp_path), tmp_path / "run")
    model = cllm.load(tmp_path / "run")
    text = model.generate("The", max_new_tokens=20, seed=4)
    assert text == model.generate("The", max_new_tokens=20, seed=4)
    assert text != model.generate("The", max_new_tokens=20, seed=5)
    pieces = list(model.stream("The", 20, Sampling(0.8, seed=4), stop=text[5:7]))
    assert "".join(pieces) == text[: text.index(text[5:7])]
    assert model.generate("The", max_new_tokens=0) == ""
    assert text == model.generate("The", max_new_tokens=20, seed=4, n_threads=3)
    with pytest.raises(UsageError, match="0 threads"):
        model.generate("The", max_new_tokens=5, n_threads=0)
    with pytest.raises(UsageError, match="-5 new tokens"):
        model.generate("The", max_new_tokens=-5)


def test_a_run_without_a_checkpoint_has_no_model(tmp_path: Path) -> None:
    with cllm.Trainer(config(tmp_path), tmp_path / "run"):
        pass
    with pytest.raises(CheckpointError, match="no checkpoint"):
        cllm.load(tmp_path / "run")


def test_threads_share_a_token_and_change_no_bit() -> None:
    program, parameters = build(shape(), "decode"), a_model("plain")[1]
    one, two = Decoder(program, parameters), Decoder(program, parameters, 2)
    for token in (3, 1, 4, 1, 5):
        assert one.feed([token]).tobytes() == two.feed([token]).tobytes()
