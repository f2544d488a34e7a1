"""Corpora that published comparisons used."""

from __future__ import annotations

from paribus.data.text import Text
from paribus.data.tokenizer import Pretrained
from paribus.design.specs import Spec, spec


def cosmopedia(max_train_tokens: int) -> Spec:
    """Cosmopedia v2, documents of up to 3,000 characters, by the tokenizer of SmolLM.

    Source: Allal et al. 2024, HuggingFaceTB/smollm-corpus.
    """
    return spec(
        Text,
        source="hub:HuggingFaceTB/smollm-corpus",
        hub_config="cosmopedia-v2",
        max_document_chars=3000,
        max_train_tokens=max_train_tokens,
        tokenizer=spec(Pretrained, name="HuggingFaceTB/SmolLM-135M", separator="<|endoftext|>", vocab_size=49152),
    )
