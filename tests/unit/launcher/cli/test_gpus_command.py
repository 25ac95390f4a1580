"""`launch gpus` on a machine with GPUs that isn't there."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gpu_box import GpuBox

from launcher.cli.main import run

Make = Callable[..., GpuBox]


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert 0 == run(["gpus", *arguments])
    return capsys.readouterr().out


def document(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    return json.loads(shown(capsys, *arguments, "--json"))  # type: ignore[no-any-return]


def test_the_table_names_memory_slices_processes_and_what_is_wrong(gpu_box: Make, capsys: pytest.CaptureFixture[str]) -> None:
    box = gpu_box(gpus=3, mig={1: [None, "1g.10gb"]})
    box.add_process(0, 4242, used_bytes=5 << 30, uid=0, command="python3 train.py", cgroup="/launch-a1b2c3/x")
    box.add_process(1, 777, used_bytes=1 << 30, mig=1, uid=0, command="python3 other.py")
    box.lose(2)
    lines = shown(capsys).splitlines()
    assert "NVIDIA driver 580.95.05, CUDA 13.0" == lines[0]
    assert "0    NVIDIA H100 80GB HBM3  GPU-42a97360  5.0 of 80 GiB  0 %   70 W   31 °C  ok        -" == lines[2]
    assert "     pid 4242  root  run a1b2c3  5.0 GiB  python3 train.py" == lines[3]
    assert "in slices" in lines[4]
    assert "     slice 1  1g.10gb   MIG-" in lines[5]
    assert "       pid 777  root  outside launch  1.0 GiB  python3 other.py" == lines[6]
    assert "unusable" in lines[7]
    assert lines[8].startswith("     unusable: lost: it has fallen off the bus")


def test_a_lease_is_shown_with_its_run_and_since_when(gpu_box: Make, capsys: pytest.CaptureFixture[str]) -> None:
    from runtime.gpu.leases.lease import Unit, lease_dir, release, take

    box = gpu_box(gpus=2, mig={1: ["1g.10gb"]})
    (mig,) = box.mig_uuids(1)
    holder = {"run": "a1b2c3", "user": "alice", "pid": os.getpid(), "since": time.time() - 125}
    lease = take(lease_dir(), [Unit(box.uuids[0]), Unit(mig, parent=box.uuids[1])], holder)
    assert lease is not None
    try:
        lines = shown(capsys).splitlines()
        assert lines[2].endswith("ok      run a1b2c3 of alice, 2 m 05 s")
        assert lines[4].endswith("leased to run a1b2c3 of alice, 2 m 05 s")
        (told,) = document(capsys)["gpus"][0]["leases"]
        assert ("a1b2c3", "alice") == (told["run"], told["user"])
    finally:
        release(lease)


def test_json_has_the_reason_for_what_is_not_told(gpu_box: Make, capsys: pytest.CaptureFixture[str]) -> None:
    gpu_box(gpus=1, model="NVIDIA GeForce RTX 4090")
    (gpu,) = document(capsys)["gpus"]
    assert ("13.0", True, True) == (gpu["cuda"], gpu["healthy"], gpu["ours"])
    assert "Not Supported" == gpu["unknown"]["ECC"]


def test_the_matrix_has_links_and_near_cpus(gpu_box: Make, capsys: pytest.CaptureFixture[str]) -> None:
    gpu_box(gpus=2)
    lines = shown(capsys, "--topology").splitlines()
    assert "       GPU 0  GPU 1  NUMA NODE  CPUS" == lines[5]
    assert "GPU 1  NV18   X      1          32-63,96-127" == lines[7]
    assert [{"gpus": [0, 1], "link": "NV18"}] == document(capsys, "--topology")["links"]


def test_what_a_shell_leaves_us_is_said(
    gpu_box: Make, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu_box(gpus=2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    lines = shown(capsys).splitlines()
    assert "CUDA_VISIBLE_DEVICES=1 leaves us 1 of 2 GPUs" == lines[1]
    assert "not ours" in lines[3]
    assert [False, True] == [gpu["ours"] for gpu in document(capsys)["gpus"]]


def test_no_gpu_is_an_answer_with_a_reason(gpu_box: Make, capsys: pytest.CaptureFixture[str]) -> None:
    gpu_box(installed=False)
    assert 0 == run(["gpus"])
    out, err = capsys.readouterr()
    assert "" == out
    assert "no GPUs: there is no NVIDIA driver here" in err


def test_a_mismatch_is_an_error(gpu_box: Make, capsys: pytest.CaptureFixture[str]) -> None:
    gpu_box(gpus=1, module="570.86.10")
    assert 125 == run(["gpus"])
    assert "library 580" in capsys.readouterr().err


def test_show_takes_a_number_or_the_beginning_of_a_uuid(gpu_box: Make, capsys: pytest.CaptureFixture[str]) -> None:
    box = gpu_box(gpus=2)
    by_number = shown(capsys, "show", "1")
    assert by_number == shown(capsys, "show", box.uuids[1][:9]) == shown(capsys, "show", box.uuids[1][4:9])
    assert "  minor number  0" in by_number
    assert 2 == run(["gpus", "show", "7"])
    assert "`7` is no GPU" in capsys.readouterr().err


@pytest.mark.parametrize("key", [pytest.param(b"q", id="q"), pytest.param(b"\x03", id="Ctrl-C")])
def test_watching_ends_with_a_key_and_gives_the_terminal_back(gpu_box: Make, key: bytes) -> None:
    import termios

    gpu_box(gpus=1)
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    program = "import sys; from launcher.warm.client import main; sys.argv[1:] = ['gpus', '--watch', '--interval', '0.2']; main()"
    with subprocess.Popen(
        [sys.executable, "-c", f"import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); {program}"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as process:
        screen = b""
        while screen.count(b"\x1b[H") < 3 and select.select([ours], [], [], 30)[0]:
            screen += os.read(ours, 65536)
        os.write(ours, key)
        assert 0 == process.wait(30)
    assert before == termios.tcgetattr(theirs)
    assert b"H100" in screen
    os.close(ours)
    os.close(theirs)


def test_watching_without_a_terminal_prints_a_document_a_line(gpu_box: Make) -> None:
    box = gpu_box(gpus=1)
    argv = [
        sys.executable,
        "-c",
        "from launcher.warm.client import main; main()",
        "gpus",
        "--watch",
        "--json",
        "--interval",
        "0.1",
    ]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["gpus"][0]["healthy"]
        box.fail("nvmlInitWithFlags", 9)
        while "error" not in (told := json.loads(process.stdout.readline())):
            pass
        assert "kernel module is not loaded" in told["error"]
        process.kill()


def test_a_specification_that_cannot_be_written_leaves_nothing(
    gpu_box: Make, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    gpu_box(gpus=1)
    (tmp_path / "cdi/taken.yaml").mkdir(parents=True)
    assert 125 == run(["gpus", "cdi", "-o", str(tmp_path / "cdi/taken.yaml")])
    assert "hint: `-o FILE` names another place" in capsys.readouterr().err
    assert ["taken.yaml"] == os.listdir(tmp_path / "cdi")
