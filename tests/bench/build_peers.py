"""Other builders for the benchmarks of builds: BuildKit (where a Docker daemon answers), podman, and uv alone on the host.

All build the same thing: a Debian base with Python, pip and venv (ours, saved and loaded), a requirements file, one program.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import launches

REQUIREMENTS = ("numpy==2.4.6", "scikit-learn==1.9.1", "pandas==3.1.1")
BASE = "launch-bench/base:latest"

_BASE_EXPERIMENT = """\
# @package _global_
image: {apt: [python3-venv, python3-pip, ca-certificates]}
code: {root: code}
command: [python3, --version]
tracking: null
"""

# The host's certificates: behind a proxy that opens TLS, pip in a container trusts the index only with them.
_HEAD = """\
FROM {base}
COPY ca.pem /etc/ssl/certs/ca-certificates.crt
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /workspace
COPY requirements.txt .
"""

DOCKERFILES = {
    "pip": _HEAD
    + "RUN --mount=type=cache,target=/root/.cache/pip python3 -m venv /opt/env "
    + "&& /opt/env/bin/pip install -r requirements.txt\n"
    + 'COPY train.py .\nENTRYPOINT ["/opt/env/bin/python", "train.py"]\n',
    "uv": _HEAD
    + "RUN --mount=type=cache,target=/root/.cache/uv --mount=type=bind,source=uv,target=/usr/local/bin/uv "
    + "UV_LINK_MODE=copy uv venv /opt/env "
    + "&& UV_LINK_MODE=copy uv pip install --python /opt/env/bin/python -r requirements.txt\n"
    + 'COPY train.py .\nENTRYPOINT ["/opt/env/bin/python", "train.py"]\n',
}


@dataclass(frozen=True, slots=True)
class Docker:
    """The daemon behind DOCKER_HOST."""

    @staticmethod
    def answers() -> bool:
        return shutil.which("docker") is not None and _succeeds("docker", "info")

    def build(self, context: Path, tag: str, *, kind: str, cold: bool = False) -> float:
        """Seconds of one build; *cold* forgets layers and cache mounts first, outside the clock."""
        if cold:
            _run("docker", "builder", "prune", "--all", "--force")
        arguments = ["build", "--quiet", "--network", "host", "-f", str(context / f"Dockerfile.{kind}"), "-t", tag]
        return _seconds("docker", *arguments, *(["--no-cache"] if cold else []), str(context), env={"DOCKER_BUILDKIT": "1"})


def context(directory: Path, requirements: tuple[str, ...] = REQUIREMENTS) -> Path:
    """A build context in *directory* with a Dockerfile for each way."""
    from uv import find_uv_bin

    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    for kind, text in DOCKERFILES.items():
        (directory / f"Dockerfile.{kind}").write_text(text.format(base=BASE))
    (directory / "requirements.txt").write_text("".join(f"{line}\n" for line in requirements))
    (directory / "train.py").write_text('print("start", flush=True)\n')
    certificates = os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
    shutil.copy(certificates, directory / "ca.pem")
    shutil.copy(find_uv_bin(), directory / "uv")
    return directory


def give_base_to_docker(launch: launches.Launch, directory: Path) -> None:
    """Our Debian base with pip and venv, as image BASE of the daemon."""
    project = directory / "base-project"
    (project / "conf/experiment").mkdir(parents=True, exist_ok=True)
    (project / "code").mkdir(exist_ok=True)
    (project / "code/nothing").write_text("")
    (project / "conf/experiment/bench_base.yaml").write_text(_BASE_EXPERIMENT)
    here = launches.Launch(launch.command, launch.home, project)
    here.whole("build", "experiment=bench_base")
    archive = directory / "base.tar"
    archive.unlink(missing_ok=True)
    here.whole("save", "bench_base", "-o", str(archive), "--format", "docker-archive")
    _run("docker", "load", "--quiet", "--input", str(archive))
    _run("docker", "tag", "bench_base:latest", BASE)
    archive.unlink()


def uv_on_the_host(scratch: Path, requirements: tuple[str, ...] = REQUIREMENTS) -> float:
    """Seconds of `uv venv` and `uv pip install --compile-bytecode` in the new directory *scratch*, with an empty cache and the
    host's own Python."""
    from uv import find_uv_bin

    uv = find_uv_bin()
    env = {"UV_CACHE_DIR": f"{scratch}/cache", "UV_SYSTEM_CERTS": "1"}
    begun = time.perf_counter()
    _run(uv, "venv", "--quiet", "--python", "/usr/bin/python3", f"{scratch}/venv", env=env)
    python = f"{scratch}/venv/bin/python"
    _run(uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python, *requirements, env=env)
    return time.perf_counter() - begun


def _succeeds(*argv: str) -> bool:
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def _run(*argv: str, env: dict[str, str] | None = None) -> None:
    done = subprocess.run(argv, env={**os.environ, **(env or {})}, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"`{' '.join(argv)}` exited with {done.returncode}:\n{done.stderr[-2000:]}")


def _seconds(*argv: str, env: dict[str, str] | None = None) -> float:
    begun = time.perf_counter()
    _run(*argv, env=env)
    return time.perf_counter() - begun
