"""LAUNCH_HOME on a file system that can carry no writable layer and no id-mapped mounts, and an image that a job builds.

An overlay over the session's LAUNCH_HOME stands in for NFS and Lustre: the image is there, and overlayfs takes no upper directory
from it either.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from launch_command import Launch, write_project
from waiting import eventually

from runtime.kernel import libc, mounts
from tests.cluster.test_slurm_runs import begun, detached, lives

pytestmark = pytest.mark.requires("root", "slurm", "overlayfs")

SCRATCH = Path("/tmp/launch-0")


@pytest.fixture(scope="module")
def shared_home(cluster_home: Path) -> Iterator[Path]:
    """`cluster_home`, seen through an overlay: what is written there goes with it."""
    room = Path(tempfile.mkdtemp(prefix="launch-shared-"))
    for name in ("u", "w", "home"):
        (room / name).mkdir()
    options = {"lowerdir": str(cluster_home), "upperdir": f"{room}/u", "workdir": f"{room}/w"}
    tree = mounts.new_mount("overlay", {**options})
    place = os.open(room / "home", os.O_PATH | os.O_DIRECTORY)
    mounts.attach(tree, place)
    os.close(place)
    os.close(tree)
    yield room / "home"
    eventually(lambda: _unmounted(room / "home"), "the end of whoever uses it")
    shutil.rmtree(room)


def _unmounted(place: Path) -> bool:
    with suppress(OSError):
        libc.umount(place, 0)
        return True
    return False


@pytest.fixture
def on_shared(launch: Launch, shared_home: Path) -> Launch:
    if not (launch.home / "store/images").is_dir() or not os.listdir(launch.home / "store/images"):
        launch("build", "experiment=probe")
    return Launch(shared_home, launch.project, launch.environ)


def journaled(launch: Launch, run_id: str, name: str) -> list[dict]:
    lines = (launch.home / "runs" / run_id / "journal.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == name]


def scratch_of(launch: Launch, run_id: str) -> Path:
    return next(Path(event["name"]) for event in journaled(launch, run_id, "acquired") if event["kind"] == "scratch")


def test_a_run_has_its_layers_and_what_it_writes_on_the_node_and_its_files_back_at_the_end(
    on_shared: Launch, tmp_path: Path
) -> None:
    run_id = detached(on_shared, "params.how=3", f"cluster.node_store={tmp_path}/$SLURM_JOB_PARTITION")
    on_shared("wait", run_id, check=3)
    assert f"hello from {run_id}\n" == on_shared("logs", run_id).stdout.replace("on stderr\n", "")
    run = on_shared.home / "runs" / run_id
    assert "42\n" == (run / "outputs/result.txt").read_text()
    owners = {path.name: path.stat().st_uid for path in (run / "outputs", run / "outputs/result.txt", run / "metrics.jsonl")}
    assert {0} == set(owners.values()), owners
    scratch = scratch_of(on_shared, run_id)
    assert (SCRATCH, False, False) == (scratch.parent, scratch.exists(), (run / "overlay").is_symlink())
    assert "copying" in journaled(on_shared, run_id, "note")[0]["text"]
    store = tmp_path / "main/launch-store-0"
    layers = json.loads(next((store / "images").iterdir()).read_text())["layers"]
    assert {digest.removeprefix("sha256:") for digest, *_ in layers} == set(os.listdir(store / "layers"))


def test_what_a_killed_job_left_on_its_node_goes_with_the_next(on_shared: Launch, slurm) -> None:
    """A node that went down, or a job that was killed with its witness, could give nothing back."""
    run_id = detached(on_shared, "params.how=stubborn")
    init = begun(on_shared, run_id)["init_pid"]
    scratch = scratch_of(on_shared, run_id)
    assert scratch.is_dir()
    supervisor = json.loads((on_shared.home / "runs" / run_id / "supervisor.lock").read_text())["pid"]
    witnesses = [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and _parent(int(pid)) == supervisor]
    for pid in (*witnesses, supervisor, init):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    eventually(lambda: not lives(init), "the end of its container")
    assert scratch.is_dir()
    on_shared("experiment=probe", "cluster=slurm", "-q")
    assert not scratch.exists()


def _parent(pid: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def project_with(directory: Path, **image: list[str]) -> Path:
    return write_project(directory, "probe", experiment=_experiment(image))


def _experiment(image: dict[str, list[str]]) -> str:
    from launch_command import EXPERIMENT

    return EXPERIMENT.replace("image: {requirements: []}", f"image: {json.dumps({'requirements': [], **image})}")


def test_an_image_that_a_job_builds_is_watched_as_one_built_here(on_shared: Launch, tmp_path: Path) -> None:
    launch = Launch(on_shared.home, project_with(tmp_path, run=["touch /made"]), on_shared.environ)
    done = launch("experiment=probe", "cluster=slurm", "cluster.build=job", check=0)
    assert "the image is built by slurm job" in done.stderr
    assert "built   touch /made" in done.stderr
    again = launch("experiment=probe", "cluster=slurm", "cluster.build=job")
    assert "the image is built" not in again.stderr
    failed = launch("build", "experiment=probe", "cluster=slurm", "cluster.build=job", 'image.run=["echo so; exit 3"]', check=125)
    assert "error: `echo so; exit 3` exited with 3:\n    so\n" in failed.stderr


def test_a_build_job_ends_with_the_command_that_wants_it(on_shared: Launch, tmp_path: Path, slurm) -> None:
    launch = Launch(on_shared.home, project_with(tmp_path, run=["sleep 300"]), on_shared.environ)
    command = launch.start("build", "experiment=probe", "cluster=slurm", "cluster.build=job")
    assert command.stderr is not None
    assert any("is built by slurm job" in line for line in command.stderr)
    command.send_signal(signal.SIGINT)
    assert 130 == command.wait(30)
    eventually(lambda: not slurm.jobs(), "the end of its job")


def test_the_doctor_of_a_cluster_asks_slurm_the_shared_home_and_a_node(on_shared: Launch) -> None:
    found = {check["name"]: check for check in json.loads(on_shared("doctor", "--cluster", "--probe", "--json").stdout)["checks"]}
    assert [True] * 4 == [found[name]["ok"] for name in ("slurm", "controller", "partition main", "main: node")]
    assert "lies on overlay" in found["home-overlay"]["detail"]
    assert found["home"]["detail"].endswith("as the nodes do")
    assert str(SCRATCH) in found["main: node"]["detail"]
    assert (False, "proctrack/linuxproc" in found["proctrack"]["detail"]) == (found["proctrack"]["ok"], True)
    assert [] == [name for name in os.listdir(on_shared.home / "locks") if name.startswith("probe")]
