"""A study of parts that do nothing, for tests that never train."""

from paribus.design.recipe import Training
from paribus.design.specs import spec
from paribus.design.study import Study


class Part:
    def __init__(self, width=1, inner=None):
        pass


class Optimizer:
    def __init__(self, params, lr=0.1):
        pass


RECIPE = Training(tokens=1000, batch_tokens=100, seq_len=10, optimizer=spec(Optimizer), evaluations=1)


def make_study(**changes):
    fields = {
        "question": "Is it?",
        "baseline": spec(Part),
        "treatments": {"wide": spec(Part, width=2)},
        "data": spec(Part),
        "training": RECIPE,
        "margin": 0.1,
    }
    return Study(**{**fields, **changes})
