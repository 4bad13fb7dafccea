"""The parameters that a run starts from: draws that depend on seed, name and element alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cllm import aligned, kernels
from cllm.program import Program


def initial_parameters(program: Program, seed: int, n_threads: int = 1) -> NDArray[np.float32]:
    """(P,) float32 by the table of the Program."""
    flat = aligned.zeros(program.n_parameters)
    for parameter in program.parameters:
        view = flat[parameter.offset : parameter.offset + parameter.size]
        if parameter.deviation > 0.0:
            kernels.normal(view, parameter.deviation, seed, parameter.name, n_threads)
        if parameter.mean != 0.0:
            view += np.float32(parameter.mean)
    return flat
