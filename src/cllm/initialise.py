"""The parameters that a run starts from: draws that depend on seed, name and element alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cllm import aligned, kernels
from cllm.errors import CllmError, PluginError
from cllm.hooks.making import problem
from cllm.hooks.protocols import Initializer
from cllm.program import Parameter, Program

Float32 = NDArray[np.float32]


def initial_parameters(
    program: Program, seed: int, n_threads: int = 1, initializer: Initializer | None = None, who: str = "initializer"
) -> Float32:
    """(P,) float32 by the table of the Program, or where it has an opinion by the initializer.

    Raises PluginError, from `who`, where that fails or gives values of another kind.
    """
    flat = aligned.zeros(program.n_parameters)
    for parameter in program.parameters:
        view = flat[parameter.offset : parameter.offset + parameter.size]
        values = _values(initializer, parameter, seed, n_threads, who) if initializer is not None else None
        if values is not None:
            view[:] = values.reshape(-1)
        else:
            _fill(view, parameter, seed, n_threads)
    return flat


def _fill(view: Float32, parameter: Parameter, seed: int, n_threads: int) -> None:
    if parameter.deviation > 0.0:
        kernels.normal(view, parameter.deviation, seed, parameter.name, n_threads)
    if parameter.mean != 0.0:
        view += np.float32(parameter.mean)


def _values(initializer: Initializer, parameter: Parameter, seed: int, n_threads: int, who: str) -> Float32 | None:
    def normal(deviation: float) -> Float32:
        drawn = np.empty(parameter.size, dtype=np.float32)
        kernels.normal(drawn, deviation, seed, parameter.name, n_threads)
        return drawn.reshape(parameter.shape)

    try:
        values = initializer.values(parameter, normal)
    except CllmError:
        raise
    except Exception as error:
        came = f"{problem(error, initializer)}, for {parameter.name}"
        raise PluginError(who, came, "values, or None", "mend or update it") from error
    if values is None:
        return None
    is_array = isinstance(values, np.ndarray) and values.dtype == np.float32 and values.shape == parameter.shape
    if not is_array or not np.isfinite(values).all():
        what = f"{values.dtype} {values.shape}" if isinstance(values, np.ndarray) else repr(values)
        came = f"{'values that are not finite' if is_array else what}, for {parameter.name}"
        raise PluginError(who, came, f"finite float32 {parameter.shape}, or None", "correct its `values`")
    return values
