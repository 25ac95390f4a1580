"""Others who run and build images: Docker with its two builders, podman, and uv alone on the host.

They get our images, saved and loaded, and no network but that of a build: one mode for all. Who isn't there is a text: why.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from launches import Launch
from paired import run, timed

REQUIREMENTS = ("numpy==2.4.6", "scikit-learn==1.9.1", "pandas==3.1.1")

os.environ["PODMAN_IGNORE_CGROUPSV1_WARNING"] = "1"

HYBRID = Path("/sys/fs/cgroup/unified")
"""Both cgroup versions are mounted: there crun, podman's own runtime, starts nothing."""

_DAEMON_STARTS_S = 20.0

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


class Engine(NamedTuple):
    """docker or podman."""

    name: str
    program: tuple[str, ...]

    def load(self, launch: Launch, experiment: str) -> str:
        """The image of *experiment*, built by *launch*. Returns its name here."""
        digest = json.loads(launch.output("build", f"experiment={experiment}", "--json"))["image_digest"]
        name = f"localhost/launch-bench-{experiment}:{digest[-12:]}"
        if subprocess.run([*self.program, "image", "inspect", name], capture_output=True, check=False).returncode == 0:
            return name
        archive = launch.home / f"{experiment}.tar"
        archive.unlink(missing_ok=True)
        launch.whole("save", experiment, "-o", str(archive), "--format", "docker-archive")
        loaded = run(*self.program, "load", "--quiet", "--input", str(archive)).strip().splitlines()[-1].partition(": ")[2]
        run(*self.program, "tag", loaded, name)
        archive.unlink()
        return name

    def words(self, image: str, *program: str) -> list[str]:
        """Of a command that runs *program* in a container."""
        runtime = ["--runtime", "runc"] if self.name == "podman" and HYBRID.exists() else []
        return [*self.program, *runtime, "run", "--rm", "--network", "none", image, *program]

    def first_line(self, image: str, *program: str) -> float:
        """Seconds to the first line of *program*."""
        begun = time.perf_counter()
        with subprocess.Popen(self.words(image, *program), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            seconds = time.perf_counter() - begun
            process.stdout.read()
        if not line or process.returncode != 0:
            raise SystemExit(f"`{' '.join(self.words(image, *program))}` printed nothing, or exited with {process.returncode}")
        return seconds

    @contextmanager
    def going(self, image: str, code: Path) -> Iterator[list[str]]:
        """A container of *image* that stays, with *code* at /workspace. The words before a program's that run it in there."""
        words = self.words(image, "sleep", "infinity")
        words[words.index("--rm") : words.index("--rm")] = ["--detach", "--volume", f"{code}:/workspace"]
        container = run(*words).strip()
        try:
            yield [*self.program, "exec", container]
        finally:
            run(*self.program, "kill", container)

    def build(self, context: Path, tag: str, *, file: str = "Dockerfile", legacy: bool = False, cold: bool = False) -> float:
        """Seconds of one build; *cold* forgets layers and cache mounts first, outside the clock."""
        if cold:
            run(*self.program, "builder", "prune", "--all", "--force")
        words = ["build", "--quiet", "--network", "host", "-f", str(context / file), "-t", tag, *(["--no-cache"] if cold else [])]
        environ = {**os.environ, "DOCKER_BUILDKIT": "0" if legacy else "1"}
        return timed(lambda: run(*self.program, *words, str(context), env=environ))


@contextmanager
def docker(home: Path) -> Iterator[Engine | str]:
    """The daemon that answers; else, for root, one without a bridge that is started for as long as this is entered."""
    if shutil.which("docker") is None:
        yield "docker: not installed"
    elif _refusal("docker", "info") is None:
        yield Engine("docker", ("docker",))
    elif os.geteuid() != 0 or shutil.which("dockerd") is None:
        yield f"docker: no daemon ({_refusal('docker', 'info')})"
    else:
        with _own_daemon(home) as host:
            yield Engine("docker", ("docker", "--host", host))


@contextmanager
def _own_daemon(home: Path) -> Iterator[str]:
    host = f"unix://{home}/docker.sock"
    words = ["dockerd", "--host", host, "--data-root", f"{home}/docker", "--exec-root", f"{home}/docker-run"]
    words += ["--pidfile", f"{home}/docker.pid", "--bridge=none", "--iptables=false"]
    home.mkdir(parents=True, exist_ok=True)
    with (home / "dockerd.log").open("wb") as log, subprocess.Popen(words, stdout=log, stderr=log) as daemon:
        try:
            deadline = time.monotonic() + _DAEMON_STARTS_S
            while (refusal := _refusal("docker", "--host", host, "info")) is not None:
                if time.monotonic() > deadline or daemon.poll() is not None:
                    raise SystemExit(f"dockerd does not start: {refusal}; see {home}/dockerd.log")
                time.sleep(0.1)
            yield host
        finally:
            daemon.terminate()


def podman() -> Engine | str:
    if shutil.which("podman") is None:
        return "podman: not installed"
    refusal = _refusal("podman", "info")
    return Engine("podman", ("podman",)) if refusal is None else f"podman: {refusal}"


def _refusal(*argv: str) -> str | None:
    """The last words of a command that fails."""
    tried = subprocess.run(argv, capture_output=True, text=True, check=False)
    said = (tried.stderr or tried.stdout).strip().splitlines()
    return None if tried.returncode == 0 else said[-1] if said else f"exit code {tried.returncode}"


def wheels_context(directory: Path, base: str) -> Path:
    """A build context in *directory* with a Dockerfile for each way to install REQUIREMENTS."""
    from uv import find_uv_bin

    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    for kind, text in DOCKERFILES.items():
        (directory / f"Dockerfile.{kind}").write_text(text.format(base=base))
    write_requirements(directory)
    (directory / "train.py").write_text('print("start", flush=True)\n')
    shutil.copy(os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"), directory / "ca.pem")
    shutil.copy(find_uv_bin(), directory / "uv")
    return directory


def write_requirements(context: Path, more: Sequence[str] = ()) -> None:
    (context / "requirements.txt").write_text("".join(f"{line}\n" for line in (*REQUIREMENTS, *more)))


def uv_on_the_host(scratch: Path) -> float:
    """Seconds of `uv venv` and `uv pip install --compile-bytecode` in the new directory *scratch*, with an empty cache and the
    host's own Python."""
    from uv import find_uv_bin

    uv, python = find_uv_bin(), f"{scratch}/venv/bin/python"
    environ = {**os.environ, "UV_CACHE_DIR": f"{scratch}/cache", "UV_SYSTEM_CERTS": "1"}
    begun = time.perf_counter()
    run(uv, "venv", "--quiet", "--python", "/usr/bin/python3", f"{scratch}/venv", env=environ)
    run(uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python, *REQUIREMENTS, env=environ)
    return time.perf_counter() - begun
