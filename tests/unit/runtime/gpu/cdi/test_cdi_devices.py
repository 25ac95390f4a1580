"""From files in directories and names in an experiment to the edits of a container."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import GpuError
from runtime.gpu.cdi.document import parse_device_name
from runtime.gpu.cdi.files import read_catalogue
from runtime.gpu.cdi.resolve import device_edits
from runtime.gpu.edits import Edits
from runtime.rootfs.mount_spec import DeviceNode, HostFile, Symlink


@pytest.fixture
def directories(tmp_path: Path) -> list[Path]:
    found = [tmp_path / "etc", tmp_path / "run"]
    for directory in found:
        directory.mkdir()
    return found


def write(
    directory: Path, name: str, devices: dict[str, Any], everybody: dict[str, Any] | None = None, kind: str = "v.com/c"
) -> None:
    listed = [{"name": device, "containerEdits": edits} for device, edits in devices.items()]
    content = {"cdiVersion": "1.1.0", "kind": kind, "devices": listed, "containerEdits": everybody or {}}
    (directory / name).write_text(json.dumps(content))


def edits(directories: list[Path], *names: str) -> Edits:
    return device_edits([parse_device_name(name) for name in names], read_catalogue(directories))


def env(value: str) -> dict[str, Any]:
    return {"env": [f"FROM={value}"]}


def test_the_later_directory_wins(directories: list[Path]) -> None:
    write(directories[0], "a.json", {"0": env("etc")})
    write(directories[1], "b.json", {"0": env("run")})
    assert (("FROM", "run"),) == edits(directories, "v.com/c=0").env


def test_two_files_of_one_directory_make_their_common_device_unusable_and_no_other(directories: list[Path]) -> None:
    write(directories[0], "a.json", {"0": env("a"), "1": env("one")})
    write(directories[0], "b.json", {"0": env("b"), "2": env("two")})
    assert (("FROM", "two"),) == edits(directories, "v.com/c=1", "v.com/c=2").env
    with pytest.raises(GpuError, match="defined by two files of one directory"):
        edits(directories, "v.com/c=0")


def test_a_conflict_in_the_earlier_directory_is_settled_by_the_later(directories: list[Path]) -> None:
    for name in ("a.json", "b.json"):
        write(directories[0], name, {"0": env(name)})
    write(directories[1], "c.json", {"0": env("run")})
    assert (("FROM", "run"),) == edits(directories, "v.com/c=0").env


def test_a_broken_file_harms_no_other_and_is_named_where_a_device_is_missing(directories: list[Path]) -> None:
    write(directories[0], "good.json", {"0": env("good")})
    (directories[0] / "bad.yaml").write_text("kind: [")
    (directories[0] / "ignored.yml").write_text("kind: [")
    assert edits(directories, "v.com/c=0").env
    with pytest.raises(GpuError) as raised:
        edits(directories, "v.com/c=O")
    words = raised.value.message
    assert all(word in words for word in (str(directories[1]), "good.json", "bad.yaml", "not YAML")), words
    assert "ignored.yml" not in words
    assert "did you mean `v.com/c=0`?" == raised.value.hint


def test_all_unknown_devices_are_named_together(directories: list[Path]) -> None:
    write(directories[0], "a.json", {"0": env("a")})
    with pytest.raises(GpuError, match=r"`v\.com/c=8`, `w\.com/c=1`"):
        edits(directories, "v.com/c=0", "v.com/c=8", "w.com/c=1")


def test_edits_for_all_devices_of_a_file_come_once_and_before_those_of_a_device(directories: list[Path]) -> None:
    write(directories[0], "a.json", {"0": env("device"), "1": {"env": ["B=2"]}}, {"env": ["FROM=everybody", "B=1"]})
    assert {"FROM": "device", "B": "2"} == dict(edits(directories, "v.com/c=0", "v.com/c=1").env)


def test_a_node_is_the_hosts_own_and_numbers_that_differ_are_told(directories: list[Path]) -> None:
    write(directories[0], "a.json", {"0": {"deviceNodes": [{"path": "/dev/x", "hostPath": "/dev/null", "major": 1, "minor": 3}]}})
    assert (DeviceNode(Path("/dev/null"), "/dev/x"),) == edits(directories, "v.com/c=0").nodes
    write(directories[0], "a.json", {"0": {"deviceNodes": [{"path": "/dev/null", "major": 195}]}})
    with pytest.raises(GpuError, match=r"`/dev/null` is 1:3, the specification says 195:0"):
        edits(directories, "v.com/c=0")


@pytest.mark.parametrize(
    ("device", "words"),
    [
        pytest.param({"deviceNodes": [{"path": "/dev/nope"}]}, "No such file", id="no such node"),
        pytest.param({"deviceNodes": [{"path": "/dev/x", "hostPath": "/dev/stdin"}]}, "not a device node", id="a link"),
        pytest.param({"deviceNodes": [{"path": "/dev/null", "type": "b"}]}, "of type `c`", id="another type"),
        pytest.param({"deviceNodes": [{"path": "/etc/x", "hostPath": "/dev/null"}]}, "below /dev", id="outside of /dev"),
        pytest.param({"mounts": [{"hostPath": "/nope", "containerPath": "/x"}]}, "No such file", id="no such file"),
        pytest.param({"mounts": [{"hostPath": "/etc", "containerPath": "/x", "type": "tmpfs"}]}, "of type `tmpfs`", id="tmpfs"),
        pytest.param({"mounts": [{"hostPath": "/etc", "containerPath": "/x", "options": ["sync"]}]}, "`sync`", id="option"),
        pytest.param({"mounts": [{"hostPath": "/etc", "containerPath": "/../x"}]}, "not a place", id="a way out"),
        pytest.param({"mounts": [{"hostPath": "/etc", "containerPath": "/proc/x"}]}, "not a place", id="into /proc"),
        pytest.param(
            {"netDevices": [{"hostInterfaceName": "e", "name": "n"}]}, "network interface `e`", id="a network interface"
        ),
        pytest.param(
            {"hooks": [{"hookName": "prestart", "path": "/bin/x", "args": ["x"]}]}, "hook `/bin/x` .*unknown", id="hook"
        ),
        pytest.param(
            {"hooks": [{"hookName": "createContainer", "path": "/usr/bin/nvidia-ctk", "args": ["nvidia-ctk", "run"]}]},
            "unknown",
            id="another word of a known program",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_with_device_and_file(directories: list[Path], device: dict[str, Any], words: str) -> None:
    write(directories[0], "a.json", {"0": device})
    with pytest.raises(GpuError, match=words) as raised:
        edits(directories, "v.com/c=0")
    assert "`v.com/c=0` from" in raised.value.message
    assert "a.json" in raised.value.message


def hook(*words: str, program: str = "/usr/bin/nvidia-cdi-hook") -> dict[str, Any]:
    return {"hookName": "createContainer", "path": program, "args": [os.path.basename(program), *words]}


def test_the_known_hooks_become_edits(directories: list[Path]) -> None:
    hooks = [
        hook("create-symlinks", "--link", "libcuda.so.580::/usr/lib/libcuda.so.1", "--link=../card1::/dev/dri/by-path/x"),
        hook("hook", "update-ldcache", "--folder", "/usr/lib", program="/usr/bin/nvidia-ctk"),
        hook("enable-cuda-compat", "--host-driver-version=580.95.05"),
        hook("disable-device-node-modification"),
        hook("update-application-profile", "--minor", "0"),
        hook("chmod", "--mode", "755", "--path", "/dev/dri"),
    ]
    write(directories[0], "a.json", {"0": {"hooks": hooks}})
    found = edits(directories, "v.com/c=0")
    assert (Symlink("/usr/lib/libcuda.so.1", "libcuda.so.580"), Symlink("/dev/dri/by-path/x", "../card1")) == found.links
    assert ("/usr/lib",) == found.library_dirs


def test_a_library_path_is_joined_to_the_images_own(directories: list[Path]) -> None:
    write(directories[0], "a.json", {"0": {"env": ["LD_LIBRARY_PATH=/a:/b", "A=1"]}})
    found = edits(directories, "v.com/c=0")
    assert ((("A", "1"),), ("/a", "/b")) == (found.env, found.library_dirs)


def test_files_are_read_only_only_where_the_specification_says_so_and_nodes_may_be_mounted(directories: list[Path]) -> None:
    mounts = [
        {"hostPath": "/etc", "containerPath": "/a", "options": ["ro", "nosuid", "rbind"]},
        {"hostPath": "/etc", "containerPath": "/b"},
        {"hostPath": "/dev/null", "containerPath": "/dev/dri/by-path/render"},
    ]
    write(directories[0], "a.json", {"0": {"mounts": mounts}})
    found = edits(directories, "v.com/c=0")
    assert (HostFile(Path("/etc"), "/a"), HostFile(Path("/etc"), "/b", readonly=False)) == found.mounts
    assert (DeviceNode(Path("/dev/null"), "/dev/dri/by-path/render"),) == found.nodes


def test_groups_are_collected_and_root_is_none(directories: list[Path]) -> None:
    write(directories[0], "a.json", {"0": {"additionalGids": [992, 0, 44]}}, {"additionalGids": [44]})
    assert (44, 992) == edits(directories, "v.com/c=0").groups


def _pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("name", "make", "words"),
    [
        pytest.param("a.json", _pipe, "it is not a regular file", id="a pipe that nobody writes to"),
        pytest.param("a.json", lambda path: path.symlink_to("/dev/zero"), "it is not a regular file", id="a link to zeros"),
        pytest.param("a.json", lambda path: path.write_text("[" * 100_000), "it is nested too deeply", id="JSON without end"),
        pytest.param("a.yaml", lambda path: path.write_text("[" * 5_000), "it is nested too deeply", id="YAML without end"),
        pytest.param("a.yaml", lambda path: path.write_text("kind: 2020-13-45"), "it is not YAML", id="a day that there is not"),
        pytest.param("a.yaml", lambda path: path.write_text("kind: " + "1" * 5000), "it is not YAML", id="a number too long"),
    ],
)
def test_a_hostile_file_is_left_out(directories: list[Path], name: str, make: Callable[[Path], None], words: str) -> None:
    make(directories[0] / name)
    assert words in read_catalogue(directories).mistakes[directories[0] / name]
