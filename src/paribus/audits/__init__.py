"""From specs and records to findings: what could make a comparison unfair, before training and after it.

Nothing here imports torch until a check before training is asked for: reports are made without it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
