"""Requirements on bases that have Python packages of their own: what is there is taken, in whatever Python it lies."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from pathlib import Path

import pytest
from launch_command import Launch

pytestmark = [pytest.mark.any_user, pytest.mark.requires("overlayfs", "userns")]

# A package that no index has, named as if it were large; what it needs and lacks is nobody's affair.
INSTALL = """\
import os, sys
site = sys.argv[1]
def put(name, version, *requires, size=1000):
    info = f"{site}/{name}-{version}.dist-info"
    os.makedirs(info)
    os.makedirs(f"{site}/{name}")
    open(f"{site}/{name}/__init__.py", "w").write(f'__version__ = "{version}"\\n')
    needs = "".join(f"Requires-Dist: {line}\\n" for line in requires)
    open(f"{info}/METADATA", "w").write(f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n{needs}")
    open(f"{info}/RECORD", "w").write(f"{name}/__init__.py,,{size}\\n")
put("torch", "2.5.1+cu124", "sniffio>=1", "nvidia-nothing==3", size=900_000_000)
put("sniffio", "1.0.0")
put("humanize", "4.0.0")
"""
SYSTEM = """\
FROM bootstrap:debian/bookworm
COPY install.py /install.py
RUN python3 /install.py /usr/lib/python3/dist-packages
"""
# Starts only with the library path of the image, and our usual place is taken.
CONDA = """\
FROM bootstrap:debian/bookworm
COPY install.py /install.py
RUN mkdir -p /opt/conda/bin /opt/conda/lib /opt/venv && cp -a /usr/lib/python3.11 /opt/conda/lib/ && \\
    cp /usr/bin/python3.11 /opt/conda/bin/ && ln -s python3.11 /opt/conda/bin/python3 && \\
    python3 /install.py /opt/conda/lib/python3.11/dist-packages && mv /usr/lib/x86_64-linux-gnu/libexpat.so* /opt/conda/lib/
ENV LD_LIBRARY_PATH=/opt/conda/lib PATH=/opt/conda/bin:/usr/local/bin:/usr/bin:/bin
"""
# Its code imports torch when it is built, as CUDA extensions do.
BACKEND = """\
import torch, zipfile
def build_wheel(directory, settings=None, metadata=None):
    name = "torch_probe-1.0-py3-none-any.whl"
    with zipfile.ZipFile(f"{directory}/{name}", "w") as wheel:
        wheel.writestr("torch_probe.py", f"BUILT_WITH = {torch.__version__!r}")
        info = "Metadata-Version: 2.1\\nName: torch-probe\\nVersion: 1.0\\nRequires-Dist: torch"
        wheel.writestr("torch_probe-1.0.dist-info/METADATA", info)
        wheel.writestr("torch_probe-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any")
        files = ("torch_probe.py", *(f"torch_probe-1.0.dist-info/{file}" for file in ("METADATA", "WHEEL", "RECORD")))
        wheel.writestr("torch_probe-1.0.dist-info/RECORD", "".join(f"{file},,\\n" for file in files))
    return name
"""
EXPERIMENT = """\
# @package _global_
image: {{base: "{base}", requirements: {requirements}, index: {index}}}
code: {{root: experiments/probe}}
command: [python3, -c, "{program}"]
cpus: 0.5
tracking: null
"""


class Project:
    """A project of its own, whose experiments are on images that the session's store has as files."""

    def __init__(self, launch: Launch, directory: Path) -> None:
        shutil.copytree(launch.project, directory / "project")
        self.launch = Launch(launch.home, directory / "project", {"XDG_CONFIG_DIRS": str(directory / "none")})
        self.directory = directory

    def base(self, name: str, dockerfile: str) -> str:
        """The image of *dockerfile* as an OCI layout."""
        context = self.directory / f"context-{name}"
        context.mkdir()
        (context / "Dockerfile").write_text(dockerfile)
        (context / "install.py").write_text(INSTALL)
        self.launch("build", "-q", "-t", f"base-{name}", str(context))
        return self.saved(f"base-{name}")

    def saved(self, name: str) -> str:
        self.launch("save", name, "-o", f"{self.directory / name}/")
        return f"oci:{self.directory / name}"

    def experiment(self, name: str, base: str, requirements: str, program: str, index: str = "{}") -> str:
        """Write the experiment *name*. Returns the argument that runs it."""
        text = EXPERIMENT.format(base=base, requirements=requirements, program=program, index=index)
        (self.launch.project / f"conf/experiment/{name}.yaml").write_text(text)
        return f"experiment={name}"

    def lock(self, experiment: str) -> dict[str, dict[str, str]]:
        """What of the plan's lock is installed, provided, replaced."""
        lock = json.loads(self.launch("plan", experiment, "--json").stdout)["plan"]["lock"]
        installed = {wheel["name"]: wheel["version"] for wheel in lock["wheels"]}
        return {"installed": installed, "provided": dict(lock["provided"]), "replaced": dict(lock["replaced"])}


@pytest.fixture
def project(launch: Launch, tmp_path: Path) -> Project:
    return Project(launch, tmp_path)


SAY = (
    "import importlib.metadata, humanize, sys, torch; importlib.metadata.version('torchmetrics'); "
    "print(torch.__version__, humanize.__version__, sys.prefix)"
)


@pytest.mark.requires("patience")
def test_what_the_base_has_is_not_installed_again(project: Project) -> None:
    base = project.base("system", SYSTEM)
    kept = project.experiment("kept", base, "[torchmetrics, humanize]", SAY)
    newer = project.experiment("newer", base, "[torchmetrics, 'humanize>=4.9']", SAY)
    lock = project.lock(kept)
    assert {"torch": "2.5.1+cu124", "sniffio": "1.0.0", "humanize": "4.0.0"} == lock["provided"]
    assert not lock["replaced"]
    assert {"torchmetrics", "numpy"} <= set(lock["installed"])
    assert not [name for name in lock["installed"] if name.startswith(("torch-", "nvidia", "triton"))]
    assert "2.5.1+cu124 4.0.0 /opt/venv" == project.launch(kept).stdout.strip()
    shown = project.launch("plan", kept).stdout
    assert "provided by the base: humanize 4.0.0, sniffio 1.0.0, torch 2.5.1+cu124" in shown

    told = project.launch(newer)
    assert "is installed over the base's 4.0.0" in told.stderr
    assert told.stdout.strip().startswith("2.5.1+cu124 4.")
    assert " 4.0.0 " not in told.stdout
    assert {"humanize": "4.0.0"} == project.lock(newer)["replaced"]


@pytest.mark.requires("patience")
def test_a_lock_counts_on_its_base(project: Project) -> None:
    base = project.base("locked", SYSTEM)
    locked = project.experiment("locked", base, "[torchmetrics]", "import torch")
    project.launch("lock", locked)
    text = (project.launch.project / "conf/experiment/locked.lock").read_text()
    assert "# provided by the base: torch 2.5.1+cu124\n" in text
    assert "\ntorch==" not in text
    before = project.lock(locked)
    assert "" == project.launch("plan", locked).stderr
    other = project.base("other", SYSTEM.replace("RUN", "RUN sed -i s/2.5.1+cu124/2.4.0/ /install.py;", 1))
    project.experiment("locked", other, "[torchmetrics]", "import torch")
    told = project.launch("plan", locked).stderr
    assert "it counts on `torch 2.5.1+cu124` of the base, and this one has 2.4.0" in told
    assert {**before["provided"], "torch": "2.4.0"} == project.lock(locked)["provided"]


@pytest.mark.requires("patience")
def test_a_python_that_needs_the_images_environment_gets_requirements_in_a_free_place(project: Project) -> None:
    base = project.base("conda", CONDA)
    conda = project.experiment("conda", base, "[torchmetrics, humanize]", SAY)
    assert "2.5.1+cu124 4.0.0 /opt/venv2" == project.launch(conda).stdout.strip()
    assert "#!/opt/venv2/bin/python3" in project.launch(conda, "--", "head", "-1", "/opt/venv2/bin/numpy-config").stdout
    # An image of ours as a base: what it has installed counts, and stays where it is.
    project.launch("lock", conda)
    again = project.experiment("again", project.saved("conda"), "[torchmetrics, humanize, tqdm]", SAY)
    lock = project.lock(again)
    assert ["tqdm"] == list(lock["installed"])
    assert {"torchmetrics", "torch", "numpy"} <= set(lock["provided"])
    assert "2.5.1+cu124 4.0.0 /opt/venv3" == project.launch(again).stdout.strip()


@pytest.mark.requires("patience")
def test_a_source_distribution_is_built_with_what_the_base_has(project: Project) -> None:
    links = project.directory / "links"
    links.mkdir()
    members = {
        "PKG-INFO": "Metadata-Version: 2.1\nName: torch-probe\nVersion: 1.0\n",
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": BACKEND,
    }
    with tarfile.open(links / "torch_probe-1.0.tar.gz", "w:gz") as archive:
        for name, text in members.items():
            member = tarfile.TarInfo(f"torch_probe-1.0/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    base = project.base("sdist", SYSTEM)
    index = f'{{find_links: ["{links}"]}}'
    built = project.experiment("built", base, "[torch-probe]", "import torch_probe; print(torch_probe.BUILT_WITH)", index)
    assert "2.5.1+cu124" == project.launch(built).stdout.strip()
