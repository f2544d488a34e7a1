"""Tokens in, batches out: corpora, tokenizers, the split by document, and ``batch(seed, step)``. No torch."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
