"""How many pairs, and how many seconds, to a right verdict: the rule of paribus against rules in common use.

    python benchmarks/time_to_verdict.py [--store FOLDER] [--orders 2000] [--time-runs 3]

Five effects at the quick scale of the study ``norm``, each a question of its own with the same baseline: no position
for RoPE, a ReLU MLP for SwiGLU at equal parameters, RMSNorm for LayerNorm, a tenth of every learning rate, and a null,
a copy of the baseline whose initial weights are moved by one unit in the last place. Every arm is trained once on 20
seeds; ``--store`` keeps the runs, and a second call trains only what is missing. Random orders of the seeds, without
replacement, are then given to every rule. Rates are therefore rates over orders of these 20 seeds, not over fresh ones.

The rules. Paribus: looks after pairs 3 to 10 at the margin of the study, one primary treatment, 5 %. The rivals see the
same losses: Welch's two-sample t test, two-sided at 5 %, after a fixed 3, 5 or 10 runs per arm; and peeking, the same
test after every run per arm from the 2nd to the 10th, stopping at the first p below 5 %. Each comes twice: on seeds
shared by the arms, as a person gets who starts both from seed 0, and on seeds of each arm's own, for which the test was
made. Beside them, as no common rule but to separate what pairing brings from what stopping early brings: a fixed 3, 5
or 10 pairs with the margin, "equivalent" where the paired 90 % interval lies inside it, else the sign where the 95 %
interval excludes zero.

The scoring is the same for every rule. The truth is the paired mean over all 20 seeds with its 99 % t interval; an
effect whose interval holds an end of the margin is reported and left out of all sums. "Equivalent" and "no difference"
are right where the truth's interval lies inside the margin, and wrong where it lies outside. "Better" and "worse" are
scored in two ways, since a real difference may be too small to matter. By sign: right where the truth's interval lies
on that side of zero, wrong elsewhere, also where it covers zero; a real difference inside the margin then has two right
answers. By worth: right where it lies on that side of the margin, wrong elsewhere, also where paribus adds that the
size is not settled. "Undecided" is neither right nor wrong. A test that is not significant is read in two ways, too: as
"no difference", which is how it is mostly reported and kind to the rival where differences are small, and as
"undecided", which is what it says.

Seconds of a verdict are its pairs times the seconds of a run of the baseline and one of the treatment, shared among the
workers. Seconds of a run come from ``--time-runs`` fresh runs of every arm, all workers busy (median; 0: from the
records of the store, made under whatever load there was). Seconds per right verdict are those of all verdicts over the
number of right ones. What `paribus run` does beside the pairs is not counted for any rule: audits, and the pairs at
half and at double the learning rate.

The comparison is with the rival that takes fewest seconds per right verdict among those that err no more often than
paribus; half a percentage point more still counts as equal. It is made for each scoring and each reading. Paribus never
takes fewer than 3 pairs: against a fixed 3 it can be more often right, not faster.

Five effects can be easy for a rule by luck, and nobody knows beforehand which effect it will be. So differences of
known size are also planted: a constant is added to the losses of a treatment whose mean difference was taken out, once
in the noise of RMSNorm, which follows the baseline closely, and once in that of the ReLU MLP, which does not. There the
errors that are compared are those at the worst size, scored by sign.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import record
from scipy import stats

import paribus as pb
from paribus.design.study import BASELINE, Arm
from paribus.design.study_files import read_study
from paribus.design.tuning import set_hyperparameters
from paribus.execution.devices import local_slots
from paribus.execution.processes import LocalWorkers
from paribus.execution.trained import prepare_data
from paribus.experiment.job import make_job
from paribus.experiment.plan import Environment, identify_run, plan
from paribus.judgement import Ending, Rule, replay
from paribus.store.records import Record
from paribus.store.store import Store

SEEDS, MOST_PAIRS = 20, 10
NULL = "null"
PLANTED = (0.0, 0.25, 0.5, 0.75, 0.95, 1.0, 1.05, 1.25, 1.5, 2.0, 3.0)  # margins
EQUAL_ERROR = 0.005  # 20 seeds do not tell rates of wrong verdicts apart more finely
READINGS = ("no difference", "undecided")
SCORINGS = ("sign", "worth")
BETTER, SAME, WORSE, UNDECIDED = -1, 0, 1, 2
ANSWER_OF = {Ending.EQUIVALENT: SAME, Ending.IDENTICAL: SAME, Ending.BETTER: BETTER, Ending.WORSE: WORSE}

Answers = tuple[np.ndarray, np.ndarray]
"""What a rule says of every order, and after how many pairs."""

Judge = Callable[[np.ndarray, np.ndarray], Answers]
"""Judges losses of the baseline and of the treatment, each (orders, 10)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", default="paribus-store/time-to-verdict", help="keeps the runs")
    parser.add_argument("--orders", type=int, default=2000, help="random orders of the seeds")
    parser.add_argument("--time-runs", type=int, default=3, help="fresh runs per arm that are timed; 0: the records'")
    options = parser.parse_args()
    study = make_study()
    slots = local_slots("cpu", SEEDS)
    with LocalWorkers(slots) as workers:
        records = train(study, range(SEEDS), Store.create(options.store), workers)
        seconds = time_runs(study, options.time_runs, workers) if options.time_runs else median_seconds(records)
    losses = {name: np.array([r.metrics["val_loss"] for r in of_arm]) for name, of_arm in records.items()}
    content = {
        **record.describe_machine("numpy", "scipy"),
        "seeds": SEEDS,
        "workers": len(slots),
        "orders": options.orders,
        "seconds_per_run": seconds,
        "seconds_from": f"{options.time_runs} fresh runs per arm" if options.time_runs else "records of the store",
        **analyse(losses, seconds, len(slots), study.margin, options.orders),
        "losses": {name: values.tolist() for name, values in losses.items()},
    }
    record.save("time_to_verdict", content)
    print_tables(content)


def make_study() -> pb.Study:
    """The quick scale of ``norm`` with a treatment per effect; the null is no arm but a nudged copy of the baseline."""
    study = read_study("norm").choose()
    model, recipe = study.baseline, study.training
    return study.replace(
        treatments={
            "no position": model.replace("position", pb.spec(pb.nn.NoPosition)),
            "ReLU MLP": model.replace("*.mlp", pb.spec(pb.nn.MLP, d_ff=384, activation=pb.nn.relu)),
            "RMSNorm": study.treatments["RMSNorm"],
            "rate / 10": Arm(model, set_hyperparameters(recipe, {"learning_rate": 0.1})),
        },
        changes={},
        primary=None,
        max_seeds=SEEDS,
    )


def train(
    study: pb.Study, seeds: Sequence[int], store: Store, workers: LocalWorkers, null: bool = True
) -> dict[str, list[Record]]:
    """The records of every arm, and of the null, by seed; what the store lacks is trained, no verdict stops it."""
    corpus, _ = prepare_data(study.data, study.training)
    made = plan(study, Environment.here(corpus.digest, "cpu"))
    arms = {**study.arms, **({NULL: study.arms[BASELINE]} if null else {})}
    runs = {}
    for seed in seeds:
        for name, arm in arms.items():
            runs[name, seed] = identify_run(made, name, arm, seed, nudged=name == NULL)
    missing = [(run, arms[name]) for (name, _), run in runs.items() if not store.is_done(run.digest)]
    jobs = iter([make_job(store, made, run, arm, None) for run, arm in missing])
    workers.execute(lambda: next(jobs, None), lambda event: None, lambda digest: True)
    found = {name: [store.read_record(runs[name, seed].digest) for seed in seeds] for name in arms}
    for name, of_arm in found.items():
        if bad := [r for r in of_arm if r.status != "done"]:
            raise SystemExit(f"{name}, seed {bad[0].seed}: {bad[0].status}: {bad[0].error}")
    return found


def time_runs(study: pb.Study, count: int, workers: LocalWorkers) -> dict[str, float]:
    """Median seconds of a run of every arm, trained anew with every worker busy."""
    with tempfile.TemporaryDirectory() as folder:
        return median_seconds(train(study, range(count), Store.create(f"{folder}/store"), workers))


def median_seconds(records: Mapping[str, Sequence[Record]]) -> dict[str, float]:
    """Start-up, training and evaluation of a run, by arm."""
    parts = ("startup_seconds", "training_seconds", "evaluation_seconds")
    return {
        name: float(np.median([sum(r.measured[part] for part in parts) for r in of_arm]))
        for name, of_arm in records.items()
    }


def analyse(
    losses: Mapping[str, np.ndarray], seconds: Mapping[str, float], workers: int, margin: float, orders: int
) -> dict[str, Any]:
    """Truths, what every rule makes of every effect, sums over the effects by scoring, and planted effects."""
    rules = make_rules(Rule.of_study(read_study("norm").choose()))
    baseline = losses[BASELINE]
    treatments = {name: values for name, values in losses.items() if name != BASELINE}
    truths = {name: find_truth(values - baseline, margin) for name, values in treatments.items()}
    order = draw_orders(len(baseline), orders)
    effects = {
        name: {
            **truths[name],
            "correlation": float(np.corrcoef(baseline, values)[0, 1]),
            "sds": [float(baseline.std(ddof=1)), float(values.std(ddof=1))],
            "rules": try_rules(
                rules, baseline, values, order, truths[name], (seconds[BASELINE] + seconds[name]) / workers
            ),
        }
        for name, values in treatments.items()
    }
    counted = [effects[name]["rules"] for name in effects if truths[name]["settled"]]
    planted = {}
    for noise in ("RMSNorm", "ReLU MLP"):
        centred = losses[noise] - (losses[noise] - baseline).mean()
        cost = (seconds[BASELINE] + seconds[noise]) / workers
        shifts = []
        for size in PLANTED:
            truth = {"settled": True, "low": size * margin, "high": size * margin, "margin": margin}
            shifts.append(try_rules(rules, baseline, centred + size * margin, order, truth, cost))
        planted[noise] = {"margins": PLANTED, "sums": sum_up(shifts, "worst_wrong", ["sign"])}
    return {"margin": margin, "effects": effects, "sums": sum_up(counted, "wrong"), "planted": planted}


def find_truth(differences: np.ndarray, margin: float) -> dict[str, Any]:
    """Paired mean over all seeds and its 99 % interval; settled where that holds no end of the margin."""
    n, mean, sd = len(differences), float(differences.mean()), float(differences.std(ddof=1))
    half = float(stats.t.ppf(0.995, n - 1)) * sd / np.sqrt(n)
    low, high = mean - half, mean + half
    settled = not (low <= margin <= high or low <= -margin <= high)
    return {"mean": mean, "sd": sd, "low": low, "high": high, "settled": bool(settled), "margin": margin}


def draw_orders(n_seeds: int, orders: int) -> np.ndarray:
    """(orders, seeds): each row all seeds in random order."""
    rng = np.random.default_rng(0)
    return rng.permuted(np.tile(np.arange(n_seeds), (orders, 1)), axis=1)


def make_rules(rule: Rule) -> dict[str, tuple[bool, bool, Judge]]:
    """Name to whether it is a rival of the issue, whether its arms have seeds of their own, and the rule."""
    rules: dict[str, tuple[bool, bool, Judge]] = {"paribus": (False, False, partial(judge_paribus, rule))}
    for own, seeds in ((False, "shared seeds"), (True, "own seeds")):
        for n in (3, 5, 10):
            rules[f"Welch n = {n}, {seeds}"] = True, own, partial(judge_welch, (n,))
        rules[f"Welch peeking, {seeds}"] = True, own, partial(judge_welch, range(2, MOST_PAIRS + 1))
    for n in (3, 5, 10):
        rules[f"paired n = {n}, margin"] = False, False, partial(judge_fixed_pairs, n, rule.margin)
    return rules


def judge_paribus(rule: Rule, baseline: np.ndarray, treatment: np.ndarray) -> Answers:
    endings, stops = replay(treatment - baseline, rule)
    return np.array([ANSWER_OF.get(Ending(code), UNDECIDED) for code in endings]), stops


def judge_welch(looks: Sequence[int], baseline: np.ndarray, treatment: np.ndarray) -> Answers:
    """The sign at the first look with p < 5 %; where there is none, SAME."""
    answers, stops = np.full(len(baseline), SAME), np.full(len(baseline), looks[-1])
    going = np.ones(len(baseline), dtype=bool)
    for n in looks:
        test = stats.ttest_ind(treatment[:, :n], baseline[:, :n], axis=1, equal_var=False)
        found = going & (test.pvalue < 0.05)
        answers[found], stops[found] = np.sign(test.statistic[found]), n
        going &= ~found
    return answers, stops


def judge_fixed_pairs(n: int, margin: float, baseline: np.ndarray, treatment: np.ndarray) -> Answers:
    """Equivalent where the 90 % interval lies inside the margin, else the sign of a 95 % interval without zero."""
    d = treatment[:, :n] - baseline[:, :n]
    mean, error = d.mean(axis=1), d.std(axis=1, ddof=1) / np.sqrt(n)
    inside = np.abs(mean) + stats.t.ppf(0.95, n - 1) * error < margin
    signed = np.abs(mean) > stats.t.ppf(0.975, n - 1) * error
    return np.select([inside, signed], [SAME, np.sign(mean)], UNDECIDED).astype(int), np.full(len(d), n)


def try_rules(
    rules: Mapping[str, tuple[bool, bool, Judge]],
    baseline: np.ndarray,
    treatment: np.ndarray,
    order: np.ndarray,
    truth: Mapping[str, Any],
    seconds_per_pair: float,
) -> dict[str, dict[str, Any]]:
    """Of every rule: the share of orders with a right, a wrong and no verdict, mean pairs and mean seconds."""
    rows = {}
    n = len(baseline)
    first, other = order[:, :MOST_PAIRS], np.roll(order, n // 2, axis=1)[:, :MOST_PAIRS]
    for name, (is_rival, own_seeds, judge) in rules.items():
        answers, stops = judge(baseline[first], treatment[other if own_seeds else first])
        for reading in READINGS if is_rival else ("",):
            read = np.where(answers == SAME, UNDECIDED, answers) if reading == "undecided" else answers
            right = {scoring: score(read, truth, scoring) for scoring in SCORINGS}
            rows[f"{name}; n.s. is {reading}" if reading else name] = {
                "right": {scoring: float(hits.mean()) for scoring, hits in right.items()},
                "wrong": {scoring: float(((read != UNDECIDED) & ~hits).mean()) for scoring, hits in right.items()},
                "undecided": float((read == UNDECIDED).mean()),
                "pairs": float(stops.mean()),
                "pairs_p90": float(np.quantile(stops, 0.9)),
                "seconds": float(stops.mean() * seconds_per_pair),
                "rival": is_rival,
            }
    return rows


def score(answers: np.ndarray, truth: Mapping[str, Any], scoring: str) -> np.ndarray:
    """Which answers are right; the module's docstring says when."""
    low, high, margin = truth["low"], truth["high"], truth["margin"]
    enough = margin if scoring == "worth" else 0.0
    return (
        ((answers == BETTER) & (high < -enough))
        | ((answers == WORSE) & (low > enough))
        | ((answers == SAME) & (-margin < low) & (high < margin))
    )


def sum_up(
    effects: Sequence[Mapping[str, Mapping[str, Any]]], error: str, scorings: Sequence[str] = SCORINGS
) -> dict[str, Any]:
    """By scoring: every rule over all effects, and by reading the best rival, compared at equal ``error``."""
    sums = {scoring: add_up(effects, scoring) for scoring in scorings}
    return {scoring: {"rules": rules, "best": find_best(rules, error)} for scoring, rules in sums.items()}


def add_up(effects: Sequence[Mapping[str, Mapping[str, Any]]], scoring: str) -> dict[str, dict[str, Any]]:
    """Of every rule over all effects: mean rates, mean pairs, and seconds per right verdict."""
    sums = {}
    for name in effects[0]:
        rows = [effect[name] for effect in effects]
        right, wrong = ([row[key][scoring] for row in rows] for key in ("right", "wrong"))
        means = {key: float(np.mean([row[key] for row in rows])) for key in ("undecided", "pairs", "seconds")}
        sums[name] = {
            "right": float(np.mean(right)),
            "wrong": float(np.mean(wrong)),
            "worst_wrong": max(wrong),
            **means,
            "seconds_per_right": means["seconds"] / float(np.mean(right)) if max(right) else None,
            "rival": rows[0]["rival"],
        }
    return sums


def find_best(sums: Mapping[str, Mapping[str, Any]], error: str) -> dict[str, Any]:
    """By reading: the fastest rival that errs no more often than paribus, and seconds of paribus over its seconds."""
    own, best = sums["paribus"], {}
    for reading in READINGS:
        fair = {
            name: row["seconds_per_right"]
            for name, row in sums.items()
            if row["rival"] and name.endswith(f"n.s. is {reading}") and row["seconds_per_right"]
            if row[error] <= own[error] + EQUAL_ERROR
        }
        name = min(fair, key=lambda each: fair[each]) if fair else None
        ratio = own["seconds_per_right"] / fair[name] if name and own["seconds_per_right"] else None
        best[reading] = {"rival": name, "ratio": ratio}
    return best


def print_tables(content: Mapping[str, Any]) -> None:
    truths = [
        (name, *(f"{e[k]:+.4f}" for k in ("mean", "low", "high")), f"{e['sd']:.4f}", f"{e['correlation']:+.2f}")
        for name, e in content["effects"].items()
    ]
    title = f"Truths from {SEEDS} seeds, margin {content['margin']}: mean paired difference, 99 % interval, sd"
    record.print_table(title, ("effect", "mean", "low", "high", "sd", "correlation"), truths)
    for name, effect in content["effects"].items():
        if not effect["settled"]:
            print(f"{name} is left out of the sums: its interval holds an end of the margin")
    effects = {name: effect["rules"] for name, effect in content["effects"].items()}
    rows = [
        (rule, *(_write_cell(of_rules[rule]) for of_rules in effects.values())) for rule in next(iter(effects.values()))
    ]
    record.print_table("Mean pairs; right % / wrong %, scored by sign", ("rule", *effects), rows)
    _print_sums("The effects together", content["sums"])
    for noise, planted in content["planted"].items():
        sizes = ", ".join(f"{size:g}" for size in planted["margins"])
        _print_sums(f"Planted in the noise of {noise}, {sizes} margins", planted["sums"])


def _write_cell(row: Mapping[str, Any]) -> str:
    return f"{row['pairs']:.1f}; {100 * row['right']['sign']:.0f}/{100 * row['wrong']['sign']:.0f}"


def _print_sums(title: str, sums: Mapping[str, Mapping[str, Any]]) -> None:
    for scoring, found in sums.items():
        rows = []
        for name, row in found["rules"].items():
            per_right = f"{row['seconds_per_right']:.0f}" if row["seconds_per_right"] else "never"
            shares = [f"{row[key]:.1%}" for key in ("right", "wrong", "worst_wrong", "undecided")]
            rows.append((name, f"{row['pairs']:.1f}", *shares, per_right))
        columns = ("rule", "pairs", "right", "wrong", "wrong at worst", "undecided", "s per right")
        record.print_table(f"{title}, scored by {scoring}", columns, rows)
        for reading, best in found["best"].items():
            if best["ratio"]:
                says = f"paribus takes {best['ratio']:.2f} of the seconds of {best['rival']!r} (aim: 0.5)"
            else:
                says = "no rival errs as seldom as paribus and is ever right"
            print(f"n.s. read as {reading!r}: {says}")


if __name__ == "__main__":
    main()
