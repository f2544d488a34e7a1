"""Kill `paribus run norm` with SIGKILL at random moments and compare its report with an undisturbed run's.

    python benchmarks/kill_and_resume.py [--kills 10] [--seed 0]

Every field of ``report.json`` outside ``measured`` must be equal; exits with 1 where one is not.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        whole = run_to_the_end(Path(folder) / "whole")
        seconds = time.perf_counter() - began
        print(f"undisturbed: {seconds:.0f} s", flush=True)
        kills = 0
        while kills < options.kills:
            process = subprocess.Popen(command(Path(folder) / "killed"), stdout=-3, stderr=-3)
            # Start-up takes about a tenth of this study and a checkpoint is written every five seconds.
            wait = rng.uniform(0.05, 0.3) * seconds
            time.sleep(wait)
            if process.poll() is not None:
                print(f"ended by itself before kill {kills + 1}", flush=True)
                break
            process.kill()
            process.wait()
            kills += 1
            done = len(list((Path(folder) / "killed" / "runs").glob("*/result.json")))
            print(f"kill {kills} after {wait:.1f} s; {done} runs done", flush=True)
        killed = run_to_the_end(Path(folder) / "killed")
    equal = unmeasured(whole) == unmeasured(killed)
    print(f"{kills} kills; equal outside `measured`: {equal}")
    sys.exit(0 if equal else 1)


def command(store: Path) -> list[str]:
    return [sys.executable, "-m", "paribus", "run", "norm", "--json", "--store", str(store)]


def run_to_the_end(store: Path) -> dict[str, Any]:
    done = subprocess.run(command(store), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    return json.loads(done.stdout)


def unmeasured(value: Any) -> Any:
    """``value`` without its ``measured`` blocks."""
    if isinstance(value, dict):
        return {key: unmeasured(item) for key, item in value.items() if key != "measured"}
    return [unmeasured(item) for item in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main()
