"""One id per character, the alphabet of the whole text, and the end of the text held out."""

import html
from pathlib import Path

from ground import BASELINE, make_study

import paribus as pb


class Characters:
    def __init__(self, n_chars: int = 60_000, block: int = 1500):
        files = sorted((Path(html.__file__).parents[1] / "email").glob("*.py"))
        text = "\n".join(file.read_text() for file in files)[:n_chars]
        self.alphabet = sorted(set(text))
        self.vocab_size = len(self.alphabet)
        ids = {letter: i for i, letter in enumerate(self.alphabet)}
        cut = int(0.9 * len(text))
        self.parts = {
            side: [[ids[letter] for letter in part[i : i + block]] for i in range(0, len(part) - 1, block)]
            for side, part in {"train": text[:cut], "validation": text[cut:]}.items()
        }

    def documents(self, side: str):
        return self.parts[side]

    def decode(self, ids):
        return "".join(self.alphabet[i] for i in ids)


study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm, eps=1e-5)), data=pb.spec(Characters))
