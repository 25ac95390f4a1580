"""What people call a step: `numpy 2.3.1`, `dpkg --configure -a`; and what an image's history calls it."""

from __future__ import annotations

from runtime.build.plan import CopyIn, ImportImage, InstallWheel, MakeVenv, RunCommand, Step, UnpackDebs


def step_label(step: Step) -> str:
    match step:
        case UnpackDebs():
            return f"debian {step.suite}: {counted(len(step.packages), 'more package' if step.onto_base else 'package')}"
        case CopyIn():
            return f"code in {step.target} ({counted(len(step.files), 'file')})"
    return history_label(step)


def history_label(step: Step) -> str:
    """The words in the image's history. They are part of its digest: changing one changes what every plan's image is called."""
    match step:
        case UnpackDebs():
            more = "more " if step.onto_base else ""
            return f"debian {step.suite}: {len(step.packages)} {more}packages"
        case ImportImage():
            return f"import {step.reference}"
        case InstallWheel():
            return f"{step.name} {step.version}"
        case MakeVenv():
            return f"venv for python {step.version}"
        case RunCommand():
            return step.label or " ".join(step.argv)
        case CopyIn():
            return f"code in {step.target} ({len(step.files)} files)"


def counted(number: float, noun: str) -> str:
    """`1 file`, `2 files`, `0.5 cpus`."""
    return f"{number:g} {noun}{'' if number == 1 else 's'}"
