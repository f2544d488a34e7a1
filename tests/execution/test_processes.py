import json
import os
import signal
import subprocess
import sys
import time

import pytest

from paribus.errors import StoreError, StudyError
from paribus.execution.devices import choose_device, local_slots
from paribus.execution.processes import LocalWorkers
from paribus.experiment.job import Job


def make_job(tmp_path):
    return Job("d", 0, "trained", {}, {}, {}, str(tmp_path), "cpu")


def test_a_worker_that_died_while_it_had_nothing_to_do_is_no_endless_wait(tmp_path):
    with LocalWorkers(local_slots("cpu", 9, count=1)) as workers:
        workers.processes[0].kill()
        workers.processes[0].wait()
        with pytest.raises(StoreError, match="worker 0 ended with code -9"):
            workers.execute(lambda: make_job(tmp_path), lambda event: None, lambda digest: True)


def test_workers_leave_when_the_process_that_feeds_them_is_killed(tmp_path):
    code = (
        "import time\nfrom paribus.execution.devices import local_slots\n"
        "from paribus.execution.processes import LocalWorkers\n"
        "with LocalWorkers(local_slots('cpu', 9, count=1)) as workers:\n"
        "    print(workers.processes[0].pid, flush=True)\n    time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    worker = int(parent.stdout.readline())
    time.sleep(4)  # it reads its input once it runs
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    for _ in range(100):
        if not is_running(worker):
            return
        time.sleep(0.1)
    os.kill(worker, signal.SIGKILL)
    pytest.fail("the worker outlived its parent by ten seconds")


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie that nobody waits for is as good as gone.
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return bool(state) and not state.startswith("Z")


def test_no_more_workers_than_runs_and_one_thread_each():
    slots = local_slots("cpu", n_runs=1)
    assert len(slots) == 1
    assert slots[0]["OMP_NUM_THREADS"] == "1"
    assert len(local_slots("cpu", n_runs=100, count=3)) == 3


@pytest.mark.parametrize(
    ("visible", "n_runs", "count", "taken"),
    [
        (None, 9, None, ["0", "1"]),
        (None, 9, 5, ["0", "1", "0", "1", "0"]),
        (None, 3, 5, ["0", "1", "0"]),
        ("6", 9, 2, ["6", "6"]),
        ("4,7", 9, 1, ["4"]),
    ],
)
def test_workers_take_the_visible_gpus_in_turn(visible, n_runs, count, taken, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    slots = local_slots("cuda", n_runs, count)
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots] == taken
    is_shared = len(set(taken)) < len(taken)
    assert all(("OMP_NUM_THREADS" in slot) == is_shared for slot in slots)


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert choose_device() == "cpu"
    with pytest.raises(StudyError, match="this machine has no cuda device; it has cpu"):
        choose_device("cuda")


def test_a_job_is_one_line_of_json(tmp_path):
    job = make_job(tmp_path)
    assert Job.from_text(job.to_text()) == job
    assert json.loads(job.to_text())["digest"] == job.digest
    assert "\n" not in job.to_text()
