"""How much a plan says that it will fetch."""

from __future__ import annotations

from launcher.config.spec import ExperimentSpec, Image
from launcher.plan.explain import fetch_words
from launcher.plan.launch_plan import Lock, LockedWheel
from runtime.build.plan import DebPackage, InstallWheel, UnpackDebs
from runtime.oci.digest import digest_json

SIZES = {"torch": 800_000_000, "nvidia-cublas-cu12": 700_000_000, "numpy": 20_000_000}
LOCK = Lock(
    "3.13.5",
    "x86_64-manylinux_2_41",
    tuple(LockedWheel(name, "1", f"{number:064}", f"{name}.whl", size=size) for number, (name, size) in enumerate(SIZES.items())),
    digest_json(None),
    "resolved",
)
STEPS = [InstallWheel(wheel.name, "1", wheel.sha256, wheel.filename, "cpython", "3.13") for wheel in LOCK.wheels]
DEBS = UnpackDebs("trixie", (DebPackage("libc6", "2.41", "amd64", "main", "pool/l.deb", 3_000_000, "a" * 64),))


def test_packages_and_wheels_that_are_missing_are_counted() -> None:
    assert "23 MB to fetch" == fetch_words([DEBS, STEPS[2]], LOCK, ExperimentSpec("x"))
    assert "" == fetch_words([], LOCK, ExperimentSpec("x"))


def test_cuda_for_no_gpu_is_named_with_the_way_to_do_without() -> None:
    words = fetch_words(STEPS, LOCK, ExperimentSpec("x"))
    assert "1.5 GB to fetch, 1.5 GB of it torch with CUDA (`image.cuda=cpu` takes the build for CPUs)" == words
    for spec in (ExperimentSpec("x", gpus=1), ExperimentSpec("x", image=Image(cuda="12.8"))):
        assert "1.5 GB to fetch" == fetch_words(STEPS, LOCK, spec)
