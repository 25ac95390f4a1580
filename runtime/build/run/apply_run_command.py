"""Apply a RunCommand step: run it in a container on the layers below; what it changed is the layer.

The environment holds what makes tools repeatable (SOURCE_DATE_EPOCH makes Python write hash-checked bytecode, a fixed hash seed
orders sets) and nothing of the caller's.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from runtime.build.cache_key import chain, key_fields, step_key
from runtime.build.image_users import resolve_user
from runtime.build.layers_below import StageLayers, no_stage
from runtime.build.observer import BuildObserver
from runtime.build.plan import LAYER_MTIME_S, RunCommand, Step
from runtime.build.run.changed_tree import changed_tree
from runtime.build.run.run_mounts import RunMounts, prepare_mounts
from runtime.build.sources import BuildSources
from runtime.build.step_label import step_label
from runtime.container.run_once import run_to_completion
from runtime.container.spec import ContainerSpec
from runtime.errors import BuildError
from runtime.kernel.id_maps import IdMapKind
from runtime.network.mode import NetworkMode
from runtime.oci.digest import Digest
from runtime.rootfs.accounts import User
from runtime.store.failures import NO_ROOM
from runtime.store.records import Layer
from runtime.store.store import Store

if TYPE_CHECKING:
    from runtime.build.debian.shown_archive import ShownArchive

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "DEBIAN_FRONTEND": "noninteractive",
    "PYTHONHASHSEED": "0",
    "SOURCE_DATE_EPOCH": str(LAYER_MTIME_S),
}

_UNKNOWN_CERTIFICATE = (
    "certificate verify failed",  # Python, OpenSSL
    "certificate problem",  # curl, git
    "certificate is not trusted",  # wget, apt (GnuTLS)
    "certificate verification failed",
    "self-signed certificate in",  # node
    "unable to get local issuer certificate",
    "signed by unknown authority",  # Go
    "invalid peer certificate",  # Rust, uv
    "have a known issuer",  # wget
)
_CERTIFICATE_HINT = (
    "certificates that only this machine trusts are in no image: COPY the CA's into /usr/local/share/ca-certificates and run "
    "`update-ca-certificates`, or show it to this RUN alone: `--mount=type=bind,source=ca.pem,target=/ca.pem` (or `type=secret`) "
    "with SSL_CERT_FILE, PIP_CERT or CURL_CA_BUNDLE=/ca.pem"
)


def apply_run_command(
    step: RunCommand,
    *,
    store: Store,
    below: Sequence[Layer],
    observer: BuildObserver,
    archive: ShownArchive | None = None,
    stage_layers: StageLayers = no_stage,
    stages: Sequence[Digest] = (),
    sources: BuildSources | None = None,
) -> Layer:
    """The layer of *step* on the layers *below*, bottom first. Raises BuildError with the end of its output when it fails.

    *archive* is seen by the command and no part of the layer. A command that sees another stage has a second key, with what
    that stage holds instead of how it was made: a stage built again with the same files doesn't make it run again.
    """
    parent = chain(below)
    key, fields = step_key(step, parent, stages), key_fields(step, parent, stages)
    seen = {mount.stage: chain(stage_layers(mount.stage)) for mount in step.mounts if mount.stage is not None}
    second = step_key(step, parent, {stage: content for stage, content in seen.items() if content is not None}) if seen else key

    def run() -> Layer:
        with store.container_staging() as staging, ExitStack() as held:
            scratch = staging / "mounts"
            scratch.mkdir(mode=0o755)
            mounts = prepare_mounts(
                step.mounts,
                scratch=scratch,
                store=store,
                stage_layers=stage_layers,
                sources=sources or BuildSources(),
                held=held,
            )
            layers = [store.layer_dir(layer) for layer in below]
            mounts.files.extend(archive.files if archive is not None else ())
            made = archive.lay_into(staging / "overlay", layers) if archive is not None else []
            upper = run_on_layers(step, staging=staging, store=store, below=below, observer=observer, mounts=mounts)
            if archive is not None:
                archive.take_from(upper, made)
            tree = changed_tree(upper, step, layers, tell=observer.message)
            return store.publish(second, upper, tree, label=step_label(step), fields=fields if second == key else None)

    if second == key:
        return run()
    with store.lock([second]):
        layer = store.find(second) or run()
    return store.remember_key(key, layer, fields=fields)


def run_on_layers(
    step: RunCommand,
    *,
    staging: Path,
    store: Store,
    below: Sequence[Layer],
    observer: BuildObserver,
    mounts: RunMounts | None = None,
    part_of: Step | None = None,
) -> Path:
    """Run the command of *step* on *below* with an overlay in *staging*; the directory that holds what it changed. What it prints
    is said of the plan's step, which is *part_of* where *step* is only how that one is done."""
    label = step_label(step)
    overlay = staging / "overlay"
    overlay.mkdir(mode=0o700, exist_ok=True)
    mounted = mounts or RunMounts()
    layers = tuple(store.layer_dir(layer) for layer in below)
    user = resolve_user(step.user, layers) if step.user else User(0, 0, (0,), ENVIRONMENT["HOME"])
    spec = ContainerSpec(
        container_id=f"build-{secrets.token_hex(4)}",
        layers=layers,
        overlay_dir=overlay,
        argv=step.argv,
        env=ENVIRONMENT | {"HOME": user.home} | dict(step.env),
        cwd=step.cwd,
        hostname="build",
        uid=user.uid,
        gid=user.gid,
        groups=user.groups,
        network=_network(step.network),
        binds=tuple(mounted.binds),
        other_layers=tuple(mounted.layers),
        tmpfs=tuple(mounted.tmpfs),
        shm_bytes=mounted.shm_bytes,
        tmpfs_files=tuple(mounted.files),
        build=True,
    )
    lines = _Lines(part_of or step, observer, mounted)
    # As an ordinary user always with one id, also where newuidmap would give more: everything on disk has to be the caller's,
    # who could neither publish nor remove a file of a subordinate id.
    kinds = tuple(IdMapKind) if os.geteuid() == 0 else (IdMapKind.SINGLE,)
    with ExitStack() as held:
        stdin = held.enter_context(_input(step.stdin))
        if step.gpu:
            from runtime.build.run.step_gpu import with_gpu

            spec = held.enter_context(with_gpu(spec, step, observer.message))
        ended, tail = run_to_completion(spec, output=lines.feed, kinds=kinds, env=mounted.env, stdin=stdin)
    lines.end()
    if ended.shell_code != 0:
        said = mounted.without_secrets(tail)
        raise BuildError(
            f"`{label}` exited with {ended.shell_code}:\n{_indent(said)}", hint=_hint(step, said.decode(errors="replace"))
        )
    return overlay / "u"


@contextmanager
def _input(text: str) -> Iterator[int | None]:
    """A descriptor that gives *text* to read; None, which is /dev/null, for no text."""
    if not text:
        yield None
        return
    with open(os.memfd_create("stdin", os.MFD_CLOEXEC), "w+b") as file:
        file.write(text.encode())
        file.seek(0)
        yield file.fileno()


def _network(mode: str) -> NetworkMode:
    for known in get_args(NetworkMode):
        if mode == known:
            return mode  # type: ignore[return-value]
    raise BuildError(f"a build step cannot have network `{mode}`", hint=f"one of {', '.join(get_args(NetworkMode))}")


def _indent(output: bytes) -> str:
    lines = output.decode(errors="replace").rstrip().splitlines()[-20:]
    return "\n".join(f"    {line}" for line in lines) or "    (it printed nothing)"


def _hint(step: RunCommand, output: str) -> str | None:
    if step.network == "none" and any(
        sign in output for sign in ("resolve host", "resolution", "Name or service", "unreachable")
    ):
        return "build steps run without a network; packages belong in `image.apt`, wheels in `image.requirements`"
    if "No space left on device" in output or "Disk quota exceeded" in output:
        return f"a step writes to the disk of the store, which may be full; {NO_ROOM}"
    if any(sign in output.lower() for sign in _UNKNOWN_CERTIFICATE):
        return _CERTIFICATE_HINT
    return None


class _Lines:
    """Output in pieces, told to the observer in lines, without secrets."""

    def __init__(self, step: Step, observer: BuildObserver, mounts: RunMounts) -> None:
        self._step = step
        self._observer = observer
        self._mounts = mounts
        self._rest = b""

    def feed(self, piece: bytes) -> None:
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            self._observer.output(self._step, self._mounts.without_secrets(line).decode(errors="replace").rstrip("\r"))

    def end(self) -> None:
        if self._rest:
            self.feed(b"\n")
