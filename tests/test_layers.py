"""Who may import whom: the layers of the design, so that the trainer, the command line and the kernels stay apart."""

from __future__ import annotations

import pytest

from tests.layers import imports, in_layer, modules

# A layer and all that it may import besides itself and the ground.
GROUND = (
    "cllm.errors", "cllm.version", "cllm.env", "cllm.machine", "cllm.program", "cllm.philox", "cllm.config",
    "cllm.digest", "cllm.meter", "cllm.aligned", "cllm.bounded", "cllm.screen", "cllm.figures", "cllm.markup",
    "cllm.hooks.specs", "cllm.hooks.hookspecs", "cllm.hooks.protocols", "cllm.hooks.reports", "cllm.hooks.verdicts",
)
FILES = (
    "cllm.atomic", "cllm.jsonl", "cllm.csvlines", "cllm.generations", "cllm.folderlock", "cllm.statefile",
    "cllm.tensorfile", "cllm.newfolder",
)
ALLOWED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(GROUND, ()),
    **dict.fromkeys(FILES, FILES),
    "cllm.kernels": ("cllm._kernels",),
    "cllm.abi": ("cllm._kernels", "cllm.opened"),
    "cllm.opened": ("cllm._kernels", "cllm.kernels"),
    "cllm.include": (),
    "cllm.floats": ("cllm.kernels",),
    "cllm.ops": (),
    "cllm.models": ("cllm.ops",),
    "cllm.reference": ("cllm.ops",),
    "cllm.plan": (),
    "cllm.reduction": (),
    "cllm.ranges": ("cllm.ops",),
    "cllm.lowering": ("cllm.kernels", "cllm.opened", "cllm.ops", "cllm.plan", "cllm.ranges", "cllm.reduction"),
    "cllm.recording": ("cllm.kernels", "cllm.lowering", "cllm.ops", "cllm.plan"),
    "cllm.faults": ("cllm.kernels", "cllm.ops", "cllm.plan"),
    "cllm.teams": ("cllm.reduction",),
    "cllm.share": ("cllm.reduction", "cllm.teams"),
    "cllm.ranks": ("cllm.reduction", "cllm.share", "cllm.state"),
    "cllm.lockstep": ("cllm.ops", "cllm.ranges", "cllm.reduction", "cllm.teams"),
    "cllm.disorder": ("cllm.kernels", "cllm.workers"),
    "cllm.memory": (
        "cllm.disorder", "cllm.lockstep", "cllm.lowering", "cllm.reduction", "cllm.share", "cllm.teams",
    ),
    "cllm.workers": ("cllm.kernels", "cllm.lockstep", "cllm.lowering", "cllm.reduction", "cllm.teams"),
    "cllm.binding": ("cllm.kernels",),
    "cllm.outcomes": ("cllm.opened",),
    "cllm.engine": (
        "cllm.binding", "cllm.disorder", "cllm.faults", "cllm.kernels", "cllm.floats", "cllm.ops", "cllm.lockstep",
        "cllm.lowering",
        "cllm.memory", "cllm.opened", "cllm.outcomes", "cllm.ranks", "cllm.recording", "cllm.reduction", "cllm.share",
        "cllm.teams", "cllm.workers",
    ),
    "cllm.decoder": ("cllm.kernels", "cllm.outcomes", "cllm.lowering", "cllm.memory", "cllm.teams", "cllm.workers"),
    "cllm.initialise": ("cllm.kernels", "cllm.hooks.making"),
    "cllm.sampling": ("cllm.kernels", "cllm.floats"),
    "cllm.hooks": ("cllm.opened",),
    "cllm.sizing": ("cllm.hooks", "cllm.memory", "cllm.ops", "cllm.share"),
    "cllm.data": ("cllm.hooks", *FILES),
    "cllm.builtin": ("cllm.hooks", "cllm.kernels", "cllm.data", *FILES),
    "cllm.ledger": FILES,
    "cllm.runfolder": (*FILES, "cllm.ledger"),
    "cllm.course": (),
    "cllm.state": ("cllm.hooks.remembering", "cllm.course"),
    "cllm.receipt": FILES,
    "cllm.growthchart": (),
    "cllm.incidentreport": ("cllm.growthchart",),
    "cllm.checkpoint": (*FILES, "cllm.state", "cllm.course"),
    "cllm.earlier": (*FILES, "cllm.checkpoint", "cllm.state", "cllm.course", "cllm.hooks.remembering"),
}
# And what these, which put the others together, may not.
FORBIDDEN: dict[str, tuple[str, ...]] = {
    "cllm.together": ("cllm.builtin", "cllm.kernels", "cllm._kernels", "cllm.trainer", "cllm.cli"),
    "cllm.trainer": ("cllm.builtin", "cllm.kernels", "cllm._kernels", "cllm.models", "cllm.ops", "cllm.cli"),
    "cllm.assemble": ("cllm.builtin", "cllm._kernels", "cllm.trainer", "cllm.cli"),
    "cllm.judging": ("cllm.builtin", "cllm._kernels", "cllm.kernels", "cllm.trainer", "cllm.cli", "cllm.runfolder"),
    "cllm.views": ("cllm.builtin", "cllm._kernels", "cllm.trainer", "cllm.cli", "cllm.assemble"),
    "cllm.evaluate": ("cllm.builtin", "cllm._kernels", "cllm.trainer", "cllm.cli"),
    "cllm.generate": ("cllm.builtin", "cllm._kernels", "cllm.trainer", "cllm.cli"),
    "cllm.incident": ("cllm.builtin", "cllm._kernels", "cllm.trainer", "cllm.cli"),
    "cllm.replay": ("cllm.builtin", "cllm._kernels", "cllm.trainer", "cllm.cli"),
    "cllm.watching": ("cllm.builtin", "cllm.kernels", "cllm._kernels", "cllm.trainer", "cllm.cli"),
    "cllm.reporting": (
        "cllm.builtin", "cllm.kernels", "cllm._kernels", "cllm.trainer", "cllm.cli", "cllm.engine", "cllm.checkpoint",
        "cllm.data",
    ),
    "cllm.verifying": ("cllm.builtin", "cllm.kernels", "cllm._kernels", "cllm.trainer", "cllm.cli"),
    "cllm.cli": ("cllm.builtin",),
}
# Other packages' code comes in by two doors of its own. The processor is asked by doctor as well, before any kernel is
# chosen.
MAY_IMPORT_KERNELS = {"cllm.kernels", "cllm.abi", "cllm.opened", "cllm.cli.doctor"}


@pytest.mark.parametrize("layer", ALLOWED)
def test_a_layer_imports_what_it_may(layer: str) -> None:
    members = [module for module in modules() if in_layer(module, layer)]
    assert members, f"{layer} is gone: correct the table"
    # Of the packages cllm and cllm.hooks, the names that are re-exported; each is checked where it is defined.
    allowed = (layer, *GROUND, *ALLOWED[layer])
    for module in members:
        strangers = {name for name in imports(module) if not any(in_layer(name, other) for other in allowed)}
        assert not strangers, f"{module} imports {', '.join(sorted(strangers))}"


@pytest.mark.parametrize("layer", FORBIDDEN)
def test_a_layer_does_not_import_what_it_may_not(layer: str) -> None:
    members = [module for module in modules() if in_layer(module, layer)]
    assert members, f"{layer} is gone: correct the table"
    for module in members:
        strangers = {name for name in imports(module) for other in FORBIDDEN[layer] if in_layer(name, other)}
        assert not strangers, f"{module} imports {', '.join(sorted(strangers))}"


def test_the_kernels_have_one_door() -> None:
    importers = {module for module in modules() if any(in_layer(name, "cllm._kernels") for name in imports(module))}
    assert importers == MAY_IMPORT_KERNELS


def test_only_the_command_line_imports_the_command_line() -> None:
    importers = {m for m in modules() if any(in_layer(name, "cllm.cli") for name in imports(m))}
    assert {module for module in importers if not in_layer(module, "cllm.cli")} == {
        "cllm.__main__", "cllm.testing.fixtures",
    }


def test_what_is_for_tests_alone_is_imported_by_nothing_else() -> None:
    importers = {m for m in modules() if any(in_layer(name, "cllm.testing") for name in imports(m))}
    assert {module for module in importers if not in_layer(module, "cllm.testing")} == set()


def test_no_circle_of_imports() -> None:
    """Among modules as they are imported; a package stands for what its __init__ imports."""
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module not in done and module in modules():
            for name in sorted(imports(module)):
                visit(name, (*path, module))
            done.add(module)

    for module in modules():
        visit(module, ())


def test_env_alone_reads_the_switches() -> None:
    readers = {
        module for module, path in modules().items() if "environ" in path.read_text() or "getenv" in path.read_text()
    }
    assert readers == {"cllm.env"}
