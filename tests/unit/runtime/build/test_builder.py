"""Plans that need no container: built once, found again, explained."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runtime.build.builder import build
from runtime.build.cache_key import chain_of, plan_key, step_key
from runtime.build.observer import NullObserver
from runtime.build.plan import BuildPlan, CopyIn, ImageConfig, InstallWheel, MakeVenv, RunCommand, Step
from runtime.build.step_states import explain
from runtime.errors import BuildError
from runtime.light_dataclasses import replace
from runtime.oci.digest import digest_bytes
from runtime.store.records import Layer
from runtime.store.store import Store


def code(tmp_path: Path, **files: str) -> CopyIn:
    source = tmp_path / "code"
    source.mkdir(exist_ok=True)
    listed = []
    for name, text in sorted(files.items()):
        (source / name).write_text(text)
        listed.append((name, 0o644, hashlib.sha256(text.encode()).hexdigest()))
    return CopyIn(str(source), tuple(listed), "/workspace", digest_bytes(repr(listed).encode()))


def plan_of(*steps: Step) -> BuildPlan:
    return BuildPlan(steps, ImageConfig(env={"A": "1"}, command=("python3", "train.py"), labels={"x": "y"}))


class Told(NullObserver):
    def __init__(self) -> None:
        self.events: list[str] = []

    def step_cached(self, step: Step, layers: tuple[Layer, ...]) -> None:
        self.events.append("cached")

    def step_started(self, step: Step) -> None:
        self.events.append("started")

    def step_built(self, step: Step, layers: tuple[Layer, ...], seconds: float) -> None:
        self.events.append("built")


def test_a_plan_becomes_an_image(store: Store, tmp_path: Path) -> None:
    observer = Told()
    result = build(plan_of(code(tmp_path, train="print(1)")), store, observer=observer)

    assert (["started", "built"], False) == (observer.events, result.cached)
    assert b"print(1)" == (store.layer_dir(result.image.layers[0]) / "workspace" / "train").read_bytes()
    config = result.image.config
    assert "1980-01-02T00:00:00Z" == config["created"]
    assert {"Env": ["A=1"], "WorkingDir": "/workspace", "Cmd": ["python3", "train.py"], "Labels": {"x": "y"}} == config["config"]
    assert [result.image.layers[0].diff_id] == config["rootfs"]["diff_ids"]


def test_the_same_plan_in_another_store_has_the_same_digest(store: Store, tmp_path: Path) -> None:
    plan = plan_of(code(tmp_path, train="1", model="2"))
    assert build(plan, store).image.digest == build(plan, Store(tmp_path / "other")).image.digest


def test_a_second_build_finds_the_image_and_tells_no_step(store: Store, tmp_path: Path) -> None:
    plan = plan_of(code(tmp_path, train="1"))
    first = build(plan, store)
    observer = Told()
    second = build(plan, store, observer=observer)
    assert (first.image.digest, True, []) == (second.image.digest, second.cached, observer.events)
    assert [step.layer for step in first.steps] == [step.layer for step in second.steps]


def test_a_changed_configuration_reuses_the_layers(store: Store, tmp_path: Path) -> None:
    plan = plan_of(code(tmp_path, train="1"))
    first = build(plan, store)
    observer = Told()
    second = build(replace(plan, config=ImageConfig(env={"A": "2"})), store, observer=observer)
    assert ["cached"] == observer.events
    assert first.image.digest != second.image.digest
    assert first.image.layers == second.image.layers


def test_explain_tells_what_a_build_would_do(store: Store, tmp_path: Path) -> None:
    snapshot = code(tmp_path, train="1")
    plan = plan_of(snapshot, RunCommand(("true",)), RunCommand(("false",)))
    before = explain(plan, store)
    assert [None, None, None] == [state.layer for state in before]
    assert [True, False, False] == [state.key is not None for state in before], "what lies on an unbuilt layer has no key yet"

    built = build(plan_of(snapshot), store)
    after = explain(plan, store)
    assert built.image.layers[0] == after[0].layer
    assert step_key(plan.steps[1], built.image.layers[0].diff_id) == after[1].key


def test_code_that_changes_while_it_is_copied_is_refused(store: Store, tmp_path: Path) -> None:
    step = code(tmp_path, train="1")
    (tmp_path / "code" / "train").write_text("2")
    with pytest.raises(BuildError, match=r"train` changed while the image was built"):
        build(plan_of(step), store)
    assert [] == store.layers()


def test_code_that_becomes_a_link_is_refused(store: Store, tmp_path: Path) -> None:
    step = code(tmp_path, train="1")
    (tmp_path / "code" / "train").unlink()
    (tmp_path / "code" / "train").symlink_to("/etc/passwd")
    with pytest.raises(BuildError, match="changed"):
        build(plan_of(step), store)


def test_links_and_modes_of_code_are_kept(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "code"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "run.sh").write_text("#!/bin/sh\n")
    (source / "link").symlink_to("sub/run.sh")
    files = (
        ("link", 0o120777, hashlib.sha256(b"sub/run.sh").hexdigest()),
        ("sub/run.sh", 0o755, hashlib.sha256(b"#!/bin/sh\n").hexdigest()),
    )
    image = build(plan_of(CopyIn(str(source), files, "/workspace", digest_bytes(b"s"))), store).image
    assert [("workspace", 0o755), ("workspace/link", 0o777), ("workspace/sub", 0o755), ("workspace/sub/run.sh", 0o755)] == [
        (entry.path, entry.mode) for entry in store.tree_of(image.layers[0])
    ]


@pytest.mark.parametrize(
    ("steps", "complaint"),
    [
        pytest.param((), "no steps", id="empty"),
        pytest.param((InstallWheel("a", "1", "0" * 64, "a.whl", "cpython", "3.13"),), "no virtual environment", id="no venv"),
        pytest.param(
            (MakeVenv("cpython", "/usr/bin/python3.13", "3.13.5"), InstallWheel("a", "1", "0" * 64, "a.whl", "cpython", "3.13")),
            "no source",
            id="no source",
        ),
    ],
)
def test_a_plan_that_cannot_be_built_is_named(store: Store, steps: tuple[Step, ...], complaint: str) -> None:
    with pytest.raises(BuildError, match=complaint):
        build(plan_of(*steps), store)


def test_a_key_depends_on_the_parent_only_where_the_layer_does(tmp_path: Path) -> None:
    one, two = digest_bytes(b"1"), digest_bytes(b"2")
    venv = MakeVenv("cpython", "/usr/bin/python3.13", "3.13.5")
    assert step_key(venv, one) == step_key(venv, two)
    assert step_key(RunCommand(("true",)), one) != step_key(RunCommand(("true",)), two)


def test_a_chain_id_is_the_image_specs() -> None:
    a, b = digest_bytes(b"a"), digest_bytes(b"b")
    assert a == chain_of([a])
    assert digest_bytes(f"{a} {b}".encode()) == chain_of([a, b])


def test_labels_and_pool_paths_are_in_no_key() -> None:
    assert step_key(RunCommand(("true",), label="a"), None) == step_key(RunCommand(("true",), label="b"), None)


def test_a_warm_build_is_fast_and_imports_little(store: Store, tmp_path: Path) -> None:
    """Measured in a fresh process, which knows nothing yet: the way of every unchanged launch."""
    plan = plan_of(code(tmp_path, train="1"))
    build(plan, store)
    program = (
        "import sys, time; from pathlib import Path; from runtime.build.builder import build;"
        "from runtime.store.store import Store;"
        "from runtime.build.plan import *;"
        f"plan = {plan!r}; start = time.perf_counter(); result = build(plan, Store(Path({str(store.root)!r})));"
        "assert result.cached; print(time.perf_counter() - start, *sys.modules)"
    )
    times = []
    for _ in range(5):
        words = subprocess.run(
            [sys.executable, "-S", "-c", program], capture_output=True, text=True, check=True, timeout=30
        ).stdout.split()
        times.append(float(words[0]))
    heavy = {"tarfile", "subprocess", "concurrent.futures", "shutil", "ctypes", "tempfile", "threading", "runtime.kernel.libc"}
    assert set() == heavy & set(words)
    assert 0.005 > min(times)


def test_plan_keys_cost_no_more_than_a_millisecond(tmp_path: Path) -> None:
    wheels = [
        InstallWheel(f"w{number}", "1", f"{number:064}", f"w{number}.whl", "cpython-3.13.5-abc", "3.13") for number in range(150)
    ]
    files = tuple((f"f{number}", 0o644, "0" * 64) for number in range(5000))
    plan = plan_of(*wheels, CopyIn("/x", files, "/workspace", digest_bytes(b"x")))
    times = []
    for _ in range(5):
        start = time.perf_counter()
        plan_key(plan)
        times.append(time.perf_counter() - start)
    assert 0.002 > min(times)
