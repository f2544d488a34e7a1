"""paribus, "all else equal": a laboratory for language-model architecture.

Every name below is imported when it is first used, so that ``import paribus`` needs neither torch nor scipy.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
