"""What people call a step: `numpy 2.3.1`, `dpkg --configure -a`."""

from __future__ import annotations

from runtime.build.plan import CopyIn, ImportImage, InstallWheel, MakeVenv, RunCommand, Step, UnpackDebs


def step_label(step: Step) -> str:
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
