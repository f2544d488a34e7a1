"""One training step of paribus against installed peers: tokens per second, share of the GEMM peak, peak memory.

    python benchmarks/train_step.py [--rounds 5] [--quick-rounds 3] [--steps 1] [--quick-only] [--skip-large]

Every setting runs in a process of its own with the environment of paribus's workers (``peers.py``), but that several
threads wait as the system would have them wait. One process computes at a time, with a pause behind every turn; rounds
are interleaved; numbers are medians over rounds. Where all cores are in use, matrix products are timed before and
after every turn, and a turn's share of the GEMM peak is that of the best product around it. Peers: the extra
``bench``, and litgpt, whose requirements contradict those of transformers:

    pip install --no-deps -c constraints.txt litgpt lightning lightning-utilities torchmetrics
"""

from __future__ import annotations

import argparse
import json
import os
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

from peers import SIZES
from record import describe_machine, print_table, save

from paribus.execution.devices import _CPU_ENVIRONMENT

CORES = os.cpu_count() or 1
START = 300  # seconds that may pass until all processes, which start together, have imported what they need
QUICK_STEPS = 10  # quick steps for one of the paper size
GEMM_COUNT = 3
PAUSE = 0.3  # seconds: idle threads spin for a few ms before they sleep


@dataclass(frozen=True)
class Setting:
    """What one process does.

    Args:
        once: it takes a single step, in the first round, for it is slow.
        patience: seconds that an answer may take.
    """

    framework: str
    size: str
    implementation: str = ""
    optimizer: str = "AdamW"
    precision: str = "fp32"
    dropout: bool = False
    threads: int = CORES
    once: bool = False
    patience: float = 120
    counted: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        size = SIZES[self.size]
        parts = (
            self.framework,
            self.implementation,
            self.optimizer if self.optimizer != "AdamW" else "",
            "dropout" if self.dropout else "",
            f"{size.micro} windows at once" if size.micro < size.windows else "",
        )
        return ", ".join(filter(None, parts))


def moe_settings(size: str) -> list[Setting]:
    """AdamW, fused and without dropout, everywhere; then paribus with the study's optimizer, and with its dropout."""
    own = Setting("paribus", size, optimizer="MuonAdamW")
    return [
        Setting("paribus", size),
        own,
        *([replace(own, dropout=True)] if size == "paper" else []),
        *(
            Setting(f"transformers {family}", size, implementation)
            for family in ("Mixtral", "DeepSeek-V3")
            for implementation in ("eager", "grouped_mm")
        ),
        *(
            Setting(f"transformers {family}", size, "batched_mm", once=True, patience=600)
            for family in ("Mixtral", "DeepSeek-V3")
        ),
        Setting("litgpt", size),
        Setting("x-transformers (dense)", size),
    ]


NONE = Setting("all of these", "paper")  # a row that says why others are not there
DENSE = [
    Setting("paribus", "quick"),
    *(
        Setting(name, "quick")
        for name in ("transformers Llama", "transformers DeepSeek-V3", "litgpt", "x-transformers (dense)")
    ),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="of the paper size")
    parser.add_argument("--quick-rounds", type=int, default=3, help="of the quick sizes")
    parser.add_argument("--steps", type=int, default=1, help=f"a round; {QUICK_STEPS} times as many at the quick scale")
    parser.add_argument("--quick-only", action="store_true", help="leave out the paper size and the large one")
    parser.add_argument("--large", action=argparse.BooleanOptionalAction, default=True, help="the model of 132 M")
    parser.add_argument("--skip-large", dest="large", action="store_false", help="the same as --no-large")
    options = parser.parse_args()
    rounds, quick = options.rounds, (options.quick_rounds, QUICK_STEPS * options.steps)

    gemm = Worker(Setting("gemm", "paper", patience=300))
    first = gemm.measure(GEMM_COUNT)["gflops"]
    rows: list[dict[str, Any]] = []
    if not options.quick_only:
        paper = moe_settings("paper")
        rows += measure("paper", alone(paper), rounds, options.steps, gemm)
        if "bf16 head" in first:
            rows += measure("paper", alone([replace(s, precision="bf16") for s in paper]), rounds, options.steps, gemm)
        else:
            rows.append(describe("paper", replace(NONE, size="paper", precision="bf16"), slow_bf16(first)))
    dense = [*DENSE[:1], replace(DENSE[0], optimizer="MuonAdamW"), *DENSE[1:]]
    rows += measure("quick, one thread", alone(one_thread(dense)), *quick)
    rows += measure("quick MoE, one thread", alone(one_thread(moe_settings("quick MoE"))), *quick)
    # Single-thread workers of paribus at the same time, against one process of every peer on all cores.
    together = one_thread(DENSE[:1]) * CORES
    rows += measure("quick, whole machine", [together, *alone(DENSE)], *quick, gemm)
    if options.large and not options.quick_only:
        large = Setting("paribus", "large", optimizer="MuonAdamW", dropout=True, patience=600)
        rows += measure("large", [[large]], 1, 1, gemm)
    gemm.close()
    add_flops(rows)
    products = {name: statistics.median(answer["gflops"][name] for answer in gemm.answers) for name in first}
    show(rows, products)
    machine = describe_machine("transformers", "litgpt", "x-transformers")
    sizes = {name: asdict(size) for name, size in SIZES.items()}
    counts = {"rounds": rounds, "steps": options.steps, "quick_rounds": quick[0], "quick_steps": quick[1]}
    variables = {threads: {name: environment(threads).get(name) for name in _CPU_ENVIRONMENT} for threads in (1, CORES)}
    save("train_step", {**machine, **counts, "environment": variables, "sizes": sizes, "gemm": products, "rows": rows})


def alone(settings: Sequence[Setting]) -> list[list[Setting]]:
    return [[setting] for setting in settings]


def one_thread(settings: Sequence[Setting]) -> list[Setting]:
    return [replace(setting, threads=1) for setting in settings]


def measure(
    part: str, turns: Sequence[Sequence[Setting]], rounds: int, steps: int, gemm: Worker | None = None
) -> list[dict[str, Any]]:
    """A row for every turn: settings that compute at the same time. With ``gemm``, also the peak around each."""
    print(f"{part}: {sum(map(len, turns))} processes", file=sys.stderr)
    processes = [[Worker(setting) for setting in turn] for turn in turns]
    for worker in chain.from_iterable(processes):
        worker.start()
    for number in range(rounds):
        before = peaks(gemm)
        for workers in processes:
            once = workers[0].setting.once
            if once and number:
                continue
            for worker in workers:
                worker.ask(0 if once else steps)
            for worker in workers:
                worker.listen()
            time.sleep(PAUSE)
            after = peaks(gemm)
            for worker in workers:
                if worker.status == "ok" and gemm:
                    name = worker.setting.precision
                    worker.answers[-1]["gemm_gflops"] = (before[name] + after[name]) / 2
            before = after
        print(f"{part}: round {number + 1} of {rounds}", file=sys.stderr)
    for worker in chain.from_iterable(processes):
        worker.close()
    return [describe_turn(part, workers) for workers in processes]


def peaks(gemm: Worker | None) -> dict[str, float]:
    """GFLOP/s of the best matrix product by precision, now, on all cores."""
    if gemm is None:
        return {}
    found = gemm.measure(GEMM_COUNT)["gflops"]
    time.sleep(PAUSE)
    return {
        precision: max(rate for name, rate in found.items() if name.startswith(precision))
        for precision in ("fp32", "bf16")
    }


@dataclass
class Worker:
    """A process of ``peers.py``, from its start to its last answer."""

    setting: Setting
    status: str = "ready"
    answers: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("peers.py")), json.dumps(asdict(self.setting))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment(self.setting.threads),
        )
        self.waits = True  # for the line that says it is ready

    def measure(self, steps: int) -> dict[str, Any]:
        """The answer to ``steps``, where the benchmark cannot go on without it."""
        self.ask(steps)
        self.listen()
        if self.status != "ok":
            raise SystemExit(f"{self.setting.framework}: {self.status}")
        return self.answers[-1]

    def start(self) -> None:
        if self.waits:
            self._read()
            self.waits = False

    def ask(self, steps: int) -> None:
        self.start()
        if self.status in ("ready", "ok"):
            assert self.process.stdin
            print(steps, file=self.process.stdin, flush=True)

    def listen(self) -> None:
        if self.status in ("ready", "ok"):
            self._read()

    def close(self) -> None:
        """Everything was read: a peer that would hang at its end has no say."""
        self.process.kill()
        self.process.communicate()

    def _read(self) -> None:
        assert self.process.stdout
        patience = START if self.waits else self.setting.patience
        if not select.select([self.process.stdout], [], [], patience)[0]:
            self.status = f"no answer within {patience} s"
            self.process.kill()  # it would take the time of the others
            return
        line = self.process.stdout.readline()
        answer = json.loads(line) if line else {"status": f"failed: ended with code {self.process.wait()}"}
        self.status = answer.pop("status")
        if self.status == "ok":
            self.answers.append(answer)


def environment(threads: int) -> dict[str, str]:
    """A worker's, whose passive wait policy is for processes beside each other; not for several threads."""
    variables = {**os.environ, **_CPU_ENVIRONMENT, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    if threads > 1:
        del variables["OMP_WAIT_POLICY"]
    return variables


def describe_turn(part: str, workers: Sequence[Worker]) -> dict[str, Any]:
    """The row of processes that computed at the same time: what they did together."""
    status = next((worker.status for worker in workers if worker.status != "ok"), "ok")
    row = {**describe(part, workers[0].setting, status), "processes": len(workers)}
    if len(workers) > 1:
        row["name"] += f", {len(workers)} processes"
    if status != "ok":
        return row
    tokens = SIZES[workers[0].setting.size].tokens
    rounds = list(zip(*(worker.answers for worker in workers), strict=True))
    answers = list(chain.from_iterable(rounds))
    rates = [sum(tokens / answer["seconds"] for answer in answers) for answers in rounds]
    return {
        **row,
        "rates": rates,
        "tokens_per_second": statistics.median(rates),
        "slowest": min(rates),
        "fastest": max(rates),
        "gemm_gflops": [answers[0]["gemm_gflops"] for answers in rounds if "gemm_gflops" in answers[0]],
        "optimizer_share": statistics.median(answer["optimizer_seconds"] / answer["seconds"] for answer in answers),
        "peak_bytes": sum(worker.answers[-1]["peak_bytes"] for worker in workers),
        "parameters": workers[0].answers[-1]["parameters"],
    }


def describe(part: str, setting: Setting, status: str) -> dict[str, Any]:
    return {
        "part": part,
        "name": setting.name,
        **{key: getattr(setting, key) for key in ("framework", "implementation", "optimizer", "precision")},
        **{key: getattr(setting, key) for key in ("dropout", "size", "threads")},
        "processes": 1,
        "status": status,
    }


def slow_bf16(gemm: dict[str, float]) -> str:
    slow, fast = gemm["bf16 512 square"], gemm["fp32 512 square"]
    return f"not measured: this processor reaches {slow:.1f} GFLOP/s in bf16, {fast:.0f} in fp32"


def add_flops(rows: list[dict[str, Any]]) -> None:
    """Training FLOPs per token of every measured model; also its share of the peak, where that was taken."""
    counted = tuple({(row["framework"], row["size"]): None for row in rows if row["status"] == "ok"})
    worker = Worker(Setting("flops", "paper", counted=counted, patience=300))
    known = dict(zip(counted, worker.measure(1)["flops"], strict=True))
    worker.close()
    for row in rows:
        if row["status"] == "ok":
            flops = row["training_flops_per_token"] = known[row["framework"], row["size"]]
            if row["gemm_gflops"]:
                pairs = zip(row["rates"], row["gemm_gflops"], strict=True)
                row["gemm_share"] = statistics.median(flops * rate / 1e9 / peak for rate, peak in pairs)


def show(rows: Sequence[dict[str, Any]], gemm: dict[str, float]) -> None:
    print_table("Matrix products, medians", ["product", "GFLOP/s"], [(k, f"{v:.1f}") for k, v in gemm.items()])
    columns = [
        "",
        "precision",
        "tokens/s",
        "least",
        "most",
        "of GEMM peak",
        "optimizer",
        "peak MB",
        "parameters",
        "MFLOP/token",
    ]
    for part in dict.fromkeys(row["part"] for row in rows):
        of_part = [row for row in rows if row["part"] == part]
        size = SIZES[of_part[0]["size"]]
        title = f"{part}: {size.windows} x {size.seq_len} tokens a step, V {size.vocab:,}"
        print_table(title, columns, [cells(row) for row in of_part if row["status"] == "ok"])
        for row in of_part:
            if row["status"] != "ok":
                print(f"{row['name']}, {row['precision']}: {row['status']}")
    print("\nPeak MB: largest resident memory less that of the process after its imports. FLOPs: paribus's count.")


def cells(row: dict[str, Any]) -> list[str]:
    return [
        row["name"],
        row["precision"],
        *(f"{row[key]:,.0f}" for key in ("tokens_per_second", "slowest", "fastest")),
        f"{row['gemm_share']:.0%}" if "gemm_share" in row else "",
        f"{row['optimizer_share']:.1%}",
        f"{row['peak_bytes'] / 1e6:,.0f}",
        f"{row['parameters']:,}",
        f"{row['training_flops_per_token'] / 1e6:,.2f}",
    ]


if __name__ == "__main__":
    main()
