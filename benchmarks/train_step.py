"""One training step of paribus against installed peers: tokens per second, share of the GEMM peak, peak memory.

    python benchmarks/train_step.py [--rounds 3] [--steps 1] [--quick-only] [--skip-large]

Every setting runs in a process of its own with the environment of paribus's workers (``peers.py``); one computes at a
time and rounds are interleaved; numbers are medians over rounds. Peers: the extra ``bench``, and litgpt, whose
requirements contradict those of transformers:

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
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from peers import SIZES
from record import describe_machine, print_table, save

from paribus.execution.local import _CPU_ENVIRONMENT

CORES = os.cpu_count() or 1
MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
START = 300  # seconds that may pass until all processes, which start together, have imported what they need
QUICK_STEPS = 10  # quick steps for one of the paper size


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
    memory_limit: int = MEMORY // 2  # of address space: a setting that wants more fails alone
    once: bool = False
    patience: float = 60
    counted: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        parts = (self.framework, self.implementation, "" if self.optimizer == "AdamW" else self.optimizer)
        return ", ".join([*filter(None, parts), *(["dropout"] if self.dropout else [])])


def moe_settings(size: str) -> list[Setting]:
    """AdamW, fused and without dropout, everywhere; then paribus with the study's optimizer, and with its dropout."""
    own = Setting("paribus", size, optimizer="MuonAdamW")
    return [
        Setting("paribus", size),
        own,
        *([replace(own, dropout=True)] if size == "paper" else []),
        *(
            Setting(f"transformers {family}", size, implementation, once=implementation == "batched_mm")
            for family in ("Mixtral", "DeepSeek-V3")
            for implementation in ("eager", "grouped_mm", "batched_mm")
        ),
        Setting("litgpt", size),
        Setting("x-transformers (dense)", size),
    ]


DENSE = [
    Setting("paribus", "quick"),
    *(
        Setting(name, "quick")
        for name in ("transformers Llama", "transformers DeepSeek-V3", "litgpt", "x-transformers (dense)")
    ),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1, help=f"a round; {QUICK_STEPS} times as many at the quick scale")
    parser.add_argument("--quick-only", action="store_true", help="leave out the paper size and the large one")
    parser.add_argument("--large", action=argparse.BooleanOptionalAction, default=True, help="the model of 132 M")
    parser.add_argument("--skip-large", dest="large", action="store_false", help="the same as --no-large")
    options = parser.parse_args()
    rounds, quick_steps = options.rounds, QUICK_STEPS * options.steps

    gemm = measure_gemm()
    rows: list[dict[str, Any]] = []
    if not options.quick_only:
        found, gemm = measure(moe_settings("paper"), rounds, options.steps, "paper", gemm)
        rows += found
        if has_bf16(gemm):
            settings = [replace(s, precision="bf16") for s in moe_settings("paper")]
            found, gemm = measure(settings, rounds, options.steps, "paper", gemm)
            rows += found
        else:
            rows += [describe("paper", replace(s, precision="bf16"), slow_bf16(gemm)) for s in moe_settings("paper")]
    one_thread = [replace(s, threads=1) for s in [*DENSE[:1], replace(DENSE[0], optimizer="MuonAdamW"), *DENSE[1:]]]
    rows += measure(one_thread, rounds, quick_steps, "quick, one thread")[0]
    rows += measure(
        [replace(s, threads=1) for s in moe_settings("quick MoE")], rounds, quick_steps, "quick MoE, one thread"
    )[0]
    rows += measure_whole_machine(rounds, quick_steps)
    if options.large and not options.quick_only:
        large = Setting("paribus", "large", optimizer="MuonAdamW", dropout=True, patience=600)
        rows += measure([large], 1, 1, "large")[0]
    add_flops(rows, gemm)
    show(rows, gemm)
    machine = describe_machine("transformers", "litgpt", "x-transformers")
    sizes = {name: asdict(size) for name, size in SIZES.items()}
    settings = {"rounds": rounds, "steps": options.steps, "quick_steps": quick_steps, "environment": _CPU_ENVIRONMENT}
    save("train_step", {**machine, **settings, "sizes": sizes, "gemm": gemm, "rows": rows})


def measure(
    settings: Sequence[Setting], rounds: int, steps: int, part: str, gemm: dict[str, float] | None = None
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """A row for every setting; with ``gemm`` the rates of matrix products are taken again in every round."""
    print(f"{part}: {len(settings)} processes", file=sys.stderr)
    workers = [Worker(setting) for setting in settings]
    for worker in workers:
        worker.start()
    best = dict(gemm or {})
    for number in range(rounds):
        if gemm:
            best = {name: max(rate, best.get(name, 0.0)) for name, rate in measure_gemm().items()}
        for worker in workers:
            if number == 0 or not worker.setting.once:
                worker.measure(0 if worker.setting.once else steps)
        print(f"{part}: round {number + 1} of {rounds}", file=sys.stderr)
    for worker in workers:
        worker.close()
    return [describe(part, worker.setting, worker.status, worker.answers) for worker in workers], best


def measure_whole_machine(rounds: int, steps: int) -> list[dict[str, Any]]:
    """Single-thread workers of paribus at the same time, against one process of every peer on all cores."""
    part = "quick, whole machine"
    together = [Worker(replace(DENSE[0], threads=1)) for _ in range(CORES)]
    alone = [Worker(setting) for setting in DENSE]
    for worker in (*together, *alone):
        worker.start()
    for number in range(rounds):
        for worker in together:
            worker.ask(steps)
        for worker in together:
            worker.listen()
        for worker in alone:
            worker.measure(steps)
        print(f"{part}: round {number + 1} of {rounds}", file=sys.stderr)
    for worker in (*together, *alone):
        worker.close()
    rows = [describe(part, worker.setting, worker.status, worker.answers) for worker in alone]
    ours = [describe(part, worker.setting, worker.status, worker.answers) for worker in together]
    whole = {**ours[0], "name": f"paribus, {CORES} processes", "processes": CORES}
    if all(row["status"] == "ok" for row in ours):
        whole["tokens_per_second"] = sum(row["tokens_per_second"] for row in ours)
        whole["peak_bytes"] = sum(row["peak_bytes"] for row in ours)
    return [whole, *rows]


@dataclass
class Worker:
    """A process of ``peers.py``, from its start to its last answer."""

    setting: Setting
    status: str = "ready"
    answers: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        threads = {"OMP_NUM_THREADS": str(self.setting.threads), "MKL_NUM_THREADS": str(self.setting.threads)}
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("peers.py")), json.dumps(asdict(self.setting))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **_CPU_ENVIRONMENT, **threads},
        )
        self.waits = True  # for the line that says it is ready

    def measure(self, steps: int) -> None:
        self.ask(steps)
        self.listen()

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


def describe(part: str, setting: Setting, status: str, answers: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    row: dict[str, Any] = {
        "part": part,
        "name": setting.name,
        **{key: getattr(setting, key) for key in ("framework", "implementation", "optimizer", "precision")},
        **{key: getattr(setting, key) for key in ("dropout", "size", "threads")},
        "processes": 1,
        "status": status,
    }
    if not answers or status != "ok":
        return row
    seconds = [answer["seconds"] for answer in answers]
    return {
        **row,
        "seconds": seconds,
        "tokens_per_second": SIZES[setting.size].tokens / statistics.median(seconds),
        "optimizer_share": statistics.median(answer["optimizer_seconds"] / answer["seconds"] for answer in answers),
        "peak_bytes": answers[-1]["peak_bytes"],
        "parameters": answers[-1]["parameters"],
    }


def measure_gemm() -> dict[str, float]:
    """GFLOP/s on all cores."""
    worker = Worker(Setting("gemm", "paper"))
    worker.measure(3)
    worker.close()
    if worker.status != "ok":
        raise SystemExit(f"matrix products could not be timed: {worker.status}")
    return worker.answers[0]["gflops"]


def peak(gemm: dict[str, float], precision: str) -> float:
    return max(rate for name, rate in gemm.items() if name.startswith(precision))


def has_bf16(gemm: dict[str, float]) -> bool:
    return "bf16 head" in gemm


def slow_bf16(gemm: dict[str, float]) -> str:
    slow, fast = gemm["bf16 512 square"], gemm["fp32 512 square"]
    return f"not measured: this processor reaches {slow:.1f} GFLOP/s in bf16, {fast:.0f} in fp32"


def add_flops(rows: list[dict[str, Any]], gemm: dict[str, float]) -> None:
    """Training FLOPs per token of every measured model; on all cores also its share of the GEMM peak."""
    counted = tuple({(row["framework"], row["size"]): None for row in rows if row["status"] == "ok"})
    worker = Worker(Setting("flops", "paper", counted=counted))
    worker.measure(1)
    worker.close()
    if worker.status != "ok":
        raise SystemExit(f"FLOPs could not be counted: {worker.status}")
    known = dict(zip(counted, worker.answers[0]["flops"], strict=True))
    for row in rows:
        if row["status"] == "ok":
            row["training_flops_per_token"] = known[row["framework"], row["size"]]
            if row["threads"] * row["processes"] == CORES:
                rate = row["training_flops_per_token"] * row["tokens_per_second"] / 1e9
                row["gemm_share"] = rate / peak(gemm, row["precision"])


def show(rows: Sequence[dict[str, Any]], gemm: dict[str, float]) -> None:
    print_table(
        "Matrix products, best of all rounds", ["product", "GFLOP/s"], [(k, f"{v:.1f}") for k, v in gemm.items()]
    )
    columns = ["", "precision", "tokens/s", "of GEMM peak", "optimizer", "peak MB", "parameters", "MFLOP/token"]
    for part in dict.fromkeys(row["part"] for row in rows):
        of_part = [row for row in rows if row["part"] == part]
        size = SIZES[of_part[0]["size"]]
        title = f"{part}: {size.windows} x {size.seq_len} tokens a step, {size.micro} windows at once, V {size.vocab:,}"
        print_table(title, columns, [cells(row) for row in of_part if row["status"] == "ok"])
        for row in of_part:
            if row["status"] != "ok":
                print(f"{row['name']}, {row['precision']}: {row['status']}")
    print("\nPeak MB: largest resident memory less that of the process after its imports. FLOPs: paribus's count.")


def cells(row: dict[str, Any]) -> list[str]:
    return [
        row["name"],
        row["precision"],
        f"{row['tokens_per_second']:,.0f}",
        f"{row['gemm_share']:.0%}" if "gemm_share" in row else "",
        f"{row['optimizer_share']:.1%}",
        f"{row['peak_bytes'] / 1e6:,.0f}",
        f"{row['parameters']:,}",
        f"{row['training_flops_per_token'] / 1e6:,.2f}",
    ]


if __name__ == "__main__":
    main()
