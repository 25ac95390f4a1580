"""A run is looked into from another shell, whoever started it and whatever became of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from launch_command import Launch
from terminal_session import TerminalSession
from waiting import eventually

pytestmark = pytest.mark.requires("overlayfs", "userns")


@pytest.fixture
def run(launch: Launch) -> Iterator[str]:
    """A run that goes on until the end of the test."""
    run_id = launch("-d", "experiment=probe", "params.how=graceful", "grace=5s").stdout.strip()
    eventually(lambda: "ready" in launch("logs", run_id).stdout)
    yield run_id
    launch("kill", run_id)


@pytest.mark.any_user
def test_each_command_that_makes_a_run_or_waits_for_one_prints_its_record(launch: Launch) -> None:
    """Nothing else is on stdout, also of what the program says there."""
    begun = json.loads(launch("-d", "experiment=probe", "params.how=3", "--json").stdout)
    assert (None, "probe") == (begun["exit_code"], begun["experiment"])
    ended = json.loads(launch("wait", begun["run_id"], "--json", check=3).stdout)
    assert launch.record(begun["run_id"]) == ended
    again = json.loads(launch("rerun", begun["run_id"], "--json", check=3).stdout)
    assert {"run": begun["run_id"], "verdict": "identical", "is_verified": True}.items() <= again["comparison"].items()
    swept = json.loads(launch("-m", "experiment=probe", "params.lr=1,2", "sweep.metric=loss", "--json").stdout)
    assert ("FINISHED", 2) == (swept["status"], len(swept["results"]["trials"]))
    assert "--json shows nothing" in launch("-it", "experiment=probe", "--json", check=2).stderr


def supervisor_of(launch: Launch, run_id: str) -> int:
    lock = launch.home / "runs" / run_id / "supervisor.lock"
    return int(json.loads(eventually(lock.read_text, "no supervisor has announced itself"))["pid"])


def kill_supervisor(launch: Launch, run_id: str) -> None:
    """Supervisor and tracker, so that nobody replaces it before a command does."""
    pid = supervisor_of(launch, run_id)
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    os.kill(pid, signal.SIGSTOP)
    for child in children:
        if "launch-init" not in Path(f"/proc/{child}/cmdline").read_text():
            os.kill(int(child), signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)


@pytest.mark.any_user
def test_a_rerun_is_not_verified_against_a_run_that_has_not_ended(launch: Launch, run: str) -> None:
    assert f"run `{run}` has not ended" in launch("rerun", run, "--verify", check=2).stderr


def test_exec_gives_streams_and_exit_code(launch: Launch, run: str) -> None:
    done = launch("exec", run, "--", "sh", "-c", 'echo "$LAUNCH_RUN_ID"; echo oops >&2; exit 7', check=7)
    assert (done.stdout, done.stderr) == (f"{run}\n", "oops\n")
    argv = launch.argv("exec", "-i", "-e", "A=b c", "-w", "/tmp", run, "--", "sh", "-c", "cat; echo $A; pwd")
    piped = subprocess.run(
        argv, env=launch.env(), cwd=launch.project, input="x" * 300_000, capture_output=True, text=True, check=True
    )
    assert piped.stdout == "x" * 300_000 + "b c\n/tmp\n"
    assert launch("exec", run, "--", "no-such-program", check=127).stderr.startswith("launch: cannot run `no-such-program`")
    assert launch("exec", run, "--", "cat").stdout == ""


def test_exec_ends_with_its_program_whatever_that_left_in_the_background(launch: Launch, run: str) -> None:
    done = launch("exec", run, "--", "sh", "-c", "yes & sleep 0.2; kill -STOP $!; echo done; kill -CONT $!; exit 3", check=3)
    assert "done" in done.stdout
    eventually(lambda: "yes" not in launch("top", run).stdout)


def test_exec_as_another_user(launch: Launch, run: str) -> None:
    assert launch("exec", "-u", "daemon", run, "--", "id", "-un").stdout == "daemon\n"
    assert "the container has no user `eve`" in launch("exec", "-u", "eve", run, "--", "id", check=125).stderr


def test_exec_passes_signals_on(launch: Launch, run: str) -> None:
    process = launch.start(
        "exec", run, "--", "sh", "-c", "trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 0.1; done"
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    out, _err = process.communicate(timeout=30)
    assert ("caught\n", 5) == (out, process.returncode)
    assert launch.record(run)["status"] == "RUNNING"


def test_a_killed_exec_leaves_nothing_inside(launch: Launch, run: str) -> None:
    process = launch.start("exec", run, "--", "sh", "-c", "echo ready; sleep 4321")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.kill()
    process.communicate()
    eventually(lambda: "4321" not in launch("top", run).stdout)


def test_everything_works_after_the_supervisor_was_killed(launch: Launch, run: str) -> None:
    kill_supervisor(launch, run)
    assert launch("exec", run, "--", "echo", "inside").stdout == "inside\n"
    assert "probe.py graceful" in launch("top", run).stdout
    eventually(lambda: launch.record(run)["alive"])
    follower = launch.start("logs", "-f", run)
    kill_supervisor(launch, run)
    launch("stop", run)
    out, _err = follower.communicate(timeout=60)
    assert out.splitlines() == [f"hello from {run}", "ready", "saving"]
    assert launch.record(run)["reason"] == "stopped"
    assert "has ended (stopped)" in launch("exec", run, "--", "true", check=2).stderr


@pytest.mark.any_user
def test_refusals_say_why(launch: Launch, run: str) -> None:
    assert "no run `nope`" in launch("exec", "nope", "--", "true", check=2).stderr
    assert "no command to run" in launch("exec", run, check=2).stderr
    assert "stdin is not a terminal" in launch("shell", run, check=2).stderr
    assert "names no variable" in launch("exec", "-e", "1=2", run, "--", "true", check=2).stderr
    launch("stop", run)
    for command in ("attach", "top", "pause", "unpause", "stats"):
        assert "has ended (stopped)" in launch(command, run, check=2).stderr


def test_top_and_stats(launch: Launch, run: str) -> None:
    processes = json.loads(launch("top", "--json", run).stdout)
    assert processes[0]["pid_inside"] == 1
    (program,) = [one for one in processes if one["command"].startswith("python3")]
    assert f"{program['pid_inside']}" in Path(f"/proc/{program['pid']}/status").read_text().split("NSpid:")[1].splitlines()[0]
    (look,) = [json.loads(line) for line in launch("stats", "--once", "--json", run).stdout.splitlines()]
    assert (look["run_id"], look["paused"]) == (run, False)
    assert look["memory_limit_bytes"] == (256 << 20 if os.geteuid() == 0 else None)
    assert look["processes"] >= 2
    assert look["memory_bytes"] > 1 << 20
    assert look["cpu_percent"] is not None
    assert look["net_received_bytes"] is None  # it has none
    assert run in launch("stats", "--once").stdout
    live = launch.start("stats", "--interval", "0.2", run)
    time.sleep(2)
    live.send_signal(signal.SIGINT)
    out, _err = live.communicate(timeout=30)
    assert out.count("EXPERIMENT") == 1
    assert out.count(run) > 2


@pytest.mark.any_user
def test_logs_by_line_and_time_in_order(launch: Launch) -> None:
    script = "for i in 1 2 3; do echo out$i; sleep 0.3; echo err$i >&2; sleep 0.3; done"
    run = launch("-d", "experiment=probe", "--", "sh", "-c", script).stdout.strip()
    launch("wait", run)
    merged = subprocess.run(
        launch.argv("logs", run),
        env=launch.env(),
        cwd=launch.project,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    ).stdout
    assert merged.split() == ["out1", "err1", "out2", "err2", "out3", "err3"]
    last = launch("logs", "--tail", "3", run)
    assert (last.stdout.split(), last.stderr.split()) == (["out3"], ["err2", "err3"])
    stamped = launch("logs", "-t", run).stdout.splitlines()
    assert [line.split()[1] for line in stamped] == ["out1", "out2", "out3"]
    since = stamped[1].split()[0]
    assert launch("logs", "--since", since, run).stdout.split() == ["out2", "out3"]
    assert launch("logs", "--since", "1h", "--tail", "0", run).stdout == ""
    assert "is no time" in launch("logs", "--since", "soon", run, check=2).stderr


@pytest.mark.any_user
def test_a_flood_is_bounded_and_says_so(launch: Launch) -> None:
    launch.environ["LAUNCH_LOG_LIMIT"] = "4MiB"
    script = "import os\nline = b'%099d\\n'\nfor n in range(400_000): os.write(1, line % n)"
    run = launch("-d", "experiment=probe", "--", "python3", "-c", script).stdout.strip()
    launch("wait", run)
    log = launch.home / "runs" / run / "stdout.log"
    assert log.stat().st_size < 10 << 20
    lines = launch("logs", run).stdout.splitlines()
    assert int(lines[0]) == 0
    assert int(lines[-1]) == 399_999
    assert any("bytes are left out here" in line for line in lines)


def test_attach_watches_as_the_first_shell_did(launch: Launch, run: str) -> None:
    attached = launch.start("attach", run)
    assert attached.stdout is not None
    assert attached.stdout.readline() == f"hello from {run}\n"
    assert attached.stdout.readline() == "ready\n"
    attached.send_signal(signal.SIGQUIT)
    _out, err = attached.communicate(timeout=30)
    assert attached.returncode == 0
    assert "the run goes on" in err
    attached = launch.start("attach", "--tail", "0", run)
    time.sleep(1)
    attached.send_signal(signal.SIGINT)
    out, err = attached.communicate(timeout=30)
    assert (out, attached.returncode) == ("saving\n", 130)
    assert "Ctrl-C asks it to end" in err
    assert launch.record(run)["reason"] == "interrupted"


def test_attach_survives_the_supervisor(launch: Launch, run: str) -> None:
    attached = launch.start("attach", run)
    assert attached.stdout is not None
    assert [attached.stdout.readline() for _ in range(2)] == [f"hello from {run}\n", "ready\n"]
    kill_supervisor(launch, run)
    eventually(lambda: launch.record(run)["alive"])
    launch("stop", run)
    out, _err = attached.communicate(timeout=60)
    assert (out, attached.returncode) == ("saving\n", 0)


@pytest.mark.requires("root")
@pytest.mark.requires("patience")
def test_a_paused_run_stands_still_and_its_timeout_with_it(launch: Launch) -> None:
    script = "import time\nfor n in range(30): print(n, flush=True); time.sleep(0.1)"
    run = launch("-d", "experiment=probe", "timeout=8s", "--", "python3", "-c", script).stdout.strip()
    eventually(lambda: "5" in launch("logs", run).stdout.split())
    launch("pause", run)
    before = launch("logs", run).stdout
    assert "paused" in launch("ps").stdout
    assert json.loads(launch("stats", "--once", "--json", run).stdout)["paused"]
    assert "is paused" in launch("exec", run, "--", "true", check=2).stderr
    assert "is paused already" in launch("pause", run, check=2).stderr
    time.sleep(8)
    assert before == launch("logs", run).stdout
    launch("unpause", run)
    assert "is not paused" in launch("unpause", run, check=2).stderr
    assert "finished" in launch("wait", run).stderr
    assert launch("logs", run).stdout.split() == [str(n) for n in range(30)]


@pytest.mark.requires("root")
def test_a_paused_run_can_be_stopped_and_may_save_first(launch: Launch, run: str) -> None:
    launch("pause", run)
    launch("stop", run)
    assert "saving" in launch("logs", run).stdout
    assert launch.record(run)["reason"] == "stopped"


@pytest.mark.requires("root")
def test_a_paused_run_survives_its_supervisor(launch: Launch, run: str) -> None:
    launch("pause", run)
    kill_supervisor(launch, run)
    assert "paused" in launch("ps").stdout
    time.sleep(1)
    launch("unpause", run)
    assert launch("exec", run, "--", "echo", "alive").stdout == "alive\n"
    launch("stop", run)
    assert (launch.record(run)["reason"], launch.record(run)["exit_code"]) == ("stopped", 0)


@pytest.mark.requires("root")
def test_a_paused_run_that_lost_its_supervisor_can_be_stopped(launch: Launch, run: str) -> None:
    launch("pause", run)
    kill_supervisor(launch, run)
    launch("stop", run)
    assert (launch.record(run)["reason"], launch.record(run)["exit_code"]) == ("stopped", 0)


@pytest.mark.parametrize("where", ["run", "experiment"])
def test_a_shell_is_a_real_terminal(launch: Launch, run: str, where: str) -> None:
    with TerminalSession(launch, "shell", run if where == "run" else "experiment=probe") as session:
        session.wait_for("# ")
        assert session.modes_before != session.modes()
        session.type("stty size; tty; echo $TERM $LAUNCH_EXPERIMENT\n")
        session.wait_for("40 111\r\n/dev/pts/0\r\nvt100 probe")
        session.type("sleep 600\n")
        session.wait_for("sleep 600")
        time.sleep(0.3)
        session.type("\x03")
        session.type("echo code $?\n")
        session.wait_for("code 130")
        session.resize(50, 99)
        session.process.send_signal(signal.SIGWINCH)
        time.sleep(0.3)
        session.type("stty size\n")
        session.wait_for("50 99")
        session.type("ls /workspace/probe.py && exit 4\n")
        assert session.end() == 4
        assert session.modes_before == session.modes()
    assert launch.record(run)["status"] == "RUNNING"


def begin_to_sleep(session: TerminalSession) -> None:
    session.type("exec sleep 4321\n")
    session.wait_for("4321")
    time.sleep(0.5)  # a bash that is about to exec loses a hang-up


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_whatever_ends_a_shell_the_terminal_is_as_it_was(launch: Launch, run: str, signum: signal.Signals) -> None:
    with TerminalSession(launch, "shell", run) as session:
        session.wait_for("# ")
        begin_to_sleep(session)
        session.process.send_signal(signum)
        session.end()
        eventually(lambda: session.modes() == session.modes_before)
    eventually(lambda: "4321" not in launch("top", run).stdout)


@pytest.mark.any_user
def test_the_name_of_an_experiment_is_no_run(launch: Launch) -> None:
    with TerminalSession(launch, "shell", "probe") as session:
        assert session.end() == 2
        assert "`launch shell experiment=probe`" in session.said


def test_a_closed_window_ends_the_shell(launch: Launch, run: str) -> None:
    with TerminalSession(launch, "shell", run) as session:
        session.wait_for("# ")
        begin_to_sleep(session)
        session.hang_up()
        session.process.wait(timeout=30)
    eventually(lambda: "4321" not in launch("top", run).stdout)


def test_a_shell_of_an_experiment_has_what_a_run_has_and_leaves_no_trace(launch: Launch) -> None:
    before = _directories(launch)
    with TerminalSession(
        launch, "shell", "experiment=probe", "params.lr=0.7", "--", "sh", "-c", "cat $LAUNCH_PARAMS; touch /workspace/x"
    ) as s:
        assert s.end() == 0
        assert '"lr": 0.7' in s.said
    assert before == _directories(launch)
    assert not (launch.project / "experiments/probe/x").exists()


def _directories(launch: Launch) -> set[Path]:
    """Of runs, and of containers to work in; others may have left theirs."""
    return {*launch.home.glob("runs/*"), *launch.home.glob("dev/*")}


def test_logs_have_every_line_in_order_across_killed_supervisors(launch: Launch) -> None:
    script = (
        "import os, time\n"
        "n = 0\n"
        "while n < 6000 or not os.path.exists('/outputs/enough'):\n"
        "    os.write(1 + n % 2, b'%d\\n' % n); n += 1; time.sleep(0.001)\n"
        "os.write(1, b'%d\\n' % n)"
    )
    run = launch("-d", "experiment=probe", "--", "python3", "-c", script).stdout.strip()
    for _ in range(2):
        eventually(lambda: bool(launch("logs", "--tail", "1", run).stdout + launch("logs", "--tail", "1", run).stderr))
        time.sleep(0.5)
        kill_supervisor(launch, run)
        time.sleep(0.5)
        eventually(lambda: launch.record(run)["alive"])
    (Path(launch.record(run)["run_dir"]) / "outputs/enough").touch()
    launch("wait", run)
    argv = launch.argv("logs", run)
    merged = subprocess.run(
        argv, env=launch.env(), cwd=launch.project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
    ).stdout
    numbers = [int(line) for line in merged.split()]
    assert sorted(numbers) == list(range(len(numbers)))
    assert len(numbers) > 6000
    misplaced = sum(after != before + 1 for before, after in pairwise(numbers))
    assert misplaced < len(numbers) / 4, f"{misplaced} lines are not where they belong"
