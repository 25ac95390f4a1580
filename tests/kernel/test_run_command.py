"""Build steps in real containers: what they change is the layer, the same each time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from shell_layer import shell_layer

from runtime.build.builder import build
from runtime.build.observer import NullObserver
from runtime.build.plan import BuildPlan, ImageConfig, ImportImage, RunCommand, Step
from runtime.build.run.apply_run_command import apply_run_command
from runtime.errors import BuildError
from runtime.layer.tree import LAYER_MTIME_S, Tree
from runtime.oci.digest import Digest, digest_bytes
from runtime.store.records import Layer
from runtime.store.save import export_oci_layout
from runtime.store.store import Store

pytestmark = pytest.mark.requires("root", "overlayfs", "idmapped-mounts", "proc")


@pytest.fixture
def base(store: Store) -> list[Layer]:
    return [shell_layer(store)]


class Heard(NullObserver):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def output(self, step: Step, line: str) -> None:
        self.lines.append(line)


def shell(script: str, **more: object) -> RunCommand:
    return RunCommand(("sh", "-ec", script), label="script", **more)  # type: ignore[arg-type]


def run(store: Store, base: list[Layer], script: str, **more: object) -> Layer:
    return apply_run_command(shell(script, **more), store=store, below=base, observer=NullObserver())


def entries(tree: Tree) -> dict[str, tuple[str, int, int, int, bool]]:
    return {entry.path: (entry.type, entry.mode, entry.uid, entry.gid, entry.opaque) for entry in tree}


def test_what_a_command_changed_is_its_layer(store: Store, base: list[Layer]) -> None:
    layer = run(
        store,
        base,
        "umask 022; rm /etc/gone; rm -r /etc/old; mkdir /etc/old; echo x > /etc/old/b; mkdir /new; echo y > /new/f;"
        "ln /new/f /new/g; ln -s f /new/s; chown 5:6 /new/f; chmod 4755 /new/f",
    )

    assert {
        "etc": ("dir", 0o755, 0, 0, False),
        "etc/gone": ("whiteout", 0, 0, 0, False),
        "etc/old": ("dir", 0o755, 0, 0, True),
        "etc/old/b": ("file", 0o644, 0, 0, False),
        "new": ("dir", 0o755, 0, 0, False),
        "new/f": ("file", 0o4755, 5, 6, False),
        "new/g": ("hardlink", 0o4755, 5, 6, False),
        "new/s": ("symlink", 0o777, 0, 0, False),
    } == entries(store.tree_of(layer))
    on_disk = (store.layer_dir(layer) / "new" / "f").lstat()
    assert (5, 6, 0o4755, LAYER_MTIME_S) == (on_disk.st_uid, on_disk.st_gid, on_disk.st_mode & 0o7777, int(on_disk.st_mtime))
    assert b"y" == os.getxattr(store.layer_dir(layer) / "etc" / "old", "trusted.overlay.opaque")


def test_a_command_sees_what_the_one_before_it_did(store: Store, base: list[Layer]) -> None:
    first = run(store, base, "rm /etc/gone; rm -r /etc/old; mkdir /etc/old; echo b > /etc/old/b")
    second = run(store, [*base, first], "test ! -e /etc/gone; test ! -e /etc/old/a; cat /etc/old/b > /seen")
    assert "b\n" == (store.layer_dir(second) / "seen").read_text()


def test_two_runs_make_one_layer(store: Store, base: list[Layer], tmp_path: Path) -> None:
    script = "mkdir -p /a/b; echo 1 > /a/b/c; rm /etc/gone; touch /etc/old/a"
    first = run(store, base, script)
    again = apply_run_command(shell(script), store=store, below=base, observer=NullObserver())
    assert first.diff_id == again.diff_id
    assert not any(name in entries(store.tree_of(first)) for name in ("proc", "sys", "dev", "run", "tmp")), "our mount points"


def test_dropped_paths_are_in_no_layer(store: Store, base: list[Layer]) -> None:
    layer = run(store, base, "echo now > /var/log/build.log; echo x > /kept", drop=("var/log/**",))
    assert {"kept"} == set(entries(store.tree_of(layer))), "a directory that is as it was is no change"


def test_the_environment_is_the_builds_and_not_the_callers(
    store: Store, base: list[Layer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_CALLER", "x")
    heard = Heard()
    apply_run_command(shell("env", env=(("MINE", "1"),)), store=store, below=base, observer=heard)
    said = dict(line.split("=", 1) for line in heard.lines if "=" in line)
    assert ("1", "0", "/root") == (said["MINE"], said["PYTHONHASHSEED"], said["HOME"])
    assert "SECRET_OF_THE_CALLER" not in said


def test_a_failing_command_says_its_last_words_and_leaves_nothing(store: Store, base: list[Layer]) -> None:
    layers = store.layers()
    with pytest.raises(BuildError, match=r"(?s)`script` exited with 3.*on the way out"):
        run(store, base, "echo on the way out >&2; touch /half; exit 3")
    assert layers == store.layers()
    assert [] == [name for name in os.listdir(store.root / "tmp") if not name.startswith(".")]


def test_a_command_that_is_not_there_is_named(store: Store, base: list[Layer]) -> None:
    with pytest.raises(BuildError, match="exited with 127"):
        apply_run_command(RunCommand(("no-such-program",)), store=store, below=base, observer=NullObserver())


def test_an_image_with_a_command_goes_out_and_comes_back(store: Store, base: list[Layer], tmp_path: Path) -> None:
    """Whiteouts and opaque directories survive OCI's form: the command after the import sees the same files."""
    changed = run(store, base, "rm /etc/gone; rm -r /etc/old; mkdir /etc/old; echo b > /etc/old/b")
    layers = [*base, changed]
    from runtime.build.image_assembly import assemble

    plan = BuildPlan((shell("a"), shell("b")), ImageConfig())
    image = assemble(plan, list(zip(plan.steps, layers, strict=True)), store, key=digest_bytes(b"plan"))
    export_oci_layout(image, store, tmp_path / "out")

    other = Store(tmp_path / "other")
    judge = shell("test ! -e /etc/gone; test ! -e /etc/old/a; cat /etc/old/b > /seen")
    steps = (ImportImage(f"oci:{tmp_path}/out", Digest(image.digest)), judge)
    result = build(BuildPlan(steps, ImageConfig()), other)

    assert [layer.diff_id for layer in layers] == [layer.diff_id for layer in result.image.layers[:2]]
    assert "b\n" == (other.layer_dir(result.image.layers[2]) / "seen").read_text()


@pytest.mark.parametrize(
    "said",
    [
        "ssl.SSLError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate in chain",
        "curl: (60) SSL certificate problem: unable to get local issuer certificate",
        "Certificate verification failed: The certificate is NOT trusted.",
        "tls: failed to verify certificate: x509: certificate signed by unknown authority",
    ],
)
def test_a_certificate_that_only_this_machine_trusts_is_explained(store: Store, base: list[Layer], said: str) -> None:
    with pytest.raises(BuildError) as failure:
        run(store, base, f"echo {said!r} >&2; exit 1")
    assert "--mount=type=bind,source=ca.pem" in (failure.value.hint or "")
