"""What people call a step: `numpy 2.3.1`, `dpkg --configure -a`; and what an image's history calls it."""

from __future__ import annotations

import re

from runtime.build.plan import (
    ContextFiles,
    CopyFiles,
    CopyIn,
    FetchedFile,
    ImportImage,
    InlineFiles,
    InstallTree,
    InstallWheel,
    MakeDirectory,
    MakeVenv,
    RunCommand,
    StageFiles,
    Step,
    UnpackDebs,
)
from runtime.plurals import counted

_POSITION = re.compile(r"\[(?:[a-z][a-z0-9_.-]* )?\d+/\d+\] ")


def step_label(step: Step) -> str:
    match step:
        case UnpackDebs():
            return f"debian {step.suite}: {counted(len(step.packages), 'more package' if step.onto_base else 'package')}"
        case CopyIn():
            return f"code in {step.target} ({counted(len(step.files), 'file')})"
        case RunCommand() | CopyFiles() | MakeDirectory() if step.label:
            return step.label
    return history_label(step)


def history_label(step: Step) -> str:
    """The words in the image's history. They are part of its digest: changing one changes what every plan's image is called."""
    match step:
        case UnpackDebs():
            more = "more " if step.onto_base else ""
            return f"debian {step.suite}: {len(step.packages)} {more}packages"
        case ImportImage():
            # Where there is a tag, the digest that it was pinned to is too long for a line.
            name = step.reference.partition("@")[0]
            return f"import {name if ':' in name.rpartition('/')[2] else step.reference}"
        case InstallTree(git=""):
            place = "the code" if step.directory == "." else step.directory
            return f"{step.name} from {place}{' (editable)' if step.target else ''}"
        case InstallTree():
            commit = step.git.partition("#")[0].rpartition("@")[2][:12]
            return f"{step.name} {step.version}" + (f" ({commit})" if step.version != commit else "")
        case InstallWheel():
            return f"{step.name} {step.version}"
        case MakeVenv():
            return f"venv for python {step.version}"
        case RunCommand():
            return _without_position(step.label) or " ".join(step.argv)
        case CopyIn():
            return f"code in {step.target} ({len(step.files)} files)"
        case CopyFiles():
            return _without_position(step.label) or f"COPY {_source_words(step)} {step.target}"
        case MakeDirectory():
            return _without_position(step.label) or f"WORKDIR {step.path}"


def created_by(step: Step) -> str:
    """`created_by` of the step's entry in the history of an image: for an instruction of a Dockerfile as Docker has it."""
    match step:
        case RunCommand(stdin="") if _POSITION.match(step.label):
            # The words that ran, which the label may have shortened.
            return f"RUN {' '.join(step.argv)}"
        case RunCommand() | CopyFiles() | MakeDirectory() if _POSITION.match(step.label) or not isinstance(step, RunCommand):
            return history_label(step)
        case ImportImage():
            # Not its reference: where an image lay is no part of what it is.
            return f"launch: import {step.manifest_digest}"
    return f"launch: {history_label(step)}"


def _without_position(label: str) -> str:
    """`COPY train.py .` of `[runtime 3/5] COPY train.py .`: where a step stands is news while it is made."""
    return _POSITION.sub("", label)


def _source_words(step: CopyFiles) -> str:
    match step.source:
        case ContextFiles(files=files):
            return " ".join(source for source, _, _, _ in files[:3]) + (" …" if len(files) > 3 else "")
        case StageFiles(stage=stage, patterns=patterns):
            return f"--from={stage} {' '.join(patterns)}"
        case FetchedFile(name=name):
            return name
        case InlineFiles(files=files):
            return " ".join(name for name, _ in files)
