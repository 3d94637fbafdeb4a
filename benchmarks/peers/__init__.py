"""Other order books that pip installs, each behind one small adapter (``engine.Engine``).

    make peers

Which adapters there are says ``PEERS``; one whose package is not installed is left out of the benchmark and named.
"""

from importlib import import_module

from benchmarks.peers.engine import Engine

PEERS = {
    "pyorderbook": "Pyorderbook",
    "lightmatchingengine": "Light",
    "order_matching": "OrderMatching",
    "akhil4n": "Akhil4n",
    "litebook": "Litebook",
}
"""Adapter by module of this package."""


def installed() -> tuple[list[type[Engine]], list[str]]:
    """The adapters whose package is here, and the modules of those whose is not."""
    found: list[type[Engine]] = []
    missing: list[str] = []
    for module, name in PEERS.items():
        try:
            found.append(getattr(import_module(f"benchmarks.peers.{module}"), name))
        except ModuleNotFoundError:
            missing.append(module)
    return found, missing
