"""Parts of language models, and what builds and checks them.

Every part is an ordinary ``nn.Module``; names are imported when first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
