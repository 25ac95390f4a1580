"""`launch build experiment=NAME …`: the image only; `launch build -t NAME CONTEXT`: that of a Dockerfile."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from launcher.cli import render
from launcher.cli.arguments import Talk, request_of
from launcher.cli.command import Options
from launcher.cli.images.dockerfile_build import build_dockerfile, is_dockerfile_build
from launcher.cli.timings import Timings
from launcher.errors import ConfigError, LaunchError
from runtime.build.builder import BuildResult
from runtime.oci.digest import Digest
from runtime.plurals import counted
from runtime.state_dir import state_dir
from runtime.store.records import Image
from runtime.store.store import Store


def build_image(options: Options) -> int:
    timings = Timings()
    talk = Talk.of(options, quiet=options.json or options.progress == "quiet")
    _check_outputs(options)
    if is_dockerfile_build(options):
        with timings.phase("build"):
            result = build_dockerfile(options, talk)
    else:
        from launcher.cli.prepare import prepare_image

        result = prepare_image(request_of(options), timings, talk=talk).result
    if options.iidfile is not None:
        _write_iidfile(options.iidfile, result.image.digest)
    pushed = _push(result.image, options.tag, talk) if options.push else []
    _print_result(result, pushed, as_json=options.json)
    if options.timings:
        render.say("\n".join(timings.lines()))
    return 0


def _check_outputs(options: Options) -> None:
    """Before anything is built for them."""
    if options.iidfile is not None and not options.iidfile.absolute().parent.is_dir():
        raise ConfigError(f"`--iidfile {options.iidfile}`: there is no directory `{options.iidfile.parent}`")
    if options.push and not options.tag:
        hint = "`-t REGISTRY/NAME:TAG` says where it goes; an experiment's image: `launch push experiment=NAME REGISTRY/NAME:TAG`"
        raise ConfigError("`--push` needs the name of the image", hint=hint)


def _write_iidfile(path: Path, digest: Digest) -> None:
    """What `--iidfile` asks for: the digest alone, without a line end."""
    try:
        path.write_text(digest, encoding="ascii")
    except OSError as error:
        raise LaunchError(f"the image {digest.short} is built, but `{path}` cannot be written: {error.strerror}") from error


def _push(image: Image, names: Sequence[str], talk: Talk) -> list[str]:
    """`NAME@DIGEST` of each, as the registry has it."""
    from launcher.cli.images.push import push_target, push_to
    from runtime.registry.known_places import place_name

    store = Store(state_dir().store)
    pushed = (push_to(image, store, push_target(name), talk, compression=None) for name in names)
    return [f"{place_name(one.reference)}@{one.digest}" for one in pushed]


def _print_result(result: BuildResult, pushed: Sequence[str], *, as_json: bool) -> None:
    built = sum(not step.cached for step in result.steps)
    if as_json:
        document = {
            "image_digest": str(result.image.digest),
            "layers": [
                {
                    "label": s.layer.label,
                    "diff_id": str(s.layer.diff_id),
                    "size_bytes": sum(layer.size_bytes for layer in s.layers),
                    "cached": s.cached,
                    "seconds": s.seconds,
                }
                for s in result.steps
            ],
            "built": built,
            "cached": len(result.steps) - built,
            "seconds": result.seconds,
            "pushed": list(pushed),
        }
        render.print_json(document)
    else:
        image = result.image
        print(f"{image.digest}  {counted(len(image.layers), 'layer')}  {render.size(image.size_bytes)}")
        for name in pushed:
            print(name)
