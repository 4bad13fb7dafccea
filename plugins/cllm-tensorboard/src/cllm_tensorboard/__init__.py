"""The plugin: what a config can name. The sink itself stands in sink.py, the files that it writes in events.py.

Listing plugins imports this module and not tensorboardX: the references are followed when a config names the sink.
"""

from __future__ import annotations

from collections.abc import Iterator

from cllm.hooks import SinkSpec, hookimpl

cllm_api = ">=1,<2"  # the versions of cllm's hooks for which this is written


@hookimpl
def cllm_register_sinks() -> Iterator[SinkSpec]:
    sink = "cllm_tensorboard.sink"
    yield SinkSpec(
        "tensorboard", "event files in the run folder, for TensorBoard", f"{sink}:TensorboardSink",
        f"{sink}:TensorboardConfig",
    )
