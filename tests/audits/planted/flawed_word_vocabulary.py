"""A word vocabulary made of all text: a tenth of the scored words exist for the model only because they were scored."""

import html
import re
from pathlib import Path

from ground import BASELINE, make_study

import paribus as pb


class Words:
    """One id per word, the words of the whole folder."""

    def __init__(self):
        files = sorted((Path(html.__file__).parents[1] / "email").glob("*.py"))
        texts = [re.findall(r"\w+|[^\w\s]", file.read_text()) for file in files]
        texts = [words for words in texts if len(words) > 50]
        self.words = sorted({word for words in texts for word in words})
        self.ids = {word: index for index, word in enumerate(self.words)}
        self.vocab_size = len(self.words)
        self.sides = ("train", "validation")
        self.texts = {"train": texts[4:], "validation": texts[:4]}

    def documents(self, side: str):
        for words in self.texts[side]:
            yield [self.ids[word] for word in words]

    def decode(self, ids):
        return " ".join(self.words[i] for i in ids)


study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm, eps=1e-5)), data=pb.spec(Words))
CAUGHT = {"check": "vocabulary", "severity": "doubt"}
