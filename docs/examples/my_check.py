"""A stability check in one file: stops a run whose loss is above a limit.

    cllm train --demo -p ./my_check.py --set checks.my_check.limit=8.0
"""

import msgspec

from cllm.hooks import Abort, CheckSpec, Ok, hookimpl


class Options(msgspec.Struct, forbid_unknown_fields=True):
    limit: float = 10.0


class MyCheck:
    def __init__(self, options):
        self.limit = options.limit

    def after_reduction(self, view):
        # Not `loss > limit`: comparing NaN is always false, and NaN must not pass.
        return Ok() if view.loss <= self.limit else Abort(f"loss {view.loss:.2f} is above {self.limit}")


@hookimpl
def cllm_register_stability_checks():
    yield CheckSpec("my_check", "stops the run when the loss is above a limit", MyCheck, Options)
