"""A profile as a trace for Perfetto and Chrome: a track for the steps and one for each thread."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cllm.profiling.profile import PHASES, Profile, op_at

# "Trace Event Format" (Google, 2016): X is a span with begin `ts` and length `dur` in microseconds, M names a track.
STEPS_TRACK = 0


def write_trace(path: Path, profile: Profile) -> None:
    """Write the trace of a profile to `path`."""
    path.write_text(json.dumps({"traceEvents": list(_events(profile)), "displayTimeUnit": "ms"}), encoding="utf-8")


def _events(profile: Profile) -> Iterator[dict[str, Any]]:
    origin = min(span.begin for span in profile.spans)
    yield _named(STEPS_TRACK, "steps")
    for span in profile.spans:
        yield _span(STEPS_TRACK, span.name, span.begin - origin, span.end - origin)
    for thread, events in enumerate(profile.threads):
        track = thread + 1
        yield _named(track, f"thread {thread}")
        last = 0.0
        for event in events:
            begin, end = float(event["begin"]) - origin, float(event["end"]) - origin
            if begin > last and last > 0.0:
                yield _span(track, "waiting", last, begin)
            yield _span(track, _name(profile, int(event["what"])), begin, end, shard=int(event["shard"]))
            last = end


def _name(profile: Profile, what: int) -> str:
    if what < 0:
        return PHASES[what]
    op, backward = op_at(profile.program, what)
    return f"{op.name} backward" if backward else op.name


def _span(track: int, name: str, begin: float, end: float, **arguments: int) -> dict[str, Any]:
    return {
        "ph": "X", "pid": 1, "tid": track, "name": name, "ts": begin * 1e6, "dur": (end - begin) * 1e6,
        "args": arguments,
    }


def _named(track: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "pid": 1, "tid": track, "name": "thread_name", "args": {"name": name}}
