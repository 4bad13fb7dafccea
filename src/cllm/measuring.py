"""What a run measures of itself now and then: losses over held-out text, and a sample of what it writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from cllm.assemble import Assembly
from cllm.config import Config
from cllm.data.batches import Batch, Source, evaluation_batches
from cllm.decoder import Decoder
from cllm.evaluate import Evaluation, evaluate
from cllm.outcomes import Interrupted
from cllm.sampling import Sampling
from cllm.writing import usual_threads, write


@dataclass(frozen=True)
class Measured:
    """What a report says of an evaluation."""

    validation_loss: float | None = None
    evaluations: Mapping[str, float] = field(default_factory=dict)
    sample: str | None = None


NOTHING_MEASURED = Measured()


def measured(parts: Assembly, validation: Evaluation | None) -> Measured:
    """What there is besides the loss over the validation part. Raises Interrupted."""
    others = {name: evaluate_source(parts, source).loss for name, source in parts.data.others.items()}
    return Measured(validation.loss if validation else None, others, _sample(parts))


def evaluate_source(parts: Assembly, source: Source) -> Evaluation:
    """The loss over a source, or as much of it as eval_batches says."""
    assert parts.evaluator is not None
    batches = batches_to_measure(parts.config, source, parts.config.train.eval_batches)
    return evaluate(parts.evaluator, parts.measured, batches)


def batches_to_measure(config: Config, source: Source, limit: int = 0) -> Iterator[Batch]:
    """Of a source, as many as `limit` says, or all; with what the config says of documents and of answers."""
    return evaluation_batches(
        source, config.model.block_size, config.train.batch_size, limit, config.data.documents, config.data.loss
    )


def _sample(parts: Assembly) -> str | None:
    """Text by the model as it is, the same at any number of threads; None where nobody wants it, or can read it.

    Rank 0's: the others go on, and wait for it. A stop must not end it there alone, so it is left to the next step.
    """
    train, tokenizer = parts.config.train, parts.data.tokenizer
    if parts.ranks is not None and not parts.ranks.leads:
        return None
    if not train.sample_tokens or parts.decoding is None or tokenizer is None:
        return None
    decoder = Decoder(parts.decoding, parts.measured, usual_threads(parts.decoding, parts.n_threads))
    text, sampling = "", Sampling(0.8, seed=train.seed)
    for piece in write(decoder, tokenizer, train.sample_prompt, train.sample_tokens, sampling):
        if parts.engine.is_stopping:
            if parts.ranks is None:
                raise Interrupted
            break
        text += piece
    return text
