"""cllm trains small language models on CPUs: the same bits at any thread count, never a silent NaN.

    config = cllm.load_config("configs/shakespeare.toml", ["train.steps=500"])
    for report in cllm.Trainer(config, out="runs/mine"):
        print(report.step, report.loss)
    print(cllm.load("runs/mine").generate("O Romeo", max_new_tokens=100, seed=1))

Names are imported when they are first used, so that `cllm --help` needs no NumPy. `cllm.__version__` is that of the
installed package.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cllm.config import load_config
    from cllm.generate import Model, load
    from cllm.include import get_include
    from cllm.trainer import Trainer
    from cllm.version import __version__

__all__ = ["Model", "Trainer", "__version__", "get_include", "load", "load_config"]

_HOMES = {
    "load_config": "cllm.config",
    "get_include": "cllm.include",
    "Model": "cllm.generate",
    "load": "cllm.generate",
    "Trainer": "cllm.trainer",
    "__version__": "cllm.version",
}


if not TYPE_CHECKING:  # a checker that saw it would take any name for one of cllm's

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module 'cllm' has no attribute {name!r}")
        return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
