"""The mathematics: deep equilibrium models, their training, and the theory beside it.

Public names are listed in `__init__.pyi` and imported when they are first used, so that
reading a configuration does not import torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
