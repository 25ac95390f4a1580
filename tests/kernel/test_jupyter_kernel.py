"""A Jupyter of the host with a kernel in a container that has no network: a real client, a real kernel."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

from runtime.container.spec import ContainerSpec
from runtime.light_dataclasses import replace
from runtime.rootfs.mount_spec import BindMount
from tests.kernel.test_exec_inside import running
from tests.kernel.userland import make_spec

pytestmark = pytest.mark.requires("root", "overlayfs", "idmapped-mounts", "userns", "proc", "netns")

PROGRAM = """\
import pathlib, sys
from launcher.cli.dev.kernel import relay_kernel
sys.exit(relay_kernel(*map(pathlib.Path, sys.argv[1:])))
"""


JUPYTER = """\
import sys
from tests.kernel.test_jupyter_kernel import Cells
with Cells(sys.argv[1]) as cells:
    print(cells.manager.provisioner.pid, flush=True)
    sys.stdin.read()
"""


class Cells:
    """Run in a kernel that is started with the specification of *directory*."""

    def __init__(self, directory: Path) -> None:
        specs = KernelSpecManager(kernel_dirs=[str(directory)], ensure_native_kernel=False)
        self.manager = KernelManager(kernel_name="inside", kernel_spec_manager=specs)

    def __enter__(self) -> Cells:
        self.manager.start_kernel()
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=120)
        return self

    def run(self, code: str, *, interrupt_at: str | None = None) -> tuple[str, str]:
        """How the cell ended, and what it printed; *interrupt_at*: interrupted as soon as it has printed that."""
        said: list[str] = []

        def hear(message: dict[str, Any]) -> None:
            said.append(message["content"].get("text", ""))
            if said[-1] == interrupt_at:
                self.manager.interrupt_kernel()

        reply = self.client.execute_interactive(code, timeout=120, output_hook=hear)
        return reply["content"].get("ename", reply["content"]["status"]), "".join(said)

    def __exit__(self, *_failure: object) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel()
        assert not self.manager.is_alive()


def _container(tmp_path: Path) -> ContainerSpec:
    """One without a network, and the specification of a kernel in it below *tmp_path*."""
    (tmp_path / "kernels/inside").mkdir(parents=True)
    (tmp_path / "box").mkdir()
    argv = [sys.executable, "-c", PROGRAM, str(tmp_path / "box/init.sock"), "{connection_file}"]
    spec = {"argv": argv, "display_name": "inside", "language": "python", "interrupt_mode": "message"}
    (tmp_path / "kernels/inside/kernel.json").write_text(json.dumps(spec))
    ours = BindMount(Path(sys.prefix), sys.prefix, owner_is_caller=False)
    env = {"PATH": f"{sys.prefix}/bin:/usr/bin", "HOME": "/home/user", "HERE": "inside"}
    return replace(make_spec(tmp_path / "box", "unused", binds=(ours,), env=env), argv=(), processes=0, rank_grace_s=1)


def test_its_cells_run_there_are_interrupted_and_start_again(tmp_path: Path) -> None:
    with running(_container(tmp_path)), Cells(tmp_path / "kernels") as cells:
        ask = "import os; x = 7; print(os.environ['HERE'], os.readlink('/proc/self/ns/net'))"
        how, said = cells.run(ask)
        assert ("ok", True) == (how, said.startswith("inside net:["))
        assert os.readlink("/proc/self/ns/net") not in said
        endless = "import time; print('begun')\nwhile True: time.sleep(0.01)"
        assert ("KeyboardInterrupt", "begun\n") == cells.run(endless, interrupt_at="begun\n")
        assert ("ok", "7\n") == cells.run("print(x)")
        cells.manager.restart_kernel()
        cells.client.wait_for_ready(timeout=120)
        assert "NameError" == cells.run("print(x)")[0]


def test_it_ends_with_a_jupyter_that_was_killed(tmp_path: Path) -> None:
    """Which could not tell it to."""
    with running(_container(tmp_path)):
        words = [sys.executable, "-c", JUPYTER, os.fspath(tmp_path / "kernels")]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as jupyter:
            assert jupyter.stdout is not None
            relay = os.pidfd_open(next(int(line) for line in jupyter.stdout if line.strip().isdigit()))
            jupyter.kill()
        ended, _, _ = select.select([relay], [], [], 60)
        os.close(relay)
        assert ended
