"""A Dockerfile on this machine as an image in which nothing floats: read, its images pinned, its context chosen and hashed.

`launcher.plan.dockerfile` knows what the file means; here are the files around it (ignore file, context, git) and the pins.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from launcher.config.spec import Image
from launcher.errors import ConfigError, Origin
from launcher.plan.bases.debian_record import debian_architecture
from launcher.plan.bases.pinned_base import Base
from launcher.plan.bases.pinning import Pinning
from launcher.plan.code.code_snapshot import git_state
from launcher.plan.dockerfile.context import BuildContext
from launcher.plan.dockerfile.dockerignore import Ignore
from launcher.plan.dockerfile.parse import parse
from launcher.plan.dockerfile.stages import target_stage
from launcher.plan.dockerfile.translate import PinnedImage, TranslatedImage, translate
from launcher.plan.launch_plan import CodeSnapshot
from launcher.plan.origins import shown_path
from launcher.plan.stat_cache import cache_for
from runtime.build.plan import BuildPlan
from runtime.build.sources import BuildSources
from runtime.light_dataclasses import dataclass
from runtime.oci.digest import Digest, digest_json
from runtime.state_dir import StateDir

STANDARD_INPUT = "-"
"""`-f -`: the Dockerfile comes from there."""


@dataclass(frozen=True, slots=True)
class DockerfileRequest:
    """What names the image of a Dockerfile. Paths are absolute."""

    dockerfile: str
    context: str
    target: str | None
    args: Mapping[str, str]
    network: str | None = None
    """What `--network=default` of RUN means."""
    gpu: str = "auto"
    """What `RUN --device=nvidia.com/gpu=all` gets: `image.gpu`."""
    mirror: str | None = None
    """The Debian archive, for a stage `FROM bootstrap:debian/…`."""


def request_of(image: Image) -> DockerfileRequest:
    """The request of an experiment's `image.dockerfile`."""
    assert image.dockerfile is not None
    context = image.context if image.context is not None else os.path.dirname(image.dockerfile)
    return DockerfileRequest(image.dockerfile, context, image.target, image.args, gpu=image.gpu or "auto", mirror=image.mirror)


def read_dockerfile(
    request: DockerfileRequest, pinning: Pinning, *, origin: Origin | None = None, target_origin: Origin | None = None
) -> TranslatedImage:
    """The image of *request*. *origin* is where the Dockerfile is named, *target_origin* where its stage is."""
    text, shown = _text(_in_lower_case(request.dockerfile), origin)
    dockerfile = parse(text, path=shown)
    try:
        target_stage(dockerfile, request.target)
    except ConfigError as error:
        error.origin = target_origin or origin or Origin(file=shown)
        raise

    def pin(reference: str, origin: Origin) -> PinnedImage:
        return _pin_image(reference, origin, request, pinning)

    try:
        return translate(
            dockerfile,
            context=_context(request, pinning.state, origin),
            pin=pin,
            architecture=debian_architecture(),
            target=request.target,
            args=request.args,
            network=request.network,
            gpu=request.gpu,
        )
    except ConfigError as error:
        # A reason that stands in no line of the file.
        error.origin = error.origin or origin or Origin(file=shown)
        raise


def build_plan_of(translated: TranslatedImage) -> BuildPlan:
    """The plan of *translated* alone."""
    return BuildPlan(steps=translated.steps, config=translated.config, stages=translated.stages)


def image_digest(translated: TranslatedImage) -> Digest:
    """What stands for *translated* in an experiment's identity: all its steps, with the digests of its images and files, and
    what a container of it is told. Not its labels and ports, which nothing of a run depends on."""
    from runtime.build.cache_key import stage_digests

    config = translated.config
    stages = (*translated.stages, translated.steps)
    steps = stage_digests(BuildPlan((), config, stages=stages))[-1]
    told = [config.env, config.workdir, config.user, list(config.entrypoint), list(config.command)]
    return digest_json({"kind": "dockerfile", "steps": steps, "config": told})


def context_snapshot(translated: TranslatedImage, request: DockerfileRequest, *, environ: Mapping[str, str]) -> CodeSnapshot:
    """The files that *translated* takes of its context, as an experiment's code."""
    root = os.path.realpath(request.context)
    return CodeSnapshot(
        root=root,
        files=translated.files,
        digest=translated.context_digest,
        size_bytes=translated.size_bytes,
        git=git_state(root, environ=environ),
    )


def as_base(
    translated: TranslatedImage,
    pinning: Pinning,
    *,
    name: str,
    apt: Sequence[str],
    asks_python: bool,
    secrets: Mapping[str, bytes],
    mirror: str | None,
) -> Base:
    """*translated* as what an experiment's own packages, wheels and code come on top of. *asks_python*: it is built, where the
    store does not have it, with Debian's packages from *mirror*, and its Python asked."""
    from launcher.plan.bases.image_python import with_python
    from launcher.plan.bases.imported_base import apt_step

    base = Base(
        steps=(*translated.steps, *([apt_step(apt)] if apt else [])),
        digest=image_digest(translated),
        architecture=translated.config.architecture,
        env=dict(translated.config.env),
        has_own_python=True,
        image_config=translated.config,
        stages=translated.stages,
        warnings=translated.warnings,
    )
    if not asks_python:
        return base
    plan = build_plan_of(translated)

    def sources() -> BuildSources:
        return build_sources(plan, state=pinning.state, environ=pinning.environ, secrets=secrets, mirror=mirror)

    return with_python(base, plan, pinning, name=name, sources=sources)


def build_sources(
    plan: BuildPlan,
    *,
    state: StateDir,
    environ: Mapping[str, str],
    secrets: Mapping[str, bytes],
    mirror: str | None = None,
) -> BuildSources:
    """Where the inputs of *plan* come from: the Debian archive for stages that begin with a base of ours, secrets, caches."""
    from launcher.plan.image_plan import build_mounts, debian_source_of

    debian = partial(debian_source_of, plan.all_steps, Image(mirror=mirror), state=state, environ=environ)
    return BuildSources(debian=debian, mirror=mirror, secrets=secrets, cache_mounts=build_mounts(state))


def _in_lower_case(path: str) -> str:
    """`dockerfile` where there is no `Dockerfile`, as BuildKit takes it; the ignore file keeps the name that was asked for."""
    lower = os.path.join(os.path.dirname(path), "dockerfile")
    return lower if os.path.basename(path) == "Dockerfile" and not os.path.lexists(path) and os.path.exists(lower) else path


def _text(path: str, origin: Origin | None) -> tuple[str, str]:
    """The Dockerfile, and what messages call it."""
    shown = "Dockerfile" if path == STANDARD_INPUT else shown_path(Path(path))
    try:
        if path == STANDARD_INPUT:
            return sys.stdin.buffer.read().decode("utf-8-sig"), shown
        return Path(path).read_text(encoding="utf-8-sig"), shown
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(f"there is no Dockerfile `{shown}`", origin=origin, hint=_other_dockerfile(path)) from None
    except IsADirectoryError:
        raise ConfigError(f"`{shown}` is a directory, not a Dockerfile", origin=origin, hint=_other_dockerfile(path)) from None
    except PermissionError:
        raise ConfigError(f"cannot read the Dockerfile `{shown}`", origin=origin) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"the Dockerfile `{shown}` is not UTF-8: {error.reason}", origin=origin) from None


def _other_dockerfile(path: str) -> str | None:
    directory = path if os.path.isdir(path) else os.path.dirname(path)
    try:
        near = sorted(name for name in os.listdir(directory) if "dockerfile" in name.lower() or name == "Containerfile")
    except OSError:
        return None
    near = [name for name in near if not name.endswith(".dockerignore")]
    return f"did you mean `{shown_path(Path(directory, near[0]))}`?" if near else None


def _context(request: DockerfileRequest, state: StateDir, origin: Origin | None) -> BuildContext:
    if not os.path.isdir(request.context):
        what = "is not a directory" if os.path.exists(request.context) else "does not exist"
        raise ConfigError(f"the build context `{request.context}` {what}", origin=origin)
    ignore_file = Path(request.context, ".dockerignore")
    own = Path(f"{request.dockerfile}.dockerignore")
    if request.dockerfile != STANDARD_INPUT and own.is_file():
        ignore_file = own
    try:
        text = ignore_file.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        text = ""
    except (PermissionError, IsADirectoryError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read `{shown_path(ignore_file)}`: {error}", origin=origin) from None
    return BuildContext(
        Path(request.context),
        ignore=Ignore.parse(text, path=shown_path(ignore_file)),
        ignore_file=shown_path(ignore_file),
        cache=cache_for(f"{os.path.realpath(request.context)}/.dockerfile", cache_dir=state.cache),
        leave_out=state.root,
    )


def _pin_image(reference: str, origin: Origin, request: DockerfileRequest, pinning: Pinning) -> PinnedImage:
    if reference.startswith("bootstrap:"):
        from launcher.plan.bases.base_image import pin_base

        base = pin_base(Image(base=reference, mirror=request.mirror), pinning, apt=(), origin=origin)
        return PinnedImage(base.steps, {}, base.env)
    from launcher.plan.bases.imported_base import pin_reference
    from launcher.plan.bases.stored_image import adding_similar, find_stored_image

    stored = None if pinning.refresh else find_stored_image(reference, state=pinning.state, origin=origin)
    if stored is not None:
        return stored
    with adding_similar(reference, state=pinning.state):
        found = pin_reference(_absolute(reference, request), pinning, origin=origin)
    return PinnedImage((found.step,), found.config)


def _absolute(reference: str, request: DockerfileRequest) -> str:
    """An image in files, named from the Dockerfile's own directory."""
    transport, colon, rest = reference.partition(":")
    if not colon or transport not in ("oci", "docker-archive", "oci-archive") or rest.startswith("/"):
        return reference
    return f"{transport}:{os.path.normpath(os.path.join(os.path.dirname(request.dockerfile), rest))}"
