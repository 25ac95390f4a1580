"""What a machine may refuse, and how we say it: tried by making this machine refuse."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.container import lifecycle
from runtime.errors import RuntimeFailure, Unsupported
from runtime.kernel import id_maps, libc, mounts, namespaces, processes
from tests.kernel.forked import forked
from tests.kernel.test_container_rootless import as_user, home
from tests.kernel.userland import base_layer, make_spec

__all__ = ["home"]

pytestmark = pytest.mark.requires("root", "overlayfs", "idmapped-mounts", "userns", "proc", "netns")


def refusal(work: Callable[[], object]) -> str:
    """Kind, message and hint of the failure of *work*, done in a process of its own."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except RuntimeFailure as error:
            os.write(writer, f"{type(error).__name__}: {error.message} | {error.hint}".encode())
        except BaseException as error:
            os.write(writer, f"unexpected {error!r}".encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    said = os.read(reader, 4096).decode()
    os.close(reader)
    return said


@pytest.mark.requires("ordinary-user")
@pytest.mark.parametrize(
    ("covered", "hint"),
    [
        pytest.param("/proc/sys", "systempaths=unconfined", id="by a container"),
        pytest.param("/proc/driver", "`--volume /proc:/run/whole-proc`", id="by NVIDIA's toolkit"),
    ],
)
def test_a_covered_proc_names_the_outer_container_s_option_to_an_ordinary_user(home: Path, covered: str, hint: str) -> None:
    """As inside a container: a part of /proc has something mounted over it. Root mounts its /proc before it is bound by that."""

    def create() -> str:
        libc.unshare(processes.NEWNS)
        mounts.make_private()
        place = os.open(covered, os.O_PATH)
        mounts.attach(mounts.new_mount("tmpfs", {"mode": "755"}), place)
        return str(as_user(home, TRIED))

    said = forked(create)
    assert said.startswith(f"a new /proc can't be mounted: `{covered}` of it")
    assert hint in said


TRIED = """
from runtime.errors import RuntimeFailure
try:
    run(make_spec(home, "true"))
    answer = "it ran"
except RuntimeFailure as error:
    answer = f"{error.message} | {error.hint}"
"""


def test_no_user_namespaces_left_names_the_switch() -> None:
    def make() -> None:
        maps = id_maps.choose()
        namespaces.enter_user_namespace(namespaces.make_user_namespace(maps), maps)
        Path("/proc/sys/user/max_user_namespaces").write_text("0")  # that of the namespace that we are in
        namespaces.make_user_namespace(id_maps.single(0, 0))

    said = refusal(make)
    assert said.startswith("Unsupported: no user namespace can be made here")
    assert "user.max_user_namespaces" in said


def test_a_state_directory_on_an_overlay_is_named(tmp_path: Path) -> None:
    """LAUNCH_HOME in a development container."""
    layer = base_layer(tmp_path / "layer")
    (tmp_path / "lower").mkdir()
    for name in ("upper", "work", "merged"):
        (tmp_path / name).mkdir()
    spec = make_spec(tmp_path, "true", layers=(layer,), overlay_dir=tmp_path / "merged" / "run" / "overlay")

    def create() -> None:
        libc.unshare(processes.NEWNS)
        mounts.make_private()
        options = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
        libc.mount("overlay", tmp_path / "merged", "overlay", options=options)
        lifecycle.create(spec, exit_record=None)

    said = refusal(create)
    assert said.startswith("Unsupported: ")
    assert "overlay" in said
    assert "LAUNCH_HOME" in said


def test_more_layers_than_linux_stacks_are_refused_in_words(tmp_path: Path) -> None:
    layers = tuple(tmp_path / str(number) for number in range(501))
    with pytest.raises(Unsupported, match="501 layers, and Linux stacks 500 at most"):
        lifecycle.create(make_spec(tmp_path, "true", layers=layers), exit_record=None)


def test_five_hundred_layers_are_fine(tmp_path: Path) -> None:
    layers = [base_layer(tmp_path / "layers" / "0")]
    for number in range(1, 500):
        (tmp_path / "layers" / str(number)).mkdir()
        layers.append(tmp_path / "layers" / str(number))
    spec = make_spec(tmp_path, "true", layers=tuple(layers))
    container = lifecycle.create(spec, exit_record=None)
    lifecycle.start(container)
    assert 0 == lifecycle.wait(container).code
    container.close()
    lifecycle.remove_overlay(spec.overlay_dir)
