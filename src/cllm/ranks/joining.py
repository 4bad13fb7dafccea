"""How ranks begin: each hears on which machine and which cores the others run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from cllm.machine import allowed_cpus, machine_name
from cllm.ranks.agreement import Ranks
from cllm.share import ALONE, Share

if TYPE_CHECKING:
    from cllm.hooks.protocols import Communicator


class Place(msgspec.Struct, frozen=True, array_like=True):
    machine: str
    cpus: frozenset[int]  # hardware threads that the rank may run on


def join(communicator: Communicator, endings: Mapping[str, type[BaseException]]) -> Ranks:
    """The ranks of a communicator, all of which call this. endings: as of Ranks."""
    if communicator.size == 1:
        return Ranks(communicator, ALONE, endings)
    own = Place(machine_name(), allowed_cpus())
    places = [msgspec.msgpack.decode(one, type=Place) for one in communicator.tell(msgspec.msgpack.encode(own))]
    on_cores = sum(place.machine == own.machine and not own.cpus.isdisjoint(place.cpus) for place in places)
    return Ranks(communicator, Share(communicator.rank, communicator.size, on_cores), endings)
