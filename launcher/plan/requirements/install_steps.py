"""From what is locked to the steps that install it: a file, a commit of a git repository, or a directory of the code."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from launcher.errors import ConfigError
from launcher.plan.launch_plan import CodeSnapshot, LockedWheel
from runtime.build.plan import InstallTree, InstallWheel, MakeVenv, minor_of
from runtime.light_dataclasses import replace


class CodeInImage(NamedTuple):
    """The code, and where the image has it."""

    code: CodeSnapshot
    target: str


def install_step(wheel: LockedWheel, venv: MakeVenv, *, built_on: str = "", code: CodeInImage | None = None) -> InstallWheel:
    """The step that installs *wheel* into *venv*. *built_on* stands for what a build finds around it; *code* is needed for a
    package that is part of it."""
    step = InstallWheel(
        name=wheel.name,
        version=wheel.version,
        sha256=wheel.sha256,
        filename=wheel.filename,
        interpreter=venv.interpreter,
        python=minor_of(venv.version),
        prefix=venv.prefix,
        built_on=built_on if wheel.sdist else "",
    )
    if wheel.is_git:
        return _as_tree(step, git=wheel.url)
    if wheel.directory is not None:
        return _of_the_code(step, wheel, wheel.directory, code)
    return step


def _as_tree(step: InstallWheel, **fields: object) -> InstallTree:
    own = {name: getattr(step, name) for name in InstallWheel.__dataclass_fields__}
    return InstallTree(**own, **fields)  # type: ignore[arg-type]


def _of_the_code(step: InstallWheel, wheel: LockedWheel, directory: str, where: CodeInImage | None) -> InstallTree:
    from launcher.plan.requirements.project_files import build_texts, read_by_build, stays_editable, version_description

    if where is None:
        raise ConfigError(
            f"requirement `{wheel.name}` is a directory of the code, and this image has no code of its own",
            hint="`code` names a directory that is copied into it",
        )
    place = Path(where.code.root) / directory
    texts = build_texts(place)
    tree = _as_tree(step, source=where.code.root, files=where.code.files, directory=directory)
    paths = [path for path, _, _ in tree.rows]
    if not any(name in paths for name in ("pyproject.toml", "setup.py")):
        raise ConfigError(
            f"requirement `{wheel.name}`: no pyproject.toml or setup.py of `{directory}` is part of the code",
            hint="`code.include`, `code.exclude` and .gitignore say what is",
        )
    if wheel.is_editable and stays_editable(texts):
        target = where.target if directory == "." else f"{where.target}/{directory}"
        tree = replace(tree, contents=read_by_build(paths, texts), target=target)
    tree = replace(tree, description=version_description(place, texts))
    return replace(tree, sha256=tree.content_digest.hex)
