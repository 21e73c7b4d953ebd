"""Sweeps over how deep equilibrium models train: content-addressed, with theory beside.

Public names are listed in `__init__.pyi` and imported when they are first used, so that
`sweeps --help` needs none of them.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
