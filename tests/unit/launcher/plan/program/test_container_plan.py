"""The contract that a program sees (interface: section 2), as data."""

from __future__ import annotations

import pytest
from sample_plan import DIGEST, PLAN, SPEC

from launcher.errors import ConfigError
from launcher.plan.machine_share import this_machine
from launcher.plan.program.container_plan import container_spec
from launcher.plan.program.dev_container import dev_plan
from runtime.build.plan import InstallWheel
from runtime.light_dataclasses import replace
from runtime.state_dir import StateDir
from runtime.store.records import Image, Layer
from runtime.store.store import Store

IMAGE = Image(
    digest=DIGEST,
    config={"config": {"Env": ["PATH=/opt/venv/bin:/usr/bin", "A=1=2", "HOME=/root", "OMP_NUM_THREADS=9"]}},
    layers=(Layer(DIGEST, DIGEST, 1, "l"),),
    names=(),
    created_at=0,
    manifest={},
)
ENVIRON = {"HF_TOKEN": "s3cret", "TERM": "xterm", "COLUMNS": "99", "HOME": "/home/host", "LANG": "de_DE", "PATH": "/host/bin"}


@pytest.fixture
def make(tmp_path):
    state = StateDir(tmp_path).ensure()
    run_dir = state.run("7f3a9c")
    for directory in (run_dir.outputs, run_dir.checkpoints):
        directory.mkdir(parents=True)

    def make(plan=PLAN, **options):
        return container_spec(plan, IMAGE, Store(state.store), run_dir, environ=ENVIRON, **options)

    make.run_dir = run_dir
    return make


def test_the_environment_is_the_contract(make):
    env = make().env
    expected = {
        "LAUNCH_RUN_ID": "7f3a9c",
        "LAUNCH_EXPERIMENT": "sample",
        "LAUNCH_PARAMS": "/run/launch/params.json",
        "LAUNCH_OUTPUTS": "/outputs",
        "LAUNCH_CHECKPOINTS": "/checkpoints",
        "LAUNCH_METRICS": "/run/launch/metrics.jsonl",
        "LAUNCH_SEED": "0",
        "LAUNCH_DETERMINISTIC": "0",
        "LAUNCH_ATTEMPT": "1",
        "LAUNCH_RESUME": "0",
        "LAUNCH_GRACE_S": "45",
        "LAUNCH_DATA": "/data",
        "LAUNCH_DATA_CIFAR_10": "/data/cifar-10",
        "PYTHONUNBUFFERED": "1",
        "PYTHONHASHSEED": "0",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "HOME": "/home/user",
        "TMPDIR": "/tmp",
        "TERM": "xterm",
        "COLUMNS": "99",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "PET_NPROC_PER_NODE": "1",
        "PET_NNODES": "1",
        "PET_NODE_RANK": "0",
        "PET_RDZV_BACKEND": "c10d",
        "PET_RDZV_ENDPOINT": "localhost:0",
        "PET_RDZV_ID": "7f3a9c",
        "NVIDIA_VISIBLE_DEVICES": "void",
        "PATH": "/opt/venv/bin:/usr/bin",
        "A": "1=2",
        "B": "2",
        "HF_TOKEN": "s3cret",
    }
    assert expected == env


def test_the_experiments_env_wins_over_ours_but_not_over_the_runs_own(make):
    env = make(replace(PLAN, spec=replace(SPEC, env={"OMP_NUM_THREADS": "7", "LAUNCH_RUN_ID": "fake"}))).env
    assert (env["OMP_NUM_THREADS"], env["LAUNCH_RUN_ID"]) == ("7", "7f3a9c")


def test_live_code_is_mounted_and_no_program_hears_of_that(make):
    spec = make(dev_plan(PLAN, live=True))
    assert [PLAN.code.root] == [str(bind.source) for bind in spec.binds if bind.target == "/workspace"]
    assert {"LAUNCH_DATA", "LAUNCH_DATA_CIFAR_10"} == {name for name in spec.env if name.startswith("LAUNCH_DATA")}


def test_sweep_and_trial_are_named_only_in_a_sweep(make):
    assert "LAUNCH_SWEEP_ID" not in make().env
    env = make(sweep_id="abc", trial=0).env
    assert (env["LAUNCH_SWEEP_ID"], env["LAUNCH_TRIAL"]) == ("abc", "0")


def test_resume_is_said_when_there_are_checkpoints(make):
    (make.run_dir.checkpoints / "epoch3.pt").touch()
    env = make(attempt=2).env
    assert (env["LAUNCH_ATTEMPT"], env["LAUNCH_RESUME"]) == ("2", "1")


@pytest.mark.parametrize(("seed", "hash_seed"), [(3, "3"), (-1, "4294967295"), (1 << 32, "0")])
def test_every_seed_is_one_that_python_accepts(make, seed, hash_seed):
    env = make(replace(PLAN, spec=replace(SPEC, seed=seed))).env
    assert (env["LAUNCH_SEED"], env["PYTHONHASHSEED"]) == (str(seed), hash_seed)


def test_mounts_are_the_contract(make):
    spec = make()
    mounts = {bind.target: (bind.source, bind.readonly) for bind in spec.binds}
    run = make.run_dir
    assert mounts == {
        "/run/launch/params.json": (run.params, True),
        "/run/launch/spec.json": (run.spec, True),
        "/run/launch/metrics.jsonl": (run.metrics, False),
        "/outputs": (run.outputs, False),
        "/checkpoints": (run.checkpoints, False),
        "/data/cifar-10": (type(run.root)("/srv/cifar"), True),
        "/cache/hf": (run.root.parent.parent / "cache/shared/hf", False),
    }
    assert (run.root.parent.parent / "cache/shared/hf").is_dir()


def test_secrets_are_files_in_memory_and_not_shown(make):
    spec = make()
    assert [(file.target, file.content, file.mode) for file in spec.tmpfs_files] == [("/run/secrets/HF_TOKEN", b"s3cret", 0o400)]
    assert "s3cret" not in repr(spec.tmpfs_files)


def test_a_secret_that_vanished_is_named(tmp_path):
    state = StateDir(tmp_path)
    with pytest.raises(ConfigError, match="`HF_TOKEN`"):
        container_spec(PLAN, IMAGE, Store(state.store), state.run("1"), environ={})


def test_limits_and_the_rest(make):
    spec = make()
    assert (spec.limits.cpus, spec.limits.memory_bytes, spec.argv, spec.cwd) == (1.5, 1 << 30, PLAN.argv, "/workspace")
    assert spec.loopback_listener
    assert not make(replace(PLAN, spec=replace(SPEC, tracking=None))).loopback_listener


def test_no_cpus_asked_is_no_quota(make):
    assert make(replace(PLAN, spec=replace(SPEC, cpus=None))).limits.cpus is None


def test_shared_memory_is_half_of_the_runs_memory_or_what_was_asked_for(make):
    assert 2 << 30 == make(replace(PLAN, memory_bytes=4 << 30)).shm_bytes
    assert 7 == make(replace(PLAN, spec=replace(SPEC, shm=7))).shm_bytes
    assert this_machine().memory_bytes // 2 == make(replace(PLAN, memory_bytes=None)).shm_bytes


def test_the_other_ranks_have_as_long_as_the_run_to_save_what_they_have(make):
    assert 45 == make().rank_grace_s


def with_wheels(plan, *names, **spec):
    wheels = tuple(InstallWheel(name, "1", "0" * 64, f"{name}-1-py3-none-any.whl", "i", "3.13") for name in names)
    return replace(plan, build=replace(plan.build, steps=(*plan.build.steps, *wheels)), spec=replace(plan.spec, **spec))


def test_figures_that_a_program_shows_have_a_backend_beside_its_matplotlib(make):
    container = make(with_wheels(PLAN, "matplotlib"))
    assert container.env["MPLBACKEND"] == "module://launch_show_figures"
    assert "/opt/venv/lib/python3.13/site-packages/launch_show_figures.py" in [file.target for file in container.tmpfs_files]


@pytest.mark.parametrize(
    ("wheels", "env", "backend"),
    [
        pytest.param(["numpy"], {}, None, id="without matplotlib"),
        pytest.param(["matplotlib"], {"MPLBACKEND": "pdf"}, "pdf", id="a backend of its own"),
        pytest.param(["matplotlib"], {"DISPLAY": ":0"}, None, id="a display"),
        pytest.param(["matplotlib", "ipykernel"], {}, None, id="cells of notebooks"),
    ],
)
def test_figures_that_have_another_place_are_left_to_it(make, wheels, env, backend):
    container = make(with_wheels(PLAN, *wheels, env=env))
    assert container.env.get("MPLBACKEND") == backend
    assert not [file for file in container.tmpfs_files if file.target.endswith("launch_show_figures.py")]
