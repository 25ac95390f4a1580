"""The environment that a program sees (interface: "The contract that a program sees"). The MLflow variables are tracking's.

Weakest first: the image's, the contract's, the experiment's `env`, then what names this run and cannot be overridden.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from launcher.plan.launch_plan import LaunchPlan
from launcher.plan.program.cpu_level import deterministic_env
from launcher.plan.program.workdir import OUTPUTS
from runtime.container.spec import World
from runtime.light_dataclasses import dataclass

HOME = "/home/user"
RUN_DIRECTORY = "/run/launch"
CHECKPOINTS = "/checkpoints"
DATA = "/data"

_HASH_SEEDS = 1 << 32


def program_env(
    plan: LaunchPlan,
    image_env: Mapping[str, str],
    *,
    run_id: str,
    attempt: int,
    resume: bool,
    environ: Mapping[str, str],
    sweep_id: str | None = None,
    trial: int | None = None,
    rendezvous: Rendezvous | None = None,
) -> dict[str, str]:
    """Everything but secrets and MLflow's variables."""
    spec = plan.spec
    env = dict(image_env)
    env |= _surroundings(plan, environ)
    # A CPU quota changes nothing that numerical libraries see by themselves. torchrun sets OMP_NUM_THREADS=1, with a warning,
    # unless it is set.
    env |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(plan.threads))
    env |= deterministic_env() if spec.deterministic else {}
    env |= _torchrun(plan, run_id)
    env |= rendezvous.variables() if rendezvous is not None else {}
    env |= _job_env(plan, environ, rendezvous)
    env |= spec.env
    env |= {
        "LAUNCH_RUN_ID": run_id,
        "LAUNCH_EXPERIMENT": spec.name,
        "LAUNCH_PARAMS": f"{RUN_DIRECTORY}/params.json",
        "LAUNCH_OUTPUTS": OUTPUTS,
        "LAUNCH_CHECKPOINTS": CHECKPOINTS,
        # Nobody reads them with `metrics.file: false`; a program that appends must not fail for that.
        "LAUNCH_METRICS": f"{RUN_DIRECTORY}/metrics.jsonl" if spec.metrics.file else os.devnull,
        "LAUNCH_SEED": str(spec.seed),
        "LAUNCH_DETERMINISTIC": str(int(spec.deterministic)),
        "LAUNCH_ATTEMPT": str(attempt),
        "LAUNCH_RESUME": str(int(resume)),
        "LAUNCH_GRACE_S": f"{spec.grace:g}",
        "LAUNCH_DATA": DATA,
    }
    # The live code of a container to work in is `.code` among data: no name of an experiment's, and of no use to a program.
    env |= {f"LAUNCH_DATA_{_variable(name)}": data_target(plan, name) for name in spec.data if not name.startswith(".")}
    if sweep_id is not None:
        env["LAUNCH_SWEEP_ID"] = sweep_id
    if trial is not None:
        env["LAUNCH_TRIAL"] = str(trial)
    return env


def _job_env(plan: LaunchPlan, environ: Mapping[str, str], rendezvous: Rendezvous | None) -> dict[str, str]:
    if plan.spec.cluster.kind != "slurm":
        return {}
    from launcher.plan.program.slurm_env import slurm_env

    return slurm_env(environ, node=rendezvous.node if rendezvous is not None else 0, nodes=plan.spec.nodes)


def data_target(plan: LaunchPlan, name: str) -> str:
    """Where `data.NAME` is mounted."""
    return plan.spec.data[name].target or f"{DATA}/{name}"


def _variable(name: str) -> str:
    """`cifar-10` → `CIFAR_10`."""
    return re.sub(r"[^A-Z0-9_]", "_", name.upper())


def _surroundings(plan: LaunchPlan, environ: Mapping[str, str]) -> dict[str, str]:
    env = {
        "PYTHONUNBUFFERED": "1",
        # Python accepts 0 to 2**32 - 1 and refuses to start with anything else.
        "PYTHONHASHSEED": str(plan.spec.seed % _HASH_SEEDS),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "HOME": HOME,
        "TMPDIR": "/tmp",
        "NVIDIA_VISIBLE_DEVICES": "void",
    }
    env |= {name: environ[name] for name in ("TERM", "COLUMNS") if environ.get(name)}
    return env


def _torchrun(plan: LaunchPlan, run_id: str) -> dict[str, str]:
    """torchrun reads each of its options from PET_<OPTION> (torch/distributed/argparse_util.py)."""
    return {
        "PET_NPROC_PER_NODE": str(max(1, int(plan.gpus))),
        "PET_NNODES": str(plan.spec.nodes),
        "PET_NODE_RANK": "0",
        "PET_RDZV_BACKEND": "c10d",
        # Port 0: a free one, so that two runs with network=host do not meet.
        "PET_RDZV_ENDPOINT": "localhost:0",
        "PET_RDZV_ID": run_id,
    }


_CONTEXT = 0.9
"""Of a part, what tensors may take; the rest is for the CUDA context and the libraries' kernels."""


def part_env(share: float, memory_bytes: int) -> dict[str, str]:
    """Variables for a program with *share* of a GPU, *memory_bytes* of its memory (0: the driver doesn't tell).

    Nothing enforces it: the driver gives each process what it asks for. Two frameworks take (nearly) all memory of a GPU at their
    start unless they are told otherwise, and would push out whoever shares it: JAX takes three quarters, TensorFlow everything.
    PyTorch grows; `torch.cuda.set_per_process_memory_fraction` bounds it.
    """
    env = {
        "LAUNCH_GPU_SHARE": f"{share:g}",
        "XLA_PYTHON_CLIENT_MEM_FRACTION": f"{share * _CONTEXT:.3g}",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    }
    return {**env, "LAUNCH_GPU_MEMORY_BYTES": str(memory_bytes)} if memory_bytes else env


@dataclass(frozen=True, slots=True)
class Rendezvous:
    """Where the programs of a run on several nodes find one another: what one of the nodes knows of the others.

    torchrun is told `static` and its node's rank, not `c10d`: there the nodes draw lots for their ranks, and rank 0, whose
    metrics count, would be anywhere.
    """

    node: int
    nodes: int
    address: str
    """Of the first node, where rank 0 listens."""
    port: int
    interface: str | None = None
    """This node's network interface to the others."""

    def world(self, ranks: int) -> World:
        """The ranks of all nodes, each of which has *ranks*."""
        return World(self.address, self.port, self.node * ranks, self.nodes * ranks)

    def variables(self) -> dict[str, str]:
        """What a program's `env` may overrule."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return {
            "NNODES": str(self.nodes),
            "NODE_RANK": str(self.node),
            "PET_NNODES": str(self.nodes),
            "PET_NODE_RANK": str(self.node),
            "PET_RDZV_BACKEND": "static",
            "PET_RDZV_ENDPOINT": f"{host}:{self.port}",
            # gloo asks for the address of the host's name, which is the container's and its loopback; NCCL guesses.
            **({} if self.interface is None else dict.fromkeys(_INTERFACE_VARIABLES, self.interface)),
        }


_INTERFACE_VARIABLES = ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME")
