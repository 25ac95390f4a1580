"""Commands for this machine, and for launch itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from launcher.cli.arguments import JSON
from launcher.cli.command import Argument, Command, Options, switch
from launcher.errors import ConfigError


@Command(
    "gpus",
    "the GPUs of this machine: health, processes, leases, links; `--watch`",
    "Show the GPUs of this machine: memory, health, who is on them in which run, and who holds their leases.",
    switch("--topology", help="how the GPUs are connected, and which CPUs are near them"),
    switch("--watch", help="look again and again; `q` or Ctrl-C ends it"),
    Argument("--interval", type=float, default=2.0, metavar="SECONDS", help="between two looks (2)"),
    switch("--json", help="as JSON on stdout; with --watch one line a look"),
    usage="[ACTION] [--topology] [--watch] [--interval SECONDS] [--json]",
)
def gpus(options: Options) -> int:
    if not 0.1 <= options.interval <= 3600:
        raise gpus.wrong_usage("--interval takes 0.1 to 3600 seconds")
    from launcher.cli.gpus.watch import show_gpus, watch_gpus

    return watch_gpus(options) if options.watch else show_gpus(options)


@gpus.action(
    "show",
    "everything that is known of one GPU, and why the rest is not",
    "Show everything that is known of one GPU.",
    Argument("gpu", metavar="GPU", help="its number, or the beginning of its UUID"),
    JSON,
    usage="GPU [--json]",
)
def gpus_show(options: Options) -> int:
    from launcher.cli.gpus.show import show_gpu

    return show_gpu(options.gpu, as_json=options.json)


@gpus.action(
    "cdi",
    "a CDI specification of the NVIDIA GPUs, for other container runtimes",
    "Write a CDI specification of this machine's NVIDIA GPUs, for podman, containerd, cri-o and others; launch needs none.",
    Argument("--output", "-o", metavar="FILE", type=Path, help="instead of stdout; as in /etc/cdi/nvidia.yaml, or .json"),
    switch("--json", help="as JSON; a file's name says it too"),
    Argument("--capabilities", metavar="LIST", help="compute,utility,video,graphics,display,ngx; all by default"),
    switch("--no-hooks", help="write no hooks, even if nvidia-cdi-hook is installed"),
    usage="[--output FILE] [--json] [--capabilities LIST] [--no-hooks]",
)
def gpus_cdi(options: Options) -> int:
    if options.output is not None and options.output.suffix not in (".yaml", ".json"):
        message = f"`{options.output}`: a specification is found only under a name that ends in .yaml or .json"
        raise gpus_cdi.wrong_usage(message)
    from launcher.cli.gpus.cdi import describe_gpus

    return describe_gpus(options)


@Command("oci", "be an OCI runtime: run bundles by runc's command line", parses=False)
def oci(typed: Sequence[str]) -> int:
    from runtime.oci_runtime.entry import main

    return main(list(typed), program="launch oci")


@Command(
    "doctor",
    "what this machine can do, and what to do about the rest",
    "Check what this machine can do, or a cluster.",
    switch("--cluster", help="Slurm, LAUNCH_HOME's file system, and what would fail there"),
    switch("--probe", help="with --cluster: ask a node of each partition, by a job of a minute"),
    Argument("--scratch", metavar="DIR", help="with --probe: try this `cluster.scratch`"),
    JSON,
    usage="[--cluster [--probe]] [--json]",
)
def doctor(options: Options) -> int:
    if (options.probe or options.scratch) and not options.cluster:
        raise ConfigError("a probe is of a cluster", hint="`launch doctor --cluster --probe`")
    if options.scratch and not options.probe:
        raise ConfigError("`--scratch` is tried on a node", hint="`launch doctor --cluster --probe --scratch=DIR`")
    from launcher.cli.doctor import check_cluster, check_machine

    if options.cluster:
        return check_cluster(probe=options.probe, scratch=options.scratch, as_json=options.json)
    return check_machine(as_json=options.json)


@Command("ui", "the MLflow UI on loopback", "Start the MLflow UI unless it is up, and print its URL.", usage="")
def ui(options: Options) -> int:
    from launcher.tracking.mlflow.local_server import ui
    from runtime.state_dir import state_dir

    print(ui(state_dir().ensure()))
    return 0


@Command(
    "completion",
    "print the completion script for a shell",
    "Print the completion script for a shell.",
    Argument("shell", metavar="bash|zsh|fish", help="`source <(launch completion bash)` turns it on", completed_by=["shells"]),
    usage="bash|zsh|fish",
    takes_command=True,
)
def completion(options: Options) -> int:
    from launcher.cli.completion import print_script, print_words

    if options.shell == "words":  # what the scripts ask, with what has been typed so far behind `--`
        return print_words(options.command or ())
    return print_script(options.shell)
