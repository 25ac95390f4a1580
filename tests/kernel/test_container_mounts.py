"""What is mounted where in a container, whose files are whose, and attacks by links; run as root with id-mapped layers."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from runtime.container import lifecycle
from runtime.container.run_once import run_to_completion
from runtime.errors import ContainerError
from runtime.kernel import libc, mounts, processes
from runtime.rootfs.mount_spec import BindMount, HostFile, ProcCover, Symlink, TmpfsFile, TmpfsMount
from runtime.rootfs.overlay import STRATEGIES, OverlayStrategy
from tests.kernel.overlay_strategies import skip_unless_here
from tests.kernel.userland import base_layer, inside, make_spec, python_spec, run

pytestmark = pytest.mark.requires("root", "overlayfs", "idmapped-mounts", "userns", "proc", "netns")


def test_a_read_only_mount_is_locked_even_for_full_root_of_the_container(tmp_path: Path) -> None:
    """Entered from outside with every capability, the data mount can neither be made writable nor taken away."""
    data = tmp_path / "data"
    data.mkdir()
    spec = make_spec(tmp_path, "sleep", "60", binds=(BindMount(data, "/data/set"),))
    container = lifecycle.create(spec, exit_record=None)
    try:
        tried = _as_container_root(container.pid)
    finally:
        lifecycle.kill(container)
        lifecycle.wait(container)
        container.close()
        lifecycle.remove_overlay(spec.overlay_dir)
    assert {"clear": "PermissionError", "umount": "KernelError", "write": "OSError"} == tried


def _as_container_root(pid: int) -> dict[str, str]:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        # Both are opened before the user namespace changes: from inside, the other would not be ours to open.
        tried = {kind: os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY) for kind in ("user", "mnt")}
        libc.setns(tried.pop("user"), processes.NEWUSER)
        libc.setns(tried.pop("mnt"), processes.NEWNS)
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        found = {}
        for name, attempt in (
            ("clear", lambda: mounts.mount_setattr(libc.AT_FDCWD, "/data/set", 0, clear=1)),
            ("umount", lambda: libc.umount("/data/set", 2)),
            ("write", lambda: os.open("/data/set/x", os.O_CREAT | os.O_WRONLY)),
        ):
            try:
                attempt()
            except OSError as error:
                found[name] = (
                    type(error).__name__.removeprefix("Kernel") if isinstance(error, PermissionError) else type(error).__name__
                )
        os.write(writer, json.dumps(found).encode())
        os._exit(0)
    os.waitpid(child, 0)
    answer: dict[str, str] = json.loads(os.read(reader, 4096))
    os.close(reader)
    os.close(writer)
    return answer


@pytest.mark.parametrize(
    "owner", [0, 1000, 65533, 100_000], ids=["root", "a user", "near the end of the range", "above the range"]
)
def test_files_of_container_root_belong_to_the_owner_of_the_mount(tmp_path: Path, owner: int) -> None:
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    os.chown(outputs, owner, owner)
    seen = inside(
        tmp_path,
        "open('/outputs/x', 'w').close(); answer = [os.stat('/outputs').st_uid, os.stat('/outputs/x').st_uid]",
        binds=(BindMount(outputs, "/outputs", readonly=False),),
    )
    assert [0, 0] == seen
    assert (owner, owner) == (os.stat(outputs / "x").st_uid, os.stat(outputs / "x").st_gid)


def test_files_of_another_user_are_given_back_at_the_end(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    os.chown(outputs, 1000, 1000)
    outputs.chmod(0o777)
    inside(
        tmp_path,
        "os.makedirs('/outputs/a/b'); os.symlink('/etc/passwd', '/outputs/a/link'); answer = None",
        binds=(BindMount(outputs, "/outputs", readonly=False),),
        uid=33,
        gid=33,
    )
    assert 33 == (outputs / "a").stat().st_uid
    before = os.stat("/etc/passwd").st_uid
    lifecycle.reown_to_caller(outputs)
    assert {1000} == {path.lstat().st_uid for path in outputs.rglob("*")}
    assert before == os.stat("/etc/passwd").st_uid


def test_a_tmpfs_has_its_size_and_mode(tmp_path: Path) -> None:
    code = "s, t = os.statvfs('/scratch'), os.stat('/scratch'); answer = [s.f_blocks * s.f_frsize, oct(t.st_mode), t.st_uid]"
    assert [1 << 20, "0o41777", 0] == inside(tmp_path, code, tmpfs=(TmpfsMount("/scratch", size_bytes=1 << 20, mode=0o1777),))


def test_a_covered_directory_of_proc_shows_what_it_is_given_and_what_is_kept(tmp_path: Path) -> None:
    cover = ProcCover("/proc/sys", files=(("params", "ModifyDeviceFiles: 0\n"),), kept=("kernel/random", "net/nothing"))
    code = (
        "answer = [sorted(os.listdir('/proc/sys')), open('/proc/sys/params').read(), sorted(os.listdir('/proc/sys/kernel')),"
        " len(open('/proc/sys/kernel/random/uuid').read()), os.access('/proc/sys/params', os.W_OK)]"
    )
    expected = [["kernel", "params"], "ModifyDeviceFiles: 0\n", ["random"], 37, False]
    assert expected == inside(tmp_path, code, proc_covers=(cover,))


def test_a_cover_of_what_is_not_in_proc_is_no_failure(tmp_path: Path) -> None:
    assert inside(tmp_path, "answer = not os.path.exists('/proc/nope')", proc_covers=(ProcCover("/proc/nope"),))


def test_files_of_a_driver_lie_read_only_at_their_places_with_their_own_owner(tmp_path: Path) -> None:
    library = tmp_path / "libcuda.so.580"
    library.write_text("x")
    os.chown(library, 0, 0)
    files = (HostFile(library, "/usr/local/nvidia/lib64/libcuda.so.1"), HostFile(library, "/usr/local/nvidia/lib64/libcuda.so"))
    code = (
        "place = '/usr/local/nvidia/lib64/'\n"
        "answer = [sorted(os.listdir(place)), open(place + 'libcuda.so').read(), os.statvfs(place + 'libcuda.so').f_flag & 1,"
        " os.stat(place + 'libcuda.so').st_uid]"
    )
    assert [["libcuda.so", "libcuda.so.1"], "x", 1, 65534] == inside(tmp_path, code, host_files=files)


def test_links_are_made_inside_the_root_whatever_lies_there(tmp_path: Path) -> None:
    layer = base_layer(tmp_path / "layer")
    (layer / "opt").symlink_to("/../../tmp")
    (layer / "usr/local/old").write_text("in the way")
    links = (Symlink("/opt/a", "b"), Symlink("/usr/local/old", "new"), Symlink("/dev/dri/by-path/x", "../card0"))
    code = "answer = [os.readlink(path) for path in ('/tmp/a', '/usr/local/old', '/dev/dri/by-path/x')]"
    assert ["b", "new", "../card0"] == inside(tmp_path, code, links=links)


def test_the_loader_finds_a_drivers_library_without_any_variable(tmp_path: Path) -> None:
    """No ldconfig is run, and the image's own cache keeps what it had."""
    place = "/usr/local/nvidia/lib64"
    layer = base_layer(tmp_path / "layer")
    shutil.copy("/etc/ld.so.cache", layer / "etc/ld.so.cache")
    library = tmp_path / "libdevice.so.7"
    subprocess.run(["cc", "-shared", "-o", library, "-Wl,-soname,libdevice.so.7", "-x", "c", os.devnull], check=True)
    code = "import ctypes; ctypes.CDLL('libdevice.so.7'); answer = open('/etc/ld.so.conf.d/00-launch-devices.conf').read()"
    files = (HostFile(library, f"{place}/libdevice.so.7"),)
    assert f"{place}\n" == inside(tmp_path, code, host_files=files, loader_dirs=(place,), env={"PATH": "/usr/bin", "HOME": "/"})


def test_a_link_in_the_image_cannot_lead_a_mount_out_of_it(tmp_path: Path) -> None:
    """`/data -> /../../…/outside` is resolved as if the image's root were the machine's."""
    outside, inside_target = tmp_path / "outside", tmp_path / "source"
    outside.mkdir()
    inside_target.mkdir()
    (inside_target / "mark").touch()
    layer = base_layer(tmp_path / "layer")
    (layer / "data").symlink_to("../../../../../.." + str(outside))
    (layer / str(outside).lstrip("/")).mkdir(parents=True)
    seen = inside(
        tmp_path, f"answer = [os.listdir('/data'), os.listdir({str(outside)!r})]", binds=(BindMount(inside_target, "/data"),)
    )
    assert [["mark"], ["mark"]] == seen
    assert [] == os.listdir(outside)


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
def test_a_link_in_the_place_of_a_system_directory_is_refused(tmp_path: Path, name: str) -> None:
    """`/proc -> /elsewhere` would mount it there (CVE-2019-19921), and a program could then put another /proc in its place."""
    layer = base_layer(tmp_path / "layer")
    (layer / name).rmdir()
    (layer / name).symlink_to("/elsewhere")
    (layer / "elsewhere").mkdir()
    with pytest.raises(ContainerError, match=f"`/{name}` of the image is a link"):
        inside(tmp_path, "answer = 0")


def test_a_read_only_root_is_read_only(tmp_path: Path) -> None:
    code = """
try:
    open("/x", "w")
    answer = "written"
except OSError as error:
    answer = error.strerror
"""
    assert "Read-only file system" == inside(tmp_path, code, readonly_root=True)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=[strategy.name.lower() for strategy in STRATEGIES])
def test_every_strategy_stacks_the_layers_in_order_and_keeps_the_disk_zero_based(
    tmp_path: Path, strategy: OverlayStrategy
) -> None:
    skip_unless_here(strategy)
    layers = [base_layer(tmp_path / "layers" / "0")]
    for number in range(1, 60):
        layer = tmp_path / "layers" / str(number)
        (layer / "etc").mkdir(parents=True)
        (layer / "etc" / "top").write_text(str(number))
        (layer / "etc" / f"of-{number}").touch()
        os.chown(layer / "etc" / f"of-{number}", number, number)
        layers.append(layer)
    (layers[1] / "gone").touch()
    os.mknod(layers[2] / "gone", stat.S_IFCHR, 0)
    spec = python_spec(
        tmp_path,
        "import os; print(open('/etc/top').read(), os.stat('/etc/of-7').st_uid, os.path.exists('/gone'));"
        "os.chown('/etc/of-8', 5, 6); open('/new', 'w').close()",
        layers=tuple(layers),
        build=True,
    )
    _ended, output = run_to_completion(spec, strategies=(strategy,))
    assert "59 7 False\n" == output.decode()
    upper = spec.overlay_dir / "u"
    assert (0, 0) == (os.stat(upper / "new").st_uid, os.stat(upper / "new").st_gid)
    assert (5, 6) == (os.stat(upper / "etc/of-8").st_uid, os.stat(upper / "etc/of-8").st_gid)
    lifecycle.remove_overlay(spec.overlay_dir)


def test_a_build_step_leaves_none_of_our_mount_points(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, "touch", "/etc/mine", build=True, tmpfs_files=(TmpfsFile("/run/launch/env", b"x"),))
    run_to_completion(spec)
    upper = spec.overlay_dir / "u"
    assert {"etc", "etc/mine", "run"} == {str(path.relative_to(upper)) for path in upper.rglob("*")}
    lifecycle.remove_overlay(spec.overlay_dir)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        pytest.param("/proc/x", "`/proc` is the container's own", id="below proc"),
        pytest.param("/a/../b", "not a place for a mount", id="dots"),
        pytest.param("relative", "not a place for a mount", id="relative"),
        pytest.param("/", "not a place for a mount", id="the root itself"),
    ],
)
def test_an_impossible_target_is_named(tmp_path: Path, target: str, words: str) -> None:
    with pytest.raises(ContainerError, match=words):
        run(make_spec(tmp_path, "true", binds=(BindMount(tmp_path, target),)))


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(ContainerError, match=r"cannot mount `/nope` at `/data`: No such file or directory"):
        run(make_spec(tmp_path, "true", binds=(BindMount(Path("/nope"), "/data"),)))


def test_a_writable_mount_that_cannot_show_owners_is_refused_and_a_read_only_one_warned_about(tmp_path: Path) -> None:
    """proc can't be id-mapped, as NFS and Lustre can't."""
    with pytest.raises(ContainerError, match="can't be mounted writable at `/data`"):
        run(make_spec(tmp_path, "true", binds=(BindMount(Path("/proc/sys"), "/data", readonly=False),)))
    spec = make_spec(tmp_path, "true", binds=(BindMount(Path("/proc/sys"), "/data"),))
    container = lifecycle.create(spec, exit_record=None)
    assert "with its own owners" in container.warnings[0]
    lifecycle.kill(container)
    lifecycle.wait(container)
    container.close()


def test_a_single_file_can_be_mounted_and_appended_to(tmp_path: Path) -> None:
    """As the metrics file is, in a directory where other files are read-only."""
    metrics, params = tmp_path / "metrics.jsonl", tmp_path / "params.json"
    metrics.touch(mode=0o600)
    params.write_text("{}")
    os.chown(metrics, 1000, 1000)
    code = """
answer = [open("/run/launch/params.json").read(), os.access("/run/launch/params.json", os.W_OK)]
open("/run/launch/metrics.jsonl", "a").write("{}\\n")
"""
    binds = (
        BindMount(metrics, "/run/launch/metrics.jsonl", readonly=False, executable=False),
        BindMount(params, "/run/launch/params.json", executable=False),
    )
    assert ["{}", False] == inside(tmp_path, code, binds=binds)
    assert "{}\n" == metrics.read_text()
