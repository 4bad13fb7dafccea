"""How the libraries of Hugging Face are called: without the network unless it is wanted, their exceptions told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import datasets
from cllm.errors import CllmError, DataError
from datasets.utils import logging
from huggingface_hub import constants

WHO = "hf.dataset"


@contextmanager
def network(online: bool) -> Iterator[None]:
    """What is called inside reaches for the network, if it must, only where `online` says so.

    Both libraries read HF_HUB_OFFLINE when they are imported, which may be long ago. Of local files, too, they tell a
    server, to count downloads.
    """
    if online:
        yield
        return
    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE, logging.get_verbosity()
    constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    # Else it would warn that it looks into the cache, which is what is asked of it, and say every error twice.
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before[:2]
        logging.set_verbosity(before[2])


@contextmanager
def told(title: str, expected: str, todo: str) -> Iterator[None]:
    """What `datasets` raises of the dataset `title` as a DataError: its exceptions have no class in common."""
    try:
        yield
    except CllmError:
        raise
    except Exception as error:  # a MemoryError, too, where a forged file says how much it holds
        cause = error.__cause__ if isinstance(error, datasets.exceptions.DatasetsError) and error.__cause__ else error
        text = " ".join(str(cause).split())[:200] or type(cause).__name__
        raise DataError(WHO, f"{title}: {text}", expected, todo) from None
