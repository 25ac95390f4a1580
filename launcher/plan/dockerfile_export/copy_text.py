"""A CopyFiles step as COPY or ADD, with what it copies in the context folder."""

from __future__ import annotations

import re
from collections.abc import Callable

from launcher.plan.dockerfile_export.context_folder import ContextFolder
from launcher.plan.dockerfile_export.quoting import bare, words
from runtime.build.plan import ContextFiles, CopyFiles, InlineFiles, StageFiles

_PLAIN_NAME = re.compile(r"[\w@%+=:,.-]+\Z")


def copy_text(step: CopyFiles, folder: ContextFolder, stage_name: Callable[[int], str]) -> str | None:
    """The instruction; None when only the archive of the layer can say what it makes.

    Of an archive that ADD unpacks for somebody, builders do not agree whose its content is.
    """
    if step.unpack and step.owner:
        return None
    match step.source:
        case StageFiles(stage=stage, patterns=patterns):
            sources = [f"/{pattern}" for pattern in patterns]
            return _text("COPY", [f"--from={stage_name(stage)}", *_flags(step)], sources, step.target)
        case ContextFiles(root=root, files=files, single=single):
            if (single or step.unpack) and not all(_PLAIN_NAME.match(path) for _, path, _, _ in files):
                return None
            copied = folder.files(root, files, "files")
            several = single or step.unpack
            sources = [f"{copied}/{path}" for _, path, _, _ in files] if several else [f"{copied}/"]
            return _text("ADD" if step.unpack else "COPY", _flags(step), sources, _target(step, single))
        case InlineFiles(files=files):
            if not all(_PLAIN_NAME.match(name) for name, _ in files):
                return None
            copied = folder.texts(files, "texts")
            return _text("COPY", _flags(step), [f"{copied}/{name}" for name, _ in files], step.target)
    return None


def _target(step: CopyFiles, single: bool) -> str:
    return step.target if single else step.target.rstrip("/") + "/"


def _flags(step: CopyFiles) -> list[str]:
    owner = [f"--chown={bare(step.owner)}"] if step.owner else []
    return [*owner, *([f"--chmod={step.mode:04o}"] if step.mode is not None else [])]


def _text(keyword: str, flags: list[str], sources: list[str], target: str) -> str:
    return " ".join([keyword, *flags, words([*sources, target])])
