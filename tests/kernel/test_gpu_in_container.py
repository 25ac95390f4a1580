"""Containers with GPUs of a made machine, asked from inside which of them CUDA gets: root's, an ordinary user's, podman's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import uuid as uuids
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gpu_box import GpuBox, make_box

from runtime.container.device_edits import apply_edits
from runtime.container.lifecycle import remove_overlay
from runtime.gpu.cdi.generate import nvidia_specification
from runtime.gpu.cdi.serialize import as_json
from runtime.gpu.gpu import Gpu
from runtime.gpu.inject import injection
from runtime.gpu.inventory import read_gpus
from tests.kernel.test_container_rootless import as_user, home
from tests.kernel.userland import PYTHON, base_layer, python_spec, run, userland

pytestmark = pytest.mark.requires("cc", "root", "overlayfs", "userns", "proc", "netns")

__all__ = ["home"]

LOOK = """
import ctypes, glob, json, os
def cuda():
    library = ctypes.CDLL("libcuda.so.1")
    error, count, found = library.cuInit(0), ctypes.c_int(), []
    if error == 0:
        library.cuDeviceGetCount(ctypes.byref(count))
    for device in range(count.value):
        raw = (ctypes.c_ubyte * 16)()
        library.cuDeviceGetUuid_v2(raw, device)
        found.append(bytes(raw).hex())
    return error, found
def makes_a_node():
    try:
        os.mknod("/dev/shm/nvidia7", 0o020666, os.makedev(195, 7))
    except PermissionError:
        return False
    return True
def answers():
    error, found = cuda()
    env = {name: os.environ.get(name) for name in ("NVIDIA_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH")}
    nodes = sorted(name for name in glob.glob("/dev/nvidia**", recursive=True) if not os.path.isdir(name))
    return {"error": error, "uuids": found, "env": env, "nodes": nodes, "mknod": makes_a_node()}
"""


def hexadecimal(uuid: str) -> str:
    return uuids.UUID(uuid.partition("-")[2]).hex


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GpuBox]:
    directory = Path(tempfile.mkdtemp(prefix="launch-box-"))
    directory.chmod(0o755)  # as /dev is: a container's own user looks there
    made = make_box(directory, gpus=3, mig={2: ["1g.10gb", "3g.40gb"]})
    made.use(monkeypatch)
    yield made
    made.remove()
    shutil.rmtree(directory)


def inside_with(tmp_path: Path, box: GpuBox, *leased: str, look: str = "", **changes: Any) -> Any:
    """What a container with the GPUs *leased* answers."""
    layer = tmp_path / "layer"
    if not layer.exists():
        shutil.copy("/etc/ld.so.cache", base_layer(layer) / "etc/ld.so.cache")
    code = f"{LOOK}\n{look or 'print(json.dumps(answers()))'}"
    spec = apply_edits(python_spec(tmp_path, code, **changes), injection(read_gpus(), leased, roots=box.roots), roots=box.roots)
    try:
        ended, output = run(spec, timeout_s=60)
    finally:
        remove_overlay(spec.overlay_dir)
    assert 0 == ended.code, output

    return json.loads(output.splitlines()[-1])


def test_cuda_gets_the_leased_gpu_and_no_other_node_is_there(tmp_path: Path, box: GpuBox) -> None:
    seen = inside_with(tmp_path, box, box.uuids[1])
    minor = box.state["gpus"][1]["minor"]
    assert (0, [hexadecimal(box.uuids[1])]) == (seen["error"], seen["uuids"])
    assert ["/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", f"/dev/nvidia{minor}", "/dev/nvidiactl"] == seen["nodes"]
    assert ("void", None) == (seen["env"]["NVIDIA_VISIBLE_DEVICES"], seen["env"]["CUDA_VISIBLE_DEVICES"])
    assert not seen["mknod"]


def test_two_leased_gpus_are_two_devices(tmp_path: Path, box: GpuBox) -> None:
    seen = inside_with(tmp_path, box, *box.uuids[:2])
    assert {hexadecimal(one) for one in box.uuids[:2]} == set(seen["uuids"])


def test_a_leased_slice_is_one_device(tmp_path: Path, box: GpuBox) -> None:
    slice_uuid = box.mig_uuids(2)[1]
    seen = inside_with(tmp_path, box, slice_uuid)
    assert (0, [hexadecimal(slice_uuid)]) == (seen["error"], seen["uuids"])


def test_the_driver_is_found_without_the_library_path(tmp_path: Path, box: GpuBox) -> None:
    """sudo, su and cron clear the environment: the loader's cache is what is left."""
    look = "os.execve(sys.executable, [sys.executable, '-I', '-c', source], {'PATH': '/usr/bin'})"
    again = f"{LOOK}\nprint(json.dumps(answers()))"
    seen = inside_with(tmp_path, box, box.uuids[0], look=f"import sys\nsource = {again!r}\n{look}")
    assert (0, [hexadecimal(box.uuids[0])], None) == (seen["error"], seen["uuids"], seen["env"]["LD_LIBRARY_PATH"])


def test_the_driver_is_found_in_an_image_without_cache_and_read_only(tmp_path: Path, box: GpuBox) -> None:
    base_layer(tmp_path / "layer")
    seen = inside_with(tmp_path, box, box.uuids[0], readonly_root=True, env={"PATH": "/usr/bin", "HOME": "/"})
    assert [hexadecimal(box.uuids[0])] == seen["uuids"]


def test_an_images_wish_for_all_gpus_is_not_followed(tmp_path: Path, box: GpuBox) -> None:
    env = {"PATH": "/usr/bin", "HOME": "/", "NVIDIA_VISIBLE_DEVICES": "all"}
    assert "void" == inside_with(tmp_path, box, box.uuids[0], env=env)["env"]["NVIDIA_VISIBLE_DEVICES"]


def test_a_node_of_a_group_opens_for_the_program_and_its_group_is_the_hosts(tmp_path: Path, box: GpuBox) -> None:
    node = box.roots.dev / f"dev/nvidia{box.state['gpus'][0]['minor']}"
    os.chown(node, 0, 992)
    node.chmod(0o660)
    look = f"os.close(os.open('/dev/{node.name}', os.O_RDWR)); print(json.dumps(answers()))"
    assert [hexadecimal(box.uuids[0])] == inside_with(tmp_path, box, box.uuids[0], look=look)["uuids"]
    other = inside_with(tmp_path, box, box.uuids[1], look="print(json.dumps([os.getgroups()]))")
    assert [[]] == other


@pytest.mark.requires("ordinary-user")
@pytest.mark.parametrize("kind", ["single", "subids"])
def test_an_ordinary_user_gets_the_same(home: Path, kind: str) -> None:
    directory = Path(tempfile.mkdtemp(prefix="launch-box-"))
    directory.chmod(0o755)
    box = make_box(directory, gpus=2)
    try:
        gpu = Gpu(0, box.uuids[0], minor=box.state["gpus"][0]["minor"])
        code = f"""
from runtime.light_dataclasses import replace
from pathlib import PosixPath
from runtime.container.device_edits import apply_edits
from runtime.container.lifecycle import remove_overlay
from runtime.gpu.gpu import Gpu
from runtime.gpu.inject import injection
from runtime.gpu.roots import Roots
roots = {box.roots!r}
spec = python_spec(home, {LOOK + "print(json.dumps(answers()))"!r})
spec = apply_edits(spec, injection([{gpu!r}], [{gpu.uuid!r}], roots=roots), roots=roots)
ended, output = run(spec, timeout_s=60, kinds=(IdMapKind({kind!r}),))
assert ended.code == 0, output
answer = json.loads(output.splitlines()[-1])
"""
        seen = as_user(home, code)
        assert (0, [hexadecimal(box.uuids[0])], False) == (seen["error"], seen["uuids"], seen["mknod"])
        assert f"/dev/nvidia{gpu.minor}" in seen["nodes"]
        assert 4 == len(seen["nodes"])
    finally:
        box.remove()
        shutil.rmtree(directory)


@pytest.mark.requires("podman", "runc", "unshare")
def test_podman_gives_a_container_the_same_gpu_by_the_specification_that_we_write(tmp_path: Path, box: GpuBox) -> None:
    """Somebody else's runtime and the reference's own parser; without NVIDIA's toolkit, so without hooks."""
    spec, _ = nvidia_specification(read_gpus(), hook=None)
    (tmp_path / "etc/cdi").mkdir(parents=True)
    (tmp_path / "etc/cdi/nvidia.json").write_text(as_json(spec))
    rootfs = base_layer(tmp_path / "rootfs")
    said = podman(tmp_path, rootfs, "nvidia.com/gpu=1", f"{LOOK}\nprint(json.dumps(answers()))")
    assert said.returncode == 0, said.stderr

    seen = json.loads(said.stdout.splitlines()[-1])
    assert (0, [hexadecimal(box.uuids[1])]) == (seen["error"], seen["uuids"])
    assert [f"/dev/nvidia{box.state['gpus'][1]['minor']}"] == [name for name in seen["nodes"] if name[-1].isdigit()]


def podman(directory: Path, rootfs: Path, device: str, code: str) -> subprocess.CompletedProcess[str]:
    storage = [f"--root={directory}/podman", f"--runroot={directory}/run", "--storage-driver=vfs", "--events-backend=none"]

    # The host's, under an overlay: places for the driver's libraries are made in it.
    binds = [word for bind in userland() for word in ("-v", f"{bind.source}:{bind.target}:O")]
    words = ["podman", *storage, "--cgroup-manager=cgroupfs", "--runtime=runc", "run", "--rm", "--network=none"]
    words += [*binds, f"--device={device}", "--rootfs", str(rootfs), PYTHON, "-I", "-c", code]
    env = {**os.environ, "TMPDIR": str(directory), "PODMAN_IGNORE_CGROUPSV1_WARNING": "1"}
    # It looks into /etc/cdi and /var/run/cdi only: in a mount namespace of its own, there is one.
    show = f'mount -t overlay overlay -o lowerdir={directory}/etc:/etc /etc && exec "$@"'
    words = ["unshare", "-m", "sh", "-c", show, "sh", *words]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=120, env=env)
