"""A training step in plain JAX, float32 under jit: the same model, loss, clipping and AdamW, all written out."""

from __future__ import annotations

from math import isfinite
from pathlib import Path

import jax
import jax.numpy as jnp
from jax import Array

from benchmarks.task import BETAS, EPSILON, LAYERNORM_EPSILON, LEARNING_RATE, Task, read, windows

Weights = dict[str, Array]  # under Hugging Face's names, matrices (in, out)


def norm(x: Array, weight: Array) -> Array:
    """Layer normalisation with a gain and no shift."""
    centred = x - x.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt((centred * centred).mean(-1, keepdims=True) + LAYERNORM_EPSILON) * weight


def block(w: Weights, name: str, x: Array, n_head: int) -> Array:
    """Attention and a perceptron, each added to what came in: (B, T, C) -> (B, T, C)."""
    n_batch, time, channels = x.shape
    qkv = norm(x, w[f"{name}.ln_1.weight"]) @ w[f"{name}.attn.c_attn.weight"]
    query, key, value = jnp.split(qkv.reshape(n_batch, time, 3 * n_head, -1), 3, axis=2)
    mixed = jax.nn.dot_product_attention(query, key, value, is_causal=True)
    x = x + mixed.reshape(n_batch, time, channels) @ w[f"{name}.attn.c_proj.weight"]
    hidden = jax.nn.gelu(norm(x, w[f"{name}.ln_2.weight"]) @ w[f"{name}.mlp.c_fc.weight"], approximate=False)
    return x + hidden @ w[f"{name}.mlp.c_proj.weight"]


def loss_of(w: Weights, tokens: Array, targets: Array, task: Task) -> Array:
    """The mean loss of a token; tokens and targets (B, T)."""
    x = w["transformer.wte.weight"][tokens] + w["transformer.wpe.weight"]
    for layer in range(task.n_layer):
        x = block(w, f"transformer.h.{layer}", x, task.n_head)
    logits = norm(x, w["transformer.ln_f.weight"]) @ w["transformer.wte.weight"].T
    chosen = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    return (jax.nn.logsumexp(logits, axis=-1) - chosen).mean()


def adamw(task: Task, w: Weights, gradient: Weights, first: Weights, second: Weights, t: Array) -> tuple[Weights, ...]:
    """Weights and both moments after update t = 1, 2, ...; matrices decay, vectors do not."""
    first = jax.tree.map(lambda m, g: BETAS[0] * m + (1 - BETAS[0]) * g, first, gradient)
    second = jax.tree.map(lambda v, g: BETAS[1] * v + (1 - BETAS[1]) * g * g, second, gradient)
    rate, root = LEARNING_RATE / (1 - BETAS[0] ** t), jnp.sqrt(1 - BETAS[1] ** t)

    def updated(x: Array, m: Array, v: Array) -> Array:
        decay = LEARNING_RATE * task.weight_decay if x.ndim > 1 else 0.0
        return x * (1 - decay) - rate * m / (jnp.sqrt(v) / root + EPSILON)

    return jax.tree.map(updated, w, first, second), first, second


class JaxStep:
    """Called with the number of a step, it makes that step and returns the loss before its update."""

    def __init__(self, folder: Path) -> None:
        task, weights, tokens = read(folder)
        max_norm = task.max_norm
        assert max_norm is not None
        self.weights = {name: jnp.asarray(value) for name, value in weights.items()}
        self.moments = [jax.tree.map(jnp.zeros_like, self.weights) for _ in range(2)]
        self.batches = [(jnp.asarray(w[:, :-1]), jnp.asarray(w[:, 1:])) for w in windows(task, tokens)]

        def step(
            w: Weights, first: Weights, second: Weights, t: Array, tokens: Array, targets: Array
        ) -> tuple[Weights, Weights, Weights, Array, Array]:
            loss, gradient = jax.value_and_grad(loss_of)(w, tokens, targets, task)
            length = jnp.sqrt(sum(jnp.vdot(g, g) for g in jax.tree.leaves(gradient)))
            scale = jnp.minimum(1.0, max_norm / length)
            w, first, second = adamw(task, w, jax.tree.map(lambda g: g * scale, gradient), first, second, t)
            return w, first, second, loss, length

        self.step = jax.jit(step, donate_argnums=(0, 1, 2))  # their memory is used again for what replaces them
        self.description = f"JAX {jax.__version__}, jit"

    def __call__(self, step: int) -> float:
        batch, t = self.batches[step % len(self.batches)], jnp.float32(step + 1)
        w, first, second, loss, length = self.step(self.weights, *self.moments, t, *batch)
        self.weights, self.moments = w, [first, second]
        value = float(loss)
        if not (isfinite(float(length)) and isfinite(value)):
            raise RuntimeError(f"step {step}: loss {value}, gradient norm {float(length)}")
        return value
