"""Dockerfiles from text to a running program: the example that the field teaches with, files in the style of real projects, and
buildah as the judge of what COPY and ADD do."""

from __future__ import annotations

import functools
import http.server
import json
import os
import re
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from launch_command import Launch
from registry_server import RegistryServer, registry_server

from runtime.build.debian.apt_sources import find_archives
from runtime.build.debian.root_skeleton import apt_source_text
from runtime.store.store import Store

pytestmark = pytest.mark.requires("overlayfs", "userns")

# Word by word that of the issue, but for the name of its base.
EXAMPLE = """\
FROM {base}
WORKDIR /workspace
COPY requirements.txt .
RUN apt-get update && apt-get install -y python3-pip && \\
    pip3 install -r requirements.txt
COPY train.py .
ENTRYPOINT ["python3", "train.py"]
"""
STAND_IN = """\
FROM bootstrap:debian/trixie
RUN rm /usr/lib/python3.*/EXTERNALLY-MANAGED
COPY archive.sources /etc/apt/sources.list.d/
"""
# A service with a build stage, a shared base, a user of its own, caches, secrets and files in the Dockerfile.
SERVICE = """\
# syntax=docker/dockerfile:1
ARG SUITE=trixie
FROM bootstrap:debian/${SUITE} AS base
ENV PYTHONUNBUFFERED=1 \\
    PYTHONPATH=/opt/app
WORKDIR /opt/app

FROM base AS builder
ARG VERSION=0.0.0
RUN --mount=type=cache,target=/root/.cache/build \\
    --mount=type=bind,source=src,target=/src \\
    --mount=type=secret,id=licence,env=LICENCE \\
    set -eu; \\
    test "$LICENCE" = s3cret; \\
    echo run >> /root/.cache/build/runs; \\
    mkdir -p /out/pkg; \\
    cp -r /src/. /out/pkg/; \\
    echo "VERSION = '$VERSION'" > /out/pkg/version.py
RUN <<PYTHON
#!/usr/bin/env python3
import compileall, pathlib
assert compileall.compile_dir("/out/pkg", quiet=1)
pathlib.Path("/out/built").write_text("yes\\\\n")
PYTHON

FROM base AS tests
RUN echo "this stage is not needed" && false

FROM base AS runtime
RUN groupadd --gid 1500 app && useradd --create-home --uid 1500 --gid app app
COPY --from=builder --chown=app:app /out/ ./
COPY --chmod=0755 <<"SCRIPT" /usr/local/bin/entrypoint
#!/bin/sh
echo "entry: $*"
exec "$@"
SCRIPT
USER app
LABEL org.opencontainers.image.title=service
EXPOSE 8080
HEALTHCHECK --interval=30s CMD true
ENTRYPOINT ["entrypoint"]
CMD ["python3", "-m", "pkg.main"]
"""
MAIN = """\
import getpass, os, pathlib, sys
from pkg.version import VERSION
pathlib.Path(os.environ.get("LAUNCH_OUTPUTS", "/tmp"), "by-user").write_text(getpass.getuser())
print(VERSION, getpass.getuser(), os.getuid(), os.getcwd(), sys.argv[1:], os.environ.get("licence"), os.environ.get("LICENCE"))
"""
EXPERIMENT = """\
# @package _global_
image: {dockerfile: Dockerfile, args: {VERSION: 1.2.3}}
secrets: [licence]
tracking: null
"""


@pytest.fixture
def project(tmp_path: Path, session_home: Path) -> Launch:
    (tmp_path / "project" / "conf" / "experiment").mkdir(parents=True)
    return Launch(session_home, tmp_path / "project")


@pytest.fixture
def service(project: Launch) -> Launch:
    write(project, {"Dockerfile": SERVICE, "src/__init__.py": "", "src/main.py": MAIN, "src/notes.md": "not code\n"})
    write(project, {".dockerignore": "**/*.md\n", "conf/experiment/service.yaml": EXPERIMENT})
    project.environ["licence"] = "s3cret"
    return project


def write(project: Launch, files: dict[str, str]) -> None:
    for name, text in files.items():
        (project.project / name).parent.mkdir(parents=True, exist_ok=True)
        (project.project / name).write_text(text)


def digest_in(stdout: str) -> str:
    found = re.match(r"sha256:[0-9a-f]{64}", stdout)
    assert found is not None, stdout
    return found[0]


# The example of the issue


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RegistryServer]:
    with registry_server(tmp_path / "registry") as running:
        yield running


@pytest.fixture
def wheels(tmp_path: Path) -> Iterator[str]:
    """An address where pip finds `lab-greeting`."""
    (tmp_path / "wheels").mkdir()
    with zipfile.ZipFile(tmp_path / "wheels" / "lab_greeting-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("lab_greeting.py", "TEXT = 'hello from a wheel'\n")
        wheel.writestr("lab_greeting-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: lab-greeting\nVersion: 1.0\n")
        wheel.writestr("lab_greeting-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("lab_greeting-1.0.dist-info/RECORD", "")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *words: object) -> None:
            return

    handler = functools.partial(Quiet, directory=str(tmp_path / "wheels"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{served.server_port}/"
        served.shutdown()
        thread.join()


@pytest.mark.any_user
@pytest.mark.requires("docker-registry")
def test_the_example_that_the_field_teaches_with_builds_and_runs(project: Launch, server: RegistryServer, wheels: str) -> None:
    base = f"{server.address}/nvidia/cuda:12.1-cudnn8-runtime-ubuntu22.04"
    archives = find_archives("trixie", mirror=None, environ=os.environ)
    write(project, {"base/Dockerfile": STAND_IN, "base/archive.sources": apt_source_text("trixie", archives)})
    project("build", "-q", "-t", "stand-in", "base")
    project("push", "-q", "stand-in", base)
    write(
        project,
        {
            "Dockerfile": EXAMPLE.format(base=base),
            "requirements.txt": f"--no-index\n--find-links {wheels}\nlab-greeting==1.0\n",
            "train.py": "import sys, lab_greeting; print(lab_greeting.TEXT, sys.argv[1:])\n",
            "conf/experiment/train.yaml": "# @package _global_\nimage: {dockerfile: Dockerfile}\ntracking: null\n",
        },
    )
    built = project("build", "-t", "train", ".")
    assert "built   [4/5] RUN apt-get update && apt-get install -y python3-pip" in built.stderr
    assert digest_in(built.stdout) in project("images", "--json").stdout
    assert project("experiment=train").stdout == "hello from a wheel []\n"
    assert project("experiment=train", "--", "--epochs=3").stdout == "hello from a wheel ['--epochs=3']\n"
    # What differs from run to run is not in the layer, and nothing is done again.
    again = project("build", "-t", "train", ".")
    assert (again.stdout, again.stderr) == (built.stdout, "")
    layer = layers_of(project, "train")[-2]
    listed = {str(path.relative_to(layer)) for path in layer.rglob("*") if path.is_file()}
    assert "usr/bin/pip3" in listed
    assert not [path for path in listed if path in ("var/log/dpkg.log", "var/log/apt/history.log", "var/cache/apt/pkgcache.bin")]


def layers_of(launch: Launch, name: str) -> list[Path]:
    store = Store(launch.home / "store")
    return [store.layer_dir(layer) for layer in store.image(name).layers]


# A file in the style of real projects


def test_a_multi_stage_file_builds_what_its_target_needs(service: Launch) -> None:
    words = ("build", "-t", "lab/service:1", "-t", "lab/service:latest", "--build-arg", "VERSION=1.2.3", "--secret", "id=licence")
    # Another test may have built some of its steps: what is made again is told.
    built = service(*words, "--label", "built-by=tests", "--no-cache", ".")
    for line in ("[builder 1/2] RUN --mount=type=cache", "[runtime 2/3] COPY --from=builder --chown=app:app /out/ ./"):
        assert line in built.stderr, built.stderr
    assert "not needed" not in built.stderr
    image = Store(service.home / "store").image("lab/service:1")
    config = image.config["config"]
    assert image.digest == Store(service.home / "store").image("lab/service").digest == digest_in(built.stdout)
    assert (config["User"], config["WorkingDir"], config["Entrypoint"]) == ("app", "/opt/app", ["entrypoint"])
    assert config["Labels"] == {"org.opencontainers.image.title": "service", "built-by": "tests"}
    assert config["ExposedPorts"] == {"8080/tcp": {}}
    assert "PYTHONPATH=/opt/app" in config["Env"]
    assert not [entry for entry in config["Env"] if entry.startswith("VERSION=")]
    files = {str(path.relative_to(layer)) for layer in layers_of(service, "lab/service:1") for path in layer.rglob("*")}
    assert {"opt/app/built", "opt/app/pkg/version.py", "usr/local/bin/entrypoint"} <= files
    assert "opt/app/pkg/notes.md" not in files
    assert not [path for path in files if path.startswith("root/.cache")]


def test_a_secret_is_in_no_layer_and_a_wrong_one_fails_the_build(service: Launch) -> None:
    service("build", "-q", "-t", "lab/secretive", "--secret", "id=licence", ".")
    for layer in layers_of(service, "lab/secretive"):
        assert not [path for path in layer.rglob("*") if path.is_file() and b"s3cret" in path.read_bytes()], layer
    failed = service("build", "--no-cache", "--secret", "id=licence,env=HOME", ".", check=125)
    assert "[builder 1/2] RUN --mount=type=cache" in failed.stderr


def test_an_experiment_runs_in_the_image_of_its_dockerfile(service: Launch) -> None:
    run = service("experiment=service")
    user = "app 1500" if os.geteuid() == 0 else "root 0"
    assert run.stdout == f"entry: python3 -m pkg.main\n1.2.3 {user} /opt/app [] s3cret None\n"
    outputs = Path(service("outputs", "@last").stdout.strip())
    assert (outputs / "by-user").read_text() == user.split()[0]
    assert (outputs / "by-user").stat().st_uid == os.geteuid()
    assert service("experiment=service", "--", "echo", "another").stdout == "entry: echo another\nanother\n"
    assert service("experiment=service", "command=[id,-un]").stdout == f"{user.split()[0]}\n"
    record = service.record()
    assert record["exit_code"] == 0


def test_what_changed_is_built_again_and_nothing_else(service: Launch) -> None:
    first = service("build", "--secret", "id=licence", ".")
    write(service, {"src/main.py": MAIN.replace("VERSION,", "'v' + VERSION,"), "src/more.md": "ignored\n"})
    second = service("build", "--secret", "id=licence", ".")
    assert digest_in(first.stdout) != digest_in(second.stdout)
    assert "useradd" not in second.stderr
    write(service, {"src/main.py": MAIN})
    assert digest_in(service("build", ".").stdout) == digest_in(first.stdout)


@pytest.mark.requires("patience")
def test_no_cache_runs_commands_again(project: Launch) -> None:
    write(project, {"Dockerfile": "FROM bootstrap:debian/trixie\nRUN echo 1 > /x\nRUN head -c 8 /dev/urandom > /random\n"})
    first = project("build", ".")
    assert project("build", ".").stdout == first.stdout
    again = project("build", "--no-cache", ".")
    assert "built   [3/3] RUN head" in again.stderr
    assert digest_in(again.stdout) != digest_in(first.stdout)
    assert project("build", ".").stdout == again.stdout


def test_from_names_an_image_that_was_built_before(project: Launch) -> None:
    write(
        project,
        {
            "one/Dockerfile": "FROM bootstrap:debian/trixie AS made\nRUN echo 1 > /made\n"
            "FROM bootstrap:debian/trixie\nCOPY --from=made /made /one\nENV ONE=1\nONBUILD RUN echo $ONE > /triggered\n",
            "two/Dockerfile": "FROM lab/one AS x\nFROM lab/one:latest\nCOPY --from=x /one /two\n"
            "RUN cat /one /two /triggered > /all\n",
        },
    )
    project("build", "-q", "-t", "lab/one", "one")
    project("build", "-q", "-t", "lab/two", "two")
    assert (layers_of(project, "lab/two")[-1] / "all").read_text() == "1\n1\n1\n"


def test_an_experiments_base_names_an_image_that_was_built_before(project: Launch) -> None:
    experiment = (
        "# @package _global_\nimage: {base: lab/one, run: ['cat /made > /again']}\ncommand: [cat, /again]\ntracking: null\n"
    )
    write(
        project, {"Dockerfile": "FROM bootstrap:debian/trixie\nRUN echo made > /made\n", "conf/experiment/on_it.yaml": experiment}
    )
    project("build", "-q", "-t", "lab/one", ".")
    assert "made\n" in project("experiment=on_it").stdout
    assert "nothing to build" in project("plan", "experiment=on_it").stdout
    write(project, {"Dockerfile": "FROM bootstrap:debian/trixie\nRUN echo anew > /made\n"})
    project("build", "-q", "-t", "lab/one", ".")
    assert "anew\n" in project("experiment=on_it").stdout


def test_a_dockerfile_comes_from_standard_input(project: Launch) -> None:
    text = "FROM bootstrap:debian/trixie\nCOPY x /x\n"
    write(project, {"x": "x"})
    argv = project.argv("build", "-q", "-f", "-", ".")
    done = subprocess.run(argv, input=text, cwd=project.project, env=project.env(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# What cannot be built


@pytest.mark.any_user
@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        pytest.param(
            "FROM bootstrap:debian/trixie\nCOPY nothing /\n",
            2,
            ["error: `nothing` is not in the context", "Dockerfile:2"],
            id="no file",
        ),
        pytest.param(
            "FROM bootstrap:debian/trixie\nRNU x\n",
            2,
            ["no instruction `RNU`", "Dockerfile:2", "did you mean `RUN`?"],
            id="typing error",
        ),
        pytest.param(
            "FROM bootstrap:debian/trixie\nRUN --mount=type=ssh x\n",
            2,
            ["`RUN --mount=type=ssh` is not supported", "Dockerfile:2"],
            id="not supported",
        ),
        pytest.param(
            "FROM bootstrap:debian/trixie\nRUN echo to stdout; echo to stderr >&2; exit 7\n",
            125,
            ["error: `[2/2] RUN echo to stdout;", "exited with 7", "to stdout", "to stderr"],
            id="a command that fails",
        ),
        pytest.param(
            "FROM bootstrap:debian/trixie\nUSER nobody-here\nRUN x\n",
            125,
            ["the image has no user `nobody-here`"],
            id="no such user",
        ),
        pytest.param(
            "FROM bootstrap:debian/trixie AS a\nRUN x=1\nFROM a\nCOPY --from=a /not/there /x\n",
            125,
            ["/not/there"],
            id="nothing in a stage",
        ),
        pytest.param("FROM oci:nowhere\nRUN x\n", 2, ["Dockerfile:1", "nowhere"], id="no base"),
    ],
)
def test_what_cannot_be_built_says_why_and_where(project: Launch, text: str, code: int, words: list[str]) -> None:
    write(project, {"Dockerfile": text})
    failed = project("build", ".", check=code)
    assert not [word for word in words if word not in failed.stderr], failed.stderr
    assert "Traceback" not in failed.stderr


# Beside buildah

JUDGED = """\
FROM {base} AS build
ARG VERSION=1
ENV VERSION_ENV=${{VERSION}}x
WORKDIR /out
RUN --mount=type=bind,target=/ctx cp /ctx/a.txt bound.txt && echo "$VERSION $VERSION_ENV" > vars
RUN <<EOF
set -e
mkdir -p deep/er && echo two > deep/er/file && chmod 640 deep/er/file
EOF

FROM {base}
RUN groupadd -g 1500 app && useradd -m -u 1500 -g app app && ln -s /srv/existing /srv/link && \\
    mkdir /srv/existing && chmod 700 /srv/existing && chown app /srv/existing
WORKDIR /app
COPY a.txt .
COPY a.txt renamed.txt
COPY a.txt b.txt dir/
COPY lib lib
COPY *.txt glob/
COPY --chown=app:app tool.sh /usr/local/bin/
COPY --chown=1500 lib/ /srv/existing/
COPY b.txt /srv/link/
COPY --chmod=0604 b.txt mode.txt
ADD x.tar.gz unpacked/
ADD a.txt added/
COPY x.tar.gz kept/
COPY --from=build /out/ fromstage/
COPY --from=build /out/deep /out/vars several/
COPY --from=0 --chown=app /out/vars single
COPY . all/
COPY empty /emptied
COPY <<one <<"two" inline/
hello $PATH
one
raw $PATH
two
"""
SURROUNDINGS = ("dev", "proc", "run", "sys", "tmp", "etc/hostname", "etc/hosts", "etc/resolv.conf", "var/cache", "var/log")


@pytest.mark.requires("buildah", "tar", "root")
@pytest.mark.requires("patience")
def test_buildah_makes_the_same_files(project: Launch, tmp_path: Path) -> None:
    write(project, {"base/Dockerfile": "FROM bootstrap:debian/trixie\n"})
    project("build", "-q", "-t", "judged/base", "base")
    project("save", "-q", "judged/base", "-o", str(tmp_path / "base"), "--format", "oci")
    context = {"a.txt": "a", "b.txt": "b", "lib/one.py": "1", "lib/sub/two.py": "2", "skip.log": "-", "tool.sh": "#!/bin/sh\n"}
    write(project, {**context, "Dockerfile": JUDGED.format(base=f"oci:{tmp_path}/base"), ".dockerignore": "*.log\nbase\nconf\n"})
    (project.project / "tool.sh").chmod(0o755)
    (project.project / "empty").mkdir()
    (project.project / "lib" / "link.py").symlink_to("one.py")
    subprocess.run(["tar", "-czf", "x.tar.gz", "lib", "a.txt"], cwd=project.project, check=True)
    project("build", "-q", "-t", "judged/ours", ".")
    project("save", "-q", "judged/ours", "-o", str(tmp_path / "ours"), "--format", "oci")
    theirs = buildah_tree(project.project, tmp_path, "bud", "Dockerfile")
    ours = buildah_tree(project.project, tmp_path, "from", f"oci:{tmp_path}/ours")
    assert {path for path in theirs.keys() | ours.keys() if theirs.get(path) != ours.get(path)} == set()


def buildah_tree(context: Path, tmp_path: Path, how: str, what: str) -> dict[str, str]:
    """What is at every path of an image that buildah built, or only unpacked."""
    options = ["--storage-driver", "vfs", "--root", str(tmp_path / "root"), "--runroot", str(tmp_path / "runroot")]
    environ = {**os.environ, "TMPDIR": str(tmp_path)}

    def buildah(*words: str) -> str:
        argv = ["buildah", *options, *words]
        done = subprocess.run(argv, cwd=context, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    if how == "bud":
        limits = ["--ulimit", "nproc=9000:9000", "--ulimit", "nofile=9000:9000"]
        buildah("bud", "-q", "--isolation", "chroot", *limits, "-f", what, "-t", "judged", ".")
        what = "judged"
    container = buildah("from", what)
    try:
        return listing(Path(buildah("mount", container)))
    finally:
        buildah("rm", container)


def listing(root: Path) -> dict[str, str]:
    """Path → type, mode, owner, and the content or where a link leads."""
    found: dict[str, str] = {}
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        # useradd writes the day into shadow, and leaves backups that our layers don't keep; where buildah mounted something, an
        # empty file stays.
        of_accounts = name.startswith("etc/shadow") or (name.startswith("etc/") and name.endswith("-"))
        if of_accounts or any(name == one or name.startswith(f"{one}/") for one in SURROUNDINGS):
            continue
        status = path.lstat()
        content = os.readlink(path) if path.is_symlink() else path.read_bytes().hex()[:400] if path.is_file() else ""
        found[name] = json.dumps([oct(status.st_mode), status.st_uid, status.st_gid, content])
    return found
