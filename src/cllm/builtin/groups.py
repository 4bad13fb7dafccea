"""Groups of parameters that an optimizer treats otherwise than the rest: `[[optimizer.groups]]`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta, Struct
from numpy.typing import NDArray

from cllm import kernels
from cllm.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from cllm.program import Parameter

NotNegative = Annotated[float, Meta(ge=0.0, description="a number of at least 0")]
Pattern = Annotated[str, Meta(min_length=1, description="a name of parameters, with * and ?")]


class GroupConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """match: names of parameters, in which * stands for anything: "*.bias", "lm_head.*"

    learning_rate_scale: times the learning rate
    weight_decay: left out, the optimizer's, of matrices only
    """

    match: Pattern
    learning_rate_scale: NotNegative = 1.0
    weight_decay: NotNegative | None = None


def runs_of(
    parameters: Sequence[Parameter], weight_decay: float, groups: Sequence[GroupConfig] = ()
) -> NDArray[Any]:
    """Runs of trainable elements that are treated alike; of several groups that match, the first counts.

    Raises ConfigError for a group that no parameter belongs to: its name is misspelt.
    """
    treated, decays = [], {}
    for parameter in parameters:
        group = next((one for one in groups if fnmatchcase(parameter.name, one.match)), None)
        decay = weight_decay if parameter.decay else 0.0
        if group is not None:
            parameter = replace(
                parameter, learning_rate_scale=parameter.learning_rate_scale * group.learning_rate_scale
            )
            decay = decay if group.weight_decay is None else group.weight_decay
        treated.append(parameter)
        decays[parameter.name] = decay
    for one in groups:
        if not any(fnmatchcase(name, one.match) for name in decays):
            came = f"[[optimizer.groups]] match = {one.match!r}, which fits no parameter"
            todo = did_you_mean(one.match, list(decays), "correct it")
            raise ConfigError("config", came, f"a name such as {next(iter(decays))}", todo)
    return kernels.segments(treated, decays)
