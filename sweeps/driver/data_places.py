"""Finds where the data of stored trials lie now: by the command, as recorded, by the ledger."""

from collections.abc import Sequence
from typing import Any

from sweeps.config.places import Contents, Place, moved, place_of, placed
from sweeps.storage.ledger import Ledger

Plain = dict[str, Any]


def with_places(
    plains: Sequence[Plain], places: Sequence[Place], contents: Contents, ledger: Ledger | None
) -> list[Plain]:
    """Return stored trials with the places where their data lie.

    Where the data are neither at a place of the command nor where they were, the ledger may
    know a place that a later sweep had them from. Without any the trial is left as it is.

    Args:
        plains: the trials.
        places: places that the command names.
        contents: reads them.
        ledger: knows later places; None: there is no ledger.

    Raises:
        ConfigError: a place of the command does not hold the data of any of the trials.
    """
    plains = moved(plains, places, contents)
    missing = {plain["data"]["sha256"] for plain in plains if contents.fault(plain["data"])}
    later = {digest: _known(digest, contents, ledger) for digest in missing if ledger}
    known = {digest: place for digest, place in later.items() if place}
    return [placed(plain, known) for plain in plains]


def _known(digest: str, contents: Contents, ledger: Ledger) -> Place | None:
    """Return a place of the ledger that holds data; None where it knows none."""
    parts = (data for data in ledger.data_of(digest) if not contents.fault(data))
    return next(map(place_of, parts), None)
