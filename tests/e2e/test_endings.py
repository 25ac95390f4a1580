"""Whatever ends a run, its record says so: status, reason, exit code. Nothing is left behind (the leak check looks)."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from launch_command import Launch
from waiting import eventually

pytestmark = pytest.mark.requires("overlayfs", "userns")


def wait_for_line(launch: Launch, reference: str, line: str, *, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while line not in launch("logs", reference, check=None).stdout:
        assert time.monotonic() < deadline, f"`{line}` was not printed in {timeout_s} s"
        time.sleep(0.1)


def test_a_run_that_succeeds_is_finished_and_recorded(launch: Launch) -> None:
    done = launch("experiment=probe")
    record = launch.record()
    assert done.stdout.splitlines() == [f"hello from {record['run_id']}"]
    assert "on stderr" in done.stderr
    assert (record["status"], record["reason"], record["exit_code"]) == ("FINISHED", "completed", 0)
    assert record["metrics"] == {"loss": pytest.approx(1 / 3)}
    assert record["params"] == {"how": "0", "lr": 0.1}
    for digest in ("image_digest", "spec_digest", "code_digest"):
        assert record[digest].startswith("sha256:")
    outputs = Path(launch("outputs", "@last").stdout.strip())
    assert (outputs / "result.txt").read_text() == "42\n"
    assert (outputs / "result.txt").stat().st_uid == os.getuid()


def test_the_programs_own_exit_code_is_the_exit_code_of_launch(launch: Launch) -> None:
    launch("experiment=probe", "params.how='3'", check=3)
    record = launch.record()
    assert (record["status"], record["reason"], record["exit_code"]) == ("FAILED", "program", 3)


def test_a_missing_program_is_127(launch: Launch) -> None:
    done = launch("experiment=probe", "--", "no-such-program", check=127)
    assert "no-such-program" in done.stderr


@pytest.mark.requires("cgroup-memory")
def test_a_run_at_its_memory_limit_ends_as_oom(launch: Launch) -> None:
    done = launch("experiment=probe", "params.how=eat", check=137)
    record = launch.record()
    assert (record["status"], record["reason"], record["signal"]) == ("FAILED", "oom", 9)
    assert re.search(
        r"reason   1 of its processes was killed at the memory limit of [\d.]+ \w+; the peak of all was [\d.]+ \w+\n", done.stderr
    )
    assert record["message"] in done.stderr
    assert 1 == record["usage"]["oom_kills"]


@pytest.mark.requires("cgroup-memory")
def test_a_program_whose_child_was_killed_is_told_at_once_and_at_the_end(launch: Launch) -> None:
    """A pool waits for its dead worker for ever: the note says why before somebody ends it."""
    code = (
        "import os, sys, time\n"
        "if os.fork() == 0:\n    open('/proc/self/oom_score_adj', 'w').write('1000'); held = bytearray(1 << 30)\n"
        "os.wait(); time.sleep(3); sys.exit(3)"
    )
    words = ("memory=128MiB", "tracking.system_metrics=1s", "--", "python3", "-c", code)
    done = launch("experiment=probe", *words, check=3)
    assert "note: 1 of its processes was killed at the memory limit of 128 MiB; the program goes on\n" in done.stderr
    assert ("oom", 3, None) == tuple(launch.record()[field] for field in ("reason", "exit_code", "signal"))


def test_what_a_run_used_is_in_its_record(launch: Launch) -> None:
    launch("experiment=probe")
    usage = launch.record()["usage"]
    assert usage["peak_process_bytes"] > 4 << 20
    assert usage["cpu_s"] > 0
    shown = launch("runs", "show", "@last").stdout
    assert re.search(r"\n  usage +.*largest process [\d.]+ MiB, .* of CPU", shown)


def test_a_run_that_takes_too_long_is_124(launch: Launch) -> None:
    launch("experiment=probe", "params.how=sleep", "timeout=1s", check=124)
    assert (launch.record()["status"], launch.record()["reason"]) == ("FAILED", "timeout")


def test_ctrl_c_lets_the_program_save_and_marks_the_run_interrupted(launch: Launch) -> None:
    process = launch.start("experiment=probe", "params.how=graceful")
    assert process.stdout is not None
    while process.stdout.readline() != "ready\n":
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert "saving" in out
    assert "stopping, again to kill" in err
    record = launch.record()
    assert (record["status"], record["reason"], record["exit_code"]) == ("KILLED", "interrupted", 130)
    assert process.returncode == 130


@pytest.mark.parametrize("words", [(), ("-m", "params.lr=0.1,0.2")], ids=["a run", "a sweep"])
def test_a_watching_command_that_is_ended_leaves_what_it_watches_alone(launch: Launch, words: tuple[str, ...]) -> None:
    process = launch.start("experiment=probe", *words, "params.how=graceful", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    running = eventually(lambda: [run for run in launch.runs() if run["status"] == "RUNNING" and run["trial"] in (None, 1)])
    run = str(running[0]["sweep_id"] or running[0]["run_id"])
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    assert 143 == process.returncode, out
    assert f"goes on, `launch attach {run}` comes back to it" in out
    assert "RUNNING" == launch.record(run)["status"]
    assert "stopping" not in (launch.home / "runs" / run / "journal.jsonl").read_text()
    launch("kill", run)


def test_who_waits_for_a_stubborn_run_is_told_so(launch: Launch) -> None:
    run = launch("-d", "experiment=probe", "params.how=stubborn", "grace=4s").stdout.strip()
    eventually(lambda: "ready" in launch("logs", run).stdout)
    waiting = launch.start("wait", run)
    assert waiting.stderr is not None
    assert f"waiting for probe {run}, which goes on\n" == waiting.stderr.readline()
    said = launch("stop", run).stderr
    assert f"waiting for probe {run}, which was asked to end; `launch kill {run}` does not wait for its `grace`" in said
    assert "which was asked to end" in waiting.communicate(timeout=30)[1]


def test_a_second_ctrl_c_kills_a_stubborn_program(launch: Launch) -> None:
    process = launch.start("experiment=probe", "params.how=stubborn", "grace=60s")
    assert process.stdout is not None
    while process.stdout.readline() != "ready\n":
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    record = launch.record()
    assert (record["status"], record["reason"], record["signal"]) == ("KILLED", "interrupted", 9)
    assert process.returncode == 130


def test_a_stubborn_program_is_killed_after_its_grace(launch: Launch) -> None:
    run = launch("-d", "experiment=probe", "params.how=stubborn").stdout.strip()
    wait_for_line(launch, run, "ready")
    begun = time.monotonic()
    launch("stop", run)
    assert 1.5 < time.monotonic() - begun < 15
    record = launch.record(run)
    assert (record["status"], record["reason"], record["signal"]) == ("KILLED", "stopped", 9)


def test_a_lost_terminal_detaches_and_the_run_goes_on(launch: Launch) -> None:
    process = launch.start("experiment=probe", "params.how=graceful")
    assert process.stdout is not None
    while process.stdout.readline() != "ready\n":
        assert process.poll() is None
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=30)
    assert launch.record()["status"] == "RUNNING"
    launch("stop", "@last")
    assert launch.record()["reason"] == "stopped"


def test_a_killed_command_leaves_the_run_to_its_supervisor(launch: Launch) -> None:
    process = launch.start("experiment=probe", "params.how=graceful")
    assert process.stdout is not None
    while process.stdout.readline() != "ready\n":
        assert process.poll() is None
    process.kill()
    process.communicate(timeout=30)
    assert launch.record()["status"] == "RUNNING"
    launch("stop", "@last")
    assert (launch.record()["status"], launch.record()["reason"]) == ("KILLED", "stopped")


def test_a_killed_supervisor_is_replaced_and_the_program_never_notices(launch: Launch) -> None:
    run = launch("-d", "experiment=probe", "params.how=graceful").stdout.strip()
    wait_for_line(launch, run, "ready")
    run_dir = Path(launch.record(run)["run_dir"])
    os.kill(json.loads((run_dir / "supervisor.lock").read_text())["pid"], signal.SIGKILL)
    time.sleep(0.5)
    assert run in launch("ps").stdout
    launch("stop", run)
    assert "saving" in launch("logs", run).stdout
    record = launch.record(run)
    assert (record["status"], record["reason"], record["exit_code"]) == ("KILLED", "stopped", 0)


def test_a_run_whose_processes_were_all_killed_is_lost(launch: Launch) -> None:
    run = launch("-d", "experiment=probe", "params.how=sleep").stdout.strip()
    wait_for_line(launch, run, "hello")
    run_dir = Path(launch.record(run)["run_dir"])
    journal = [json.loads(line) for line in (run_dir / "journal.jsonl").read_text().splitlines()]
    started = next(event for event in journal if event["event"] == "started")
    os.kill(json.loads((run_dir / "supervisor.lock").read_text())["pid"], signal.SIGKILL)
    os.kill(started["init_pid"], signal.SIGKILL)
    time.sleep(0.5)
    launch("ps")
    launch("wait", run, check=125)
    record = launch.record(run)
    assert (record["status"], record["reason"], record["exit_code"]) == ("KILLED", "lost", 125)
    assert not (run_dir / "overlay").exists()


def test_a_command_goes_on_watching_when_the_supervisor_was_killed(launch: Launch) -> None:
    process = launch.start("experiment=probe", "params.how=graceful")
    assert process.stdout is not None
    while process.stdout.readline() != "ready\n":
        assert process.poll() is None
    run_dir = Path(launch.record()["run_dir"])
    os.kill(json.loads((run_dir / "supervisor.lock").read_text())["pid"], signal.SIGKILL)
    launch("stop", "@last")
    out, _err = process.communicate(timeout=30)
    assert "saving" in out
    assert process.returncode == 0
    assert launch.record()["reason"] == "stopped"


def test_a_launch_that_dies_before_it_hands_over_never_starts_later(launch: Launch) -> None:
    launch("experiment=probe")
    before = Path(launch.record()["run_dir"])
    # As it lies there when the command was killed in between: everything written, nobody told.
    run_dir = before.with_name("aa" + before.name[2:])
    run_dir.mkdir(mode=0o700)
    created = (before / "journal.jsonl").read_text().splitlines(keepends=True)[0]
    (run_dir / "plan.json").write_bytes((before / "plan.json").read_bytes())
    (run_dir / "journal.jsonl").write_text(created.replace(before.name, run_dir.name))
    (before.parent.parent / "active" / run_dir.name).touch()
    assert run_dir.name not in launch("ps").stdout
    record = launch.record(run_dir.name)
    assert (record["status"], record["reason"], record["exit_code"]) == ("KILLED", "lost", 125)
    assert not (run_dir / "stdout.log").exists()
