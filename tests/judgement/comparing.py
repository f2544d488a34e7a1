"""Comparisons of several treatments, made from pairs alone."""

from paribus.judgement import Evidence, compare, decide_all


def compare_each(pairs, rule, metric, primary=None, contrasts=()):
    """Each by itself, as ``gather`` does; None: all are primary."""
    primary, contrasts = tuple(pairs) if primary is None else primary, dict(contrasts)
    return {name: compare(name, own, rule, metric, name in primary, contrasts.get(name)) for name, own in pairs.items()}


def wanted_pairs(comparisons, findings=()):
    evidence = Evidence(None, {}, findings=tuple(findings), comparisons=comparisons)
    return decide_all(evidence).wanted_pairs
