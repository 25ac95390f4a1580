"""Inside the container of a job of a Hydra program: start the program as a person would, with what makes Hydra tell its result.

    start_job.py file train.py lr=0.1             python train.py lr=0.1 …
    start_job.py module pkg.train lr=0.1          python -m pkg.train lr=0.1 …
    start_job.py function pkg.train:main lr=0.1   the function that a console script calls
    start_job.py object task.pickle lr=0.1        a task that no name leads to, composed outside (`run_task.py`)

It is executed by the image's Python with this directory mounted, so it uses the standard library only, and nothing newer than
Python 3.8. What comes after the words of the command: `launch_job`, found by Hydra as a plugin.
"""

import importlib.util
import json
import os
import sys
from importlib.metadata import version
from typing import NoReturn

HERE = os.path.dirname(os.path.abspath(__file__))


def main():  # type: () -> None
    kind, program, *arguments = sys.argv[1:]
    if importlib.util.find_spec("hydra") is None:
        refuse("hydra-core is not installed in the image of the job")
    if kind == "file" and not os.path.isfile(program):
        refuse(f"`{program}` is not in the image: its code is what `code.root` and `code.include` of the experiment name")
    others = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([HERE] + ([others] if others else []))
    if kind == "object":
        os.execv(sys.executable, [sys.executable, os.path.join(HERE, "run_task.py"), program])
    os.execv(sys.executable, [sys.executable, *start(kind, program), *arguments, *for_this_job()])


def start(kind, program):  # type: (str, str) -> list[str]
    if kind == "file":
        return [program]
    if kind == "module":
        return ["-m", program]
    module, _, function = program.partition(":")
    return ["-c", f"import sys; sys.argv[0] = {function!r}; from {module} import {function} as main; main()"]


def for_this_job():  # type: () -> list[str]
    hydra = tuple(int(number) for number in version("hydra-core").split(".")[:2])
    return [
        *(["hydra.mode=RUN"] if hydra >= (1, 2) else []),  # what Hydra 1.1 does without -m
        "hydra.run.dir=" + os.environ["LAUNCH_OUTPUTS"],
        "hydra.job.id=" + json.dumps(os.environ["LAUNCH_RUN_ID"]),
        "++hydra.callbacks.launch_job._target_=hydra_plugins.launch_job.TellResult",
    ]


def refuse(message: str) -> NoReturn:
    """No job of this image can run; whoever started it reads why."""
    with open(os.path.join(os.environ["LAUNCH_OUTPUTS"], "hydra_job.json"), "w") as file:
        json.dump({"unusable": message}, file)
    sys.exit("error: " + message)


if __name__ == "__main__":
    main()
