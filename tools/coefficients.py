"""Derives the coefficients that stand in _kernels/mathf.h and _kernels/mathd.h, and prints them as C tables.

Nothing runs this at build or import time: `python tools/coefficients.py` (needs mpmath, half a minute) shows
where the numbers come from. Each polynomial minimises the largest weighted error over its interval (Remez
exchange). Coefficients are rounded one after the other, lowest power first, and those above are fitted again,
so that they absorb the rounding.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import mpmath  # type: ignore[import-untyped]
from mpmath import mp, mpf

mp.dps = 100
Real = Callable[[mpf], mpf]
N_GRID = 1200


def grid(low: mpf, high: mpf) -> list[mpf]:
    """Chebyshev points of the interval, dense towards its ends; an even number, so never its middle."""
    middle, half = (low + high) / 2, (high - low) / 2
    return [middle - half * mpmath.cos(mp.pi * (2 * i + 1) / (2 * N_GRID)) for i in range(N_GRID)]


def horner(coefficients: Sequence[mpf], t: mpf) -> mpf:
    total = mpf(0)
    for c in reversed(coefficients):
        total = total * t + c
    return total


def extrema(error: Sequence[mpf], n: int) -> list[int]:
    """Indices of the largest error in each run of one sign; the n in a row whose smallest is largest."""
    peaks: list[int] = []
    for i, e in enumerate(error):
        if peaks and (error[peaks[-1]] > 0) == (e > 0):
            peaks[-1] = max(peaks[-1], i, key=lambda j: abs(error[j]))
        else:
            peaks.append(i)
    while len(peaks) > n:
        smallest = min(range(len(peaks)), key=lambda k: abs(error[peaks[k]]))
        if len(peaks) == n + 1 or smallest in (0, len(peaks) - 1):
            peaks.pop(0 if abs(error[peaks[0]]) < abs(error[peaks[-1]]) else -1)
        else:  # two neighbours go together, so that the signs still alternate
            after = abs(error[peaks[smallest + 1]]) < abs(error[peaks[smallest - 1]])
            del peaks[smallest - 1 + after : smallest + 1 + after]
    return peaks


def minimax(values: Sequence[mpf], weights: Sequence[mpf], points: Sequence[mpf], n: int) -> list[mpf]:
    """n coefficients c that minimise max |weight (sum c_i t^i - value)| over the points."""
    reference = [round((N_GRID - 1) * (1 - mpmath.cos(mp.pi * i / n)) / 2) for i in range(n + 1)]
    for _ in range(30):
        rows = [[points[j] ** i for i in range(n)] + [(-1) ** k / weights[j]] for k, j in enumerate(reference)]
        *c, level = mpmath.lu_solve(mpmath.matrix(rows), mpmath.matrix([values[j] for j in reference]))
        error = [w * (horner(c, t) - v) for t, v, w in zip(points, values, weights, strict=True)]
        worst = max(abs(e) for e in error)
        peaks = extrema(error, n + 1)
        if worst < abs(level) * mpf("1.001") or len(peaks) < n + 1:
            break
        reference = peaks
    return list(c)


def rounded(x: mpf, bits: int) -> mpf:
    with mp.workprec(bits):
        return +x


@dataclass(frozen=True)
class Table:
    """A polynomial in variable(x) that stands for f(x) on an interval, its error multiplied by weight(x)."""

    name: str
    n_coefficients: int
    bits: int  # of each coefficient: 24 for float32, 53 for float64
    interval: tuple[str | mpf, str | mpf]
    f: Real
    weight: Real
    variable: Real = lambda x: x

    def fit(self) -> tuple[list[mpf], mpf]:
        """The rounded coefficients and the largest weighted error."""
        xs = grid(mpf(self.interval[0]), mpf(self.interval[1]))
        points = [self.variable(x) for x in xs]
        values, weights = [self.f(x) for x in xs], [self.weight(x) for x in xs]
        done: list[mpf] = []
        for left in range(self.n_coefficients, 0, -1):
            c = minimax(values, weights, points, left)
            done.append(rounded(c[0], self.bits))
            values = [(v - done[-1]) / t for v, t in zip(values, points, strict=True)]
            weights = [w * abs(t) for w, t in zip(weights, points, strict=True)]
        return done, max(abs(w * v) for w, v in zip(weights, values, strict=True))

    def show(self) -> None:
        coefficients, worst = self.fit()
        print(f"{self.name}: error {mpmath.nstr(worst, 3)} = 2^{mpmath.nstr(mpmath.log(worst, 2), 4)}")
        for c in coefficients:
            print("    " + (f"{mpmath.nstr(c, 9)}f," if self.bits == 24 else f"{mpmath.nstr(c, 17)},"))


def square(x: mpf) -> mpf:
    return x * x


def exp_rest(x: mpf) -> mpf:
    return (mpmath.expm1(x) - x) / x**2


def log_rest(x: mpf) -> mpf:
    return (mpmath.log1p(x) - x + x * x / 2) / x**3


def atanh_rest(s: mpf) -> mpf:
    return (2 * mpmath.atanh(s) - 2 * s - 2 * s**3 / 3 - 2 * s**5 / 5) / s**7


def sin_rest(x: mpf) -> mpf:
    return (mpmath.sin(x) - x) / x**3


def cos_rest(x: mpf) -> mpf:
    return (mpmath.cos(x) - 1 + x * x / 2) / x**4


def tanh_rest(x: mpf) -> mpf:
    return (mpmath.tanh(x) - x) / x**3


def erf_rest(x: mpf) -> mpf:
    return mpmath.erf(x) / x - 1


def minus_log_erfc(x: mpf) -> mpf:
    return -mpmath.log(mpmath.erfc(x))


def less_2(x: mpf) -> mpf:
    return x - 2


LN2_HALF, QUARTER_PI, THIRD = mpmath.log(2) / 2 * mpf("1.0001"), mp.pi / 4 * mpf("1.0001"), mpf(1) / 3

# Weights make the error relative to the function, as a result's ulp is. Intervals reach a little over the seams.
TABLES = (
    Table("exp float32: e^x = 1 + x + x^2 P(x)", 5, 24, (-LN2_HALF, LN2_HALF), exp_rest,
          lambda x: x * x / mpmath.exp(x)),
    Table("log float32: log(1 + x) = x - x^2/2 + x^3 P(x)", 8, 24, (-THIRD, THIRD), log_rest,
          lambda x: x**3 / mpmath.log1p(x)),
    Table("tanh float32: x + x^3 P(x^2)", 5, 24, ("0.01", "0.601"), tanh_rest,
          lambda x: x**3 / mpmath.tanh(x), square),
    Table("erf float32: x + x P(x^2)", 7, 24, ("0.01", "1"), erf_rest, lambda x: x / mpmath.erf(x), square),
    Table("-log erfc float32: P(x - 2)", 9, 24, ("0.99", "3.95"), minus_log_erfc, mpmath.erfc, less_2),
    Table("exp float64: e^x = 1 + x + x^2 P(x)", 10, 53, (-LN2_HALF, LN2_HALF), exp_rest,
          lambda x: x * x / mpmath.exp(x)),
    Table("log float64: log((1 + s) / (1 - s)) = 2 s + s^3 (2/3 + s^2 (2/5 + s^2 P(s^2)))", 7, 53,
          ("0.01", "0.2"), atanh_rest, lambda s: s**6 / 2, square),
    Table("sin float64: x + x^3 P(x^2)", 6, 53, ("0.01", QUARTER_PI), sin_rest,
          lambda x: x**3 / mpmath.sin(x), square),
    Table("cos float64: 1 - x^2/2 + x^4 P(x^2)", 6, 53, ("0.01", QUARTER_PI), cos_rest,
          lambda x: x**4 / mpmath.cos(x), square),
    Table("tanh float64: x + x^3 P(x^2)", 11, 53, ("0.01", "0.601"), tanh_rest,
          lambda x: x**3 / mpmath.tanh(x), square),
    Table("erf float64: x + x P(x^2)", 13, 53, ("0.01", "1"), erf_rest, lambda x: x / mpmath.erf(x), square),
    Table("-log erfc float64: P(x - 2)", 22, 53, ("0.99", "5.95"), minus_log_erfc, mpmath.erfc, less_2),
)


def show_parts(name: str, x: mpf, *bits: int) -> None:
    """Print x as a sum of numbers of so many bits each."""
    for b in bits:
        print(f"{name}: {float(rounded(x, b)).hex()} ({b} bits)")
        x -= rounded(x, b)


def show_words(name: str, x: Callable[[], mpf], n: int) -> None:
    """Print the first n 64-bit words of 0 <= x() < 1, which is computed to that many bits."""
    print(f"{name}:")
    with mp.workprec(64 * n + 64):
        whole = int(mpmath.floor(x() * mpf(2) ** (64 * n)))
    for i in range(n - 1, -1, -1):
        print(f"    0x{whole >> 64 * i & 0xffffffffffffffff:016x},")


def main() -> None:
    show_parts("ln 2 float32, exp", mpmath.log(2), 15, 24)
    show_parts("ln 2 float32, log", mpmath.log(2), 24, 24)
    show_parts("ln 2 float64", mpmath.log(2), 42, 53)
    show_parts("1/ln 2", 1 / mpmath.log(2), 53)
    show_parts("pi/2", mp.pi / 2, 53, 53, 53)
    show_parts("2/pi", 2 / mp.pi, 53)
    show_words("2/pi", lambda: 2 / mp.pi, 19)
    for table in TABLES:
        table.show()


if __name__ == "__main__":
    main()
