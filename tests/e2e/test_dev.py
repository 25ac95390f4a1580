"""A container to work in: one's own files in the environment of a run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from launch_command import EXPERIMENT, Launch, write_project
from terminal_session import TerminalSession
from waiting import eventually

from launcher.run.dev_containers import living_in
from runtime.build.debian.root_skeleton import APT_SOURCE
from runtime.file_lock import is_locked
from runtime.json_files import json_object
from runtime.state_dir import StateDir

pytestmark = [pytest.mark.any_user, pytest.mark.requires("overlayfs", "userns")]

LEAVES = """\
import os, pathlib, sys
pathlib.Path("/outputs/result").write_text("2")
pathlib.Path("/checkpoints/last").write_text("7")
pathlib.Path("deep").mkdir()
pathlib.Path("deep/log").write_text("kept")
sys.exit(5)
"""
LOOKS = """\
echo $(cat /outputs/result) $(cat deep/log) $(cat /checkpoints/last) $LAUNCH_RESUME $(find deep | sed s,^,./,)
echo changed > /outputs/result; echo changed > deep/log; echo new > /checkpoints/made
"""


@pytest.fixture
def mine(session_home: Path, tmp_path: Path) -> Iterator[Launch]:
    """A project of its own: its files are written from both sides."""
    launch = Launch(session_home, write_project(tmp_path / "project", "mine", experiment=EXPERIMENT.replace("probe", "mine")))
    yield launch
    for left in living_in(StateDir(launch.home), launch.project):  # by a test that failed
        launch("stop", left.run_id)


def living(launch: Launch) -> list[str]:
    """Those of this test's own project."""
    ids = [run["run_id"] for run in json.loads(launch("ps", "--json").stdout) if run["run_id"].startswith("dev-")]
    state = StateDir(launch.home)
    return [one for one in ids if one in {record.run_id for record in living_in(state, launch.project)}]


def supervisor_of(launch: Launch, container: str) -> int:
    return int(json_object(launch.home / "dev" / container / "supervisor.lock")["pid"])


def recorded_runs(launch: Launch) -> set[str]:
    """Their ids: what is known of others' runs may still change."""
    return {run["run_id"] for run in launch.runs()}


def kept(launch: Launch) -> set[str]:
    return {path.name for path in (launch.home / "dev").glob("*")}


def test_files_are_edited_from_both_sides_and_nothing_is_recorded(mine: Launch) -> None:
    code, runs, others = mine.project / "experiments/mine", recorded_runs(mine), kept(mine)
    with TerminalSession(mine, "dev", "experiment=mine", "params.lr=0.7") as session:
        session.wait_for("your `experiments/mine`, live, in /workspace")
        session.wait_for("# ")
        session.type("cat $LAUNCH_PARAMS; stty size; echo inside > from_inside\n")
        session.wait_for('"lr": 0.7')
        session.wait_for("40 111")
        owner = eventually((code / "from_inside").exists) and (code / "from_inside").stat().st_uid
        assert (owner, (code / "from_inside").read_text()) == (os.geteuid(), "inside\n")
        (code / "from_outside").write_text("outside\n")
        session.type("cat from_outside\n")
        session.wait_for("outside\r")
        (container,) = living(mine)
        assert container not in recorded_runs(mine)
        session.type("exit 3\n")
        assert session.end() == 3
        assert session.modes_before == session.modes()
    assert (runs, []) == (recorded_runs(mine), living(mine))
    assert kept(mine) <= others  # it reports those that others' tests have killed


def test_it_is_left_and_entered_again_until_it_is_stopped(mine: Launch) -> None:
    container = mine("dev", "-d", "experiment=mine", "--name", "bench").stdout.strip()
    try:
        assert mine("exec", "bench", "--", "sh", "-c", "echo 1 > /tmp/left; echo 2 > /outputs/kept").stdout == ""
        with TerminalSession(mine, "attach", "bench") as session:
            session.wait_for("# ")
            session.type("cat /tmp/left && exec sleep 4326\n")
            session.wait_for("1\r")
            session.hang_up()
            session.process.wait(timeout=30)
        eventually(lambda: "sleep 4326" not in mine("top", container).stdout)
        os.kill(supervisor_of(mine, container), signal.SIGKILL)
        assert mine("dev", "--", "cat", "/tmp/left").stdout == "1\n"  # the one that this directory has
        assert mine("dev", "--", "sh", "-c", "exit 7", check=7).stdout == ""
        assert [container] == living(mine)
    finally:
        ended = mine("stop", container).stderr
    assert "mine " + container in ended
    assert f"what it wrote to /outputs and /checkpoints is in {mine.home}/dev/{container}" in ended
    assert (mine.home / "dev" / container / "outputs/kept").read_text() == "2\n"
    mine("runs", "rm", container)
    assert container not in kept(mine)


def test_the_next_one_tells_what_was_in_one_whose_end_nobody_saw(mine: Launch) -> None:
    container = mine("dev", "-d", "experiment=mine").stdout.strip()
    info = "/opt/venv/lib/python3.13/site-packages/humanize-4.9.0.dist-info"
    mine("exec", container, "--", "sh", "-c", f"mkdir {info} && touch {info}/REQUESTED")
    os.kill(supervisor_of(mine, container), signal.SIGTERM)
    eventually(lambda: container not in living(mine))
    eventually(lambda: not is_locked(StateDir(mine.home).run(container).supervisor_lock))
    told = mine("dev", "experiment=mine", "--", "true").stderr
    assert f"mine {container} was stopped" in told
    assert "installed by hand, and gone now: humanize==4.9.0; to have it always:\nimage:\n  groups:\n    more:\n" in told
    assert '      requirements: ["humanize==4.9.0"]\n' in told
    assert container not in mine("dev", "experiment=mine", "--", "true").stderr


def test_whoever_is_in_one_that_ends_is_told_why(mine: Launch) -> None:
    with TerminalSession(mine, "dev", "experiment=mine", "dev.idle=2s") as session:
        session.wait_for("nobody used this container for as long as `dev.idle` says: it ends, and this program with it\r\n")
        session.end()
    idle = mine("dev", "-d", "experiment=mine", "dev.idle=1s").stdout.strip()
    eventually(lambda: idle not in living(mine))
    eventually(lambda: not is_locked(StateDir(mine.home).run(idle).supervisor_lock))
    container = mine("dev", "-d", "experiment=mine")
    assert f"mine {idle} ended, for nobody used it (`dev.idle`), after " in container.stderr
    with TerminalSession(mine, "attach", container.stdout.strip()) as session:
        session.wait_for("# ")
        mine("stop", container.stdout.strip())
        session.wait_for("the container is told to end, and this program with it\r\n")
        session.end()


def test_apt_knows_the_archive_where_the_container_has_a_network(mine: Launch) -> None:
    shown = mine("dev", "experiment=mine", "network=host", "--", "cat", APT_SOURCE).stdout
    assert "Types: deb\nURIs: " in shown
    assert "URIs: " not in mine("dev", "experiment=mine", "--", "cat", APT_SOURCE).stdout


def test_whoever_wants_into_one_that_has_ended_is_told_so_and_what_to_do(mine: Launch) -> None:
    container = mine("dev", "-d", "experiment=mine", "--name", "bench").stdout.strip()
    os.kill(supervisor_of(mine, container), signal.SIGTERM)
    eventually(lambda: container not in living(mine))
    eventually(lambda: not is_locked(StateDir(mine.home).run(container).supervisor_lock))
    for entering in (("exec", "bench", "--", "true"), ("kernel-proxy", "bench", "/dev/null"), ("run", "--from-dev", "bench")):
        refused = mine(*entering, check=2).stderr
        assert f"container `{container}` has ended (stopped)\n" in refused
        assert "`launch dev experiment=mine` makes another, and tells what was in this one" in refused
    assert f"mine {container} was stopped" in mine("dev", "experiment=mine", "--", "true").stderr


JUPYTER = """\
#!/usr/bin/env python3
import signal, socket, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
served = socket.socket(socket.AF_UNIX)
served.bind(next(word.partition("=")[2] for word in sys.argv if word.startswith("--ServerApp.sock=")))
served.listen()
while True:
    signal.pause()
"""
"""It may hang at Ctrl-C, as the real one does."""


def test_ctrl_c_ends_a_notebook_whose_server_does_not_hear_it(mine: Launch) -> None:
    container = mine("dev", "-d", "experiment=mine").stdout.strip()
    program = mine.project / "experiments/mine/jupyter"
    program.write_text(JUPYTER)
    program.chmod(0o755)
    mine("exec", container, "--", "ln", "-s", "/workspace/jupyter", "/opt/venv/bin/jupyter")
    with TerminalSession(mine, "notebook", "--no-browser") as session:
        session.wait_for("JupyterLab: http://127.0.0.1:")
        session.type("\x03")
        session.end()
    assert [container] == living(mine)
    mine("stop", container)


INTERRUPTED = """\
import pdb, signal, time
number = 0
def interrupt(*_):
    global number
    number += 5
signal.signal(signal.SIGINT, interrupt)
print("waits for Ctrl-C", flush=True)
while not number:
    time.sleep(0.01)
pdb.set_trace()
"""
"""It looks by itself whether it was interrupted: a signal between pdb's prompt and its reading of an answer is lost to CPython
until somebody types more."""


def test_saves_rerun_the_program_in_the_warm_container(mine: Launch) -> None:
    program = mine.project / "experiments/mine/mine.py"
    with TerminalSession(mine, "dev", "--watch", "experiment=mine") as session:
        session.wait_for("hello from dev-")
        session.wait_for("ended with exit code 0; runs again when the code is saved")
        program.write_text("import time\nprint('second', flush=True)\ntime.sleep(4326)\n")
        session.wait_for("again: mine.py")
        session.wait_for("second\r")
        program.write_text(INTERRUPTED)  # ends the try that sleeps
        session.wait_for("waits for Ctrl-C\r")
        (container,) = living(mine)
        assert 1 == mine("top", container).stdout.count("mine.py")
        session.type("\x03")  # for the try
        session.wait_for("(Pdb)")
        session.type("p number + 1\n")
        session.wait_for("6\r")
        session.wait_for("(Pdb)")
        session.type("q\n")
        session.wait_for("Ctrl-C leaves")
        (mine.project / "experiments/mine/result.txt").write_text("the program's own")
        session.type("\n")
        session.wait_for("again\r")  # by Enter, and not by the result
        session.wait_for("waits for Ctrl-C\r")
        session.type("\x03")
        session.wait_for("(Pdb)")
        session.type("q\n")
        session.wait_for("Ctrl-C leaves")
        session.type("\x03")
        session.end()
    assert [] == living(mine)


def test_an_ended_run_is_opened_as_it_was_left_and_stays_so(mine: Launch) -> None:
    (mine.project / "experiments/mine/mine.py").write_text(LEAVES)
    run = mine.home / "runs" / mine("-d", "experiment=mine").stdout.strip()
    mine("wait", run.name, check=5)
    with TerminalSession(mine, "shell", run.name, "--", "sh", "-c", LOOKS) as session:
        session.wait_for(f": as run {run.name} left it, in /workspace; its own files stay as they are")
        session.wait_for("2 kept 7 1 ./deep ./deep/log\r\n")
        session.wait_for("what it wrote to /outputs and /checkpoints is in ")
        assert session.end() == 0
        opened = Path(session.said.strip().partition("\r")[0])
    assert [(opened / "checkpoints/made").read_text(), (opened / "outputs/result").read_text()] == ["new\n", "changed\n"]
    assert [(run / "outputs/result").read_text(), (run / "outputs/workspace/deep/log").read_text()] == ["2", "kept"]
    assert [opened / "checkpoints/made"] == [file for file in (opened / "checkpoints").rglob("*") if file.is_file()]
    mine("runs", "rm", opened.name, run.name)


def test_a_run_is_debugged_on_its_terminal_by_whoever_watches_it(mine: Launch) -> None:
    (mine.project / "experiments/mine/mine.py").write_text("import sys\nx = 5\nbreakpoint()\nsys.exit(x)\n")
    with TerminalSession(mine, "run", "-it", "experiment=mine") as session:
        session.wait_for("(Pdb)")
        session.type("x = x + 2\n")
        session.wait_for("(Pdb)")
        session.type("import os; os.get_terminal_size()\n")
        session.wait_for("columns=111, lines=40")
        session.type("\x10\x11")
        session.wait_for("left; the run goes on")
        assert session.end() == 0
        assert session.modes_before == session.modes()
    run_id = mine.record()["run_id"]
    os.kill(int(json_object(mine.home / "runs" / run_id / "supervisor.lock")["pid"]), signal.SIGKILL)
    with TerminalSession(mine, "attach", run_id) as session:
        session.wait_for("what you type is the program's")
        session.type("'the answer is %d' % x\n")
        session.wait_for("the answer is 7")
        session.type("\x03")  # for the program
        session.wait_for("--KeyboardInterrupt--")
        session.type("c\n")
        session.wait_for("failed with exit code 7")
        assert session.end() == 7
    assert "(Pdb) x = x + 2\n" in mine("logs", run_id).stdout
    assert "stdin is not a terminal" in mine("run", "-it", "experiment=mine", check=2).stderr
    assert "2 processes cannot share a terminal" in mine("run", "-dit", "experiment=mine", "processes=2", check=2).stderr
    assert "`-i` and `-t` go together" in mine("-t", "experiment=mine", check=2).stderr


def test_what_was_tried_becomes_a_run_and_a_patch(mine: Launch) -> None:
    container = mine("dev", "-d", "experiment=mine", "params.lr=0.5", "--name", "tried").stdout.strip()
    info = "/opt/venv/lib/python3.13/site-packages/humanize-4.9.0.dist-info"
    mine("dev", "--", "python3", "mine.py", "0", "two words")
    mine("dev", "--", "pip", "--version", check=127)
    frozen = mine("run", "--from-dev", "tried")
    assert f"from mine {container}: python3 mine.py 0 'two words' (the last command" in frozen.stderr
    run = mine.record()
    assert "1 of 1 same sha256" in mine("rerun", "--verify", run["run_id"]).stderr
    mine("exec", "tried", "--", "sh", "-c", f"mkdir {info} && touch {info}/REQUESTED")
    shown = mine("run", "--from-dev", "tried", "--cfg", "job", "--", "true").stdout
    assert "humanize==4.9.0" in shown
    patch = mine.home / "runs" / run["run_id"] / "experiment.patch"
    subprocess.run(["git", "apply", patch], cwd=mine.project, check=True)
    assert run["spec_digest"] == json.loads(mine("plan", "experiment=mine", "--json").stdout)["spec_digest"]
    mine("stop", container)
    assert "is a run already" in mine("run", "--from-dev", run["run_id"], check=2).stderr


def test_what_cannot_be_is_said_at_once(mine: Launch) -> None:
    for words in (("--", "true"), ("--watch",), ("-d", "--ssh")):
        refused = mine("dev", *words, check=2).stderr
        assert "this directory has no container to work in" in refused
        assert "`launch dev experiment=NAME` makes one" in refused
    assert "did you mean `experiment=mine`?" in mine("dev", "experimnt=mine", "--", "true", check=2).stderr
    assert "stdin is not a terminal" in mine("dev", "experiment=mine", check=2).stderr
    assert "not with -d" in mine("dev", "-d", "--watch", "experiment=mine", check=2).stderr
    refused = mine("dev", "-d", "experiment=mine", "cluster=slurm", check=2).stderr
    assert "a container to work in is made on this machine only\n" in refused
    assert "conf/cluster/slurm.yaml:1" in refused
    assert "did you mean `dev.idle=1h`?" in mine("dev", "-d", "experiment=mine", "dev.idel=1h", check=2).stderr
    assert mine("dev", "experiment=mine", "--", "no-such-program", check=127).stderr.count("not found in PATH") == 1
