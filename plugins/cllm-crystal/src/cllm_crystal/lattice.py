"""The two lattices: numbers 0, 1, ... laid out in C channels. No deviation yet, that is what `scaled` gives.

Bits: NumPy does nothing but + - * /, square roots, rounding down and comparing, each element by itself; sines and
cosines are cllm's own. Letters: N rows (tokens or positions), C channels.
"""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

import numpy as np
from cllm import kernels
from cllm.program import Parameter
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

TAU = 6.283185307179586  # 2 pi
# The golden angle as a share of a full turn, 1 - 1 / phi = (3 - sqrt(5)) / 2: 137.508 degrees.
GOLDEN_TURN = (3.0 - sqrt(5.0)) / 2.0


def phyllotaxis(n_rows: int, n_channels: int, harmonics: int | None = None) -> Float32:
    """(N, C) float32: seed n of a sunflower, at the radius sqrt(n + 1/2) and the angle h n 137.508 degrees.

    Vogel 1979, with the half that gives every seed the same area, the first one too. Channels come in pairs, x and y;
    pair j has h = 1 + (j modulo harmonics), so that with one harmonic all pairs are one flat spiral. harmonics: None
    for as many as there are pairs.
    """
    row = np.arange(n_rows, dtype=np.float64)
    radius = np.sqrt(row + 0.5).astype(np.float32)
    table = np.empty((n_rows, n_channels), dtype=np.float32)
    for pair in range(-(-n_channels // 2)):
        turns = row * float(1 + pair % (harmonics or n_channels)) * GOLDEN_TURN
        angle = ((turns - np.floor(turns)) * TAU).astype(np.float32)
        table[:, 2 * pair] = radius * kernels.map_float32("cos", angle)
        if 2 * pair + 1 < n_channels:
            table[:, 2 * pair + 1] = radius * kernels.map_float32("sin", angle)
    return table


def primes(directions: Float32) -> Float32:
    """(N, C) float32: row n is the number n + 2, the sum of its prime factors' directions, each as often as it divides.

    directions: (N, C) IN, of which the row of a prime is its direction. Unique factorisation makes the integers a
    lattice with an axis for each prime; the coordinates are the exponents, and the directions project it to channels.
    """
    table = directions.copy()
    for row, factor in enumerate(smallest_factors(len(table) + 2)[2:]):
        number = row + 2
        if factor != number:
            table[row] = table[factor - 2] + table[number // factor - 2]
    return table


def smallest_factors(end: int) -> list[int]:
    """(end,) the smallest prime factor of every number below `end`, by Eratosthenes' sieve; of 0 and 1, themselves."""
    factors = list(range(end))
    for prime in range(2, end):
        if prime * prime >= end:
            break
        if factors[prime] == prime:
            for multiple in range(prime * prime, end, prime):
                factors[multiple] = min(factors[multiple], prime)
    return factors


def scaled(table: Float32, parameter: Parameter, deviation: float) -> Float32:
    """`table`, in the parameter's shape, times what makes its root mean square `deviation`. In place."""
    norm = kernels.Norms([replace(parameter, offset=0, trainable=True)]).compute(table.reshape(-1))
    table *= np.float32(deviation * sqrt(float(table.size)) / norm)
    return table
