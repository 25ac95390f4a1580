"""Inside the container of a job whose task no name leads to: take the task and its configuration out of their pickle, and run the
job as Hydra's launchers for other processes do. Nothing newer than Python 3.8.

    run_task.py /opt/launch-hydra-task/task.pickle

The pickle comes from the person's own program; a job's result goes out as JSON (`launch_job`).
"""

import json
import os
import pickle
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from start_job import refuse  # type: ignore[import-not-found]  # beside this file


def main() -> None:
    head, body = Path(sys.argv[1]).read_bytes().split(b"\n", 1)
    sys.path[0] = os.getcwd()  # as for the program itself
    result = run(unpickled(json.loads(head), body))
    tell(result)
    result.return_value  # noqa: B018  (raises what the task raised)


def unpickled(head: "dict[str, str]", body: bytes) -> Any:
    here = "{}.{}".format(*sys.version_info)
    if head["python"] != here and b"cloudpickle" in body:  # with code in it, which is of one version
        refuse(f"the task was copied from Python {head['python']}, and the image has {here}: `image.python` chooses it")
    try:
        return pickle.loads(body)
    except ModuleNotFoundError as error:
        refuse(f"the task needs the module `{error.name}`, which is not in the image of the job")
    except Exception as error:  # whatever an object raises that does not fit this image
        refuse(f"the task cannot be taken out of its pickle in the image of the job ({type(error).__name__}: {error})")


def run(job: "dict[str, Any]") -> Any:
    from hydra.core.hydra_config import HydraConfig
    from hydra.core.utils import JobRuntime, run_job, setup_globals
    from hydra.types import HydraContext, RunMode
    from omegaconf import open_dict, read_write
    from omegaconf.basecontainer import BaseContainer

    setup_globals()
    BaseContainer._resolvers.update(job["resolvers"])
    JobRuntime.instance().set("name", job["job_name"])
    if job["version_base"] is not None:
        from hydra.version import setbase

        setbase(job["version_base"])
    config = job["config"]
    with read_write(config), open_dict(config):
        config.hydra.run.dir = os.environ["LAUNCH_OUTPUTS"]
        config.hydra.job.id = os.environ["LAUNCH_RUN_ID"]
        if "mode" in config.hydra:
            config.hydra.mode = RunMode.RUN
    HydraConfig.instance().set_config(config)
    no_loader: Any = None  # it has done its work
    context = HydraContext(config_loader=no_loader, callbacks=job["callbacks"])
    return run_job(
        hydra_context=context, task_function=job["task"], config=config, job_dir_key="hydra.run.dir", job_subdir_key=None
    )


def tell(result: Any) -> None:
    launch_job = import_module("hydra_plugins.launch_job")  # of this directory
    launch_job.TellResult().on_job_end(None, result)


if __name__ == "__main__":
    main()
