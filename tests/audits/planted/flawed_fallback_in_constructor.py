"""A norm that builds the baseline's where its kernel is missing: another name, the same bits. (Origin 14.)"""

from ground import BASELINE, make_study

import paribus as pb


class KernelNorm(pb.nn.LayerNorm):
    """The fused norm where there is one."""

    def __init__(self, dim: int, eps: float = 1e-5):
        super().__init__(dim, eps)
        try:
            import fused_norms

            self.forward = fused_norms.make(self)
        except ImportError:
            pass


study = make_study(BASELINE.replace("*norm", pb.spec(KernelNorm)))
CAUGHT = {"check": "silent substitute", "severity": "invalid", "arm": "idea"}
