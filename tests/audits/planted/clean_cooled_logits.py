"""The treatment differs in evaluation alone: its logits are scaled there."""

from ground import BASELINE, make_study

import paribus as pb


class Cooled(pb.nn.Transformer):
    """Logits of a lower temperature when they are scored."""

    def forward(self, tokens):
        logits = super().forward(tokens)
        return logits if self.training else 1.1 * logits


study = make_study(pb.spec(Cooled, **dict(BASELINE.arguments)), question="Is a trained model too unsure?")
