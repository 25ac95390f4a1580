"""A plan with every kind of step in it, for the tests here."""

from __future__ import annotations

from launcher.config.spec import ExperimentSpec, Image, Index, Mount, Outputs, Pruner, Sweep
from launcher.plan.launch_plan import CodeSnapshot, DataPin, GitState, LaunchPlan, Lock, LockedWheel
from runtime.build.plan import (
    BuildPlan,
    CopyIn,
    DebPackage,
    ImageConfig,
    ImportImage,
    InstallWheel,
    MakeVenv,
    RunCommand,
    UnpackDebs,
)
from runtime.oci.digest import digest_bytes

DIGEST = digest_bytes(b"x")

SPEC = ExperimentSpec(
    name="sample",
    command=("python3", "train.py", "--lr=${params.lr}"),
    image=Image(requirements=("numpy",), index=Index(url="https://user:secret@example.org/simple"), env={"A": "1"}),
    params={"lr": 0.1, "hidden": [64, 32], "none": None},
    env={"B": "2"},
    data={"cifar-10": Mount("/srv/cifar")},
    caches={"hf": "/cache/hf"},
    secrets=("HF_TOKEN",),
    outputs=Outputs(keep=("*.png",)),
    sweep=Sweep(metric="acc", pruner=Pruner(), enqueue=({"params": {"lr": 1}},)),
    cpus=1.5,
    memory=1 << 30,
    grace=45.0,
)

STEPS = (
    UnpackDebs("trixie", (DebPackage("libc6", "2.41", "amd64", "main", "pool/a.deb", 3, "a" * 64),)),
    RunCommand(("dpkg", "-a"), env=(("A", "b"),), drop=("var/log/**",)),
    UnpackDebs("trixie", (DebPackage("git", "2", "amd64", "main", "pool/g.deb", 3, "b" * 64),), onto_base=True),
    ImportImage("oci:dir", DIGEST),
    MakeVenv("cpython-3.13.5-abc", "/usr/bin/python3.13", "3.13.5", prefix="/opt/venv2", base_env=(("LD_LIBRARY_PATH", "/x"),)),
    InstallWheel("numpy", "2.3", "c" * 64, "numpy-2.3-cp313.whl", "cpython-3.13.5-abc", "3.13"),
    CopyIn("/src", (("train.py", 0o644, "d" * 64),), "/workspace", DIGEST),
)

PLAN = LaunchPlan(
    spec=SPEC,
    spec_digest=DIGEST,
    build=BuildPlan(STEPS, ImageConfig(env={"PATH": "/bin"}, command=("python3",))),
    code=CodeSnapshot("/src", (("train.py", 0o644, "d" * 64),), DIGEST, 3, GitState("e" * 40, "main", dirty=True, diff="-a")),
    lock=Lock(
        "3.13.5",
        "x86_64-manylinux_2_41",
        (LockedWheel("numpy", "2.3", "c" * 64, "numpy.whl"),),
        DIGEST,
        "resolved",
        provided=(("torch", "2.5.1+cu124"),),
        replaced=(("numpy", "1.26.4"),),
    ),
    base_digest=DIGEST,
    argv=("python3", "train.py", "--lr=0.1"),
    threads=1,
    cpus=1.5,
    memory_bytes=1 << 30,
    gpus=0,
    data={"cifar-10": DataPin("/srv/cifar", DIGEST, "content", 2, 100)},
    overrides=("params.lr=0.1",),
    origins={"params.lr": "command line: params.lr=0.1"},
    warnings=("careful",),
)
