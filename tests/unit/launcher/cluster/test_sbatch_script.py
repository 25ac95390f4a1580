"""The job's script: what is asked for, in sbatch's words, and the line that becomes the supervisor."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from launcher.cluster.slurm.sbatch_script import job_script, slurm_time
from launcher.config.spec import Cluster, ExperimentSpec
from launcher.errors import ConfigError


def script(*, gpus=0, cpus=1.0, memory=None, grace=30.0, shards=None, asked=None, **cluster):
    spec = ExperimentSpec(
        name="digits",
        command=("true",),
        grace=grace,
        gpus=gpus if asked is None else asked,
        cluster=Cluster(kind="slurm", **cluster),
    )
    plan = SimpleNamespace(spec=spec, gpus=gpus, cpus=cpus, memory_bytes=memory)
    argv = ["/env/bin/python", "-I", "job_main.py"]
    return job_script(plan, job_name="digits-7f3a9c", log="/lab/100%/supervisor.log", argv=argv, shards=shards)


def options(text):
    return [line.removeprefix("#SBATCH --") for line in text.splitlines() if line.startswith("#SBATCH")]


def test_a_small_job_in_full():
    expected = """\
#!/bin/sh
#SBATCH --job-name=digits-7f3a9c
#SBATCH --output=/lab/100%%/supervisor.log
#SBATCH --open-mode=append
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --signal=B:USR2@30
#SBATCH --no-requeue
#SBATCH --partition=gpu
#SBATCH --time=0-12:00:00
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=2
#SBATCH --mem=16384M

exec /env/bin/python -I job_main.py
"""
    assert expected == script(gpus=2, cpus=8.0, memory=16 << 30, partition="gpu", time=43200.0)


def test_lines_of_setup_run_in_bash_before_it_and_one_that_fails_ends_the_job():
    text = script(setup=("module load proxy", "cp -ru /archive/x /local"))
    assert text.startswith("#!/bin/bash\n#SBATCH ")
    assert text.endswith("\n\nset -e\nmodule load proxy\ncp -ru /archive/x /local\n\nexec /env/bin/python -I job_main.py\n")


def test_an_option_of_the_user_takes_the_place_of_our_request():
    asked = options(script(gpus=2, cpus=4.0, sbatch={"gres": "gpu:a100:2", "exclusive": True, "mem": 0}))
    assert {"gres=gpu:a100:2", "exclusive", "mem=0"} <= set(asked)
    assert not [option for option in asked if option.startswith(("gpus-per-node", "cpus-per-task"))]


def test_all_gpus_come_with_all_of_their_node():
    whole = options(script(gpus=8, cpus=64.0, asked="all"))
    assert {"exclusive", "gpus-per-node=8", "mem=0"} <= set(whole)
    assert not [option for option in whole if option.startswith("cpus-per-task")]
    assert "mem=1024M" in options(script(gpus=8, asked="all", memory=1 << 30))


def test_a_part_of_a_gpu_is_asked_for_as_shards():
    asked = options(script(gpus=0.5, shards=2))
    assert "gres=shard:2" in asked
    assert not [option for option in asked if option.startswith("gpus-per-node")]


def test_a_resource_that_is_no_gpu_stands_beside_our_request():
    assert {"gres=lscratch:800", "gpus-per-node=2"} <= set(options(script(gpus=2, sbatch={"gres": "lscratch:800"})))
    assert "gres=lscratch:800,shard:2" in options(script(gpus=0.5, shards=2, sbatch={"gres": ("lscratch:800",)}))
    assert "cpus-per-task=4" in options(script(cpus=4.0, sbatch={"exclusive": False}))
    assert "mem=1024M" not in options(script(memory=1 << 30, sbatch={"mem": 0}))


def test_what_slurm_would_read_as_more_than_a_word_is_quoted():
    assert 'comment="a \\"b\\" # c"' in options(script(sbatch={"comment": 'a "b" # c'}))


def test_lists_are_joined_and_switched_off_options_left_out():
    asked = options(script(sbatch={"mail-type": ("END", "FAIL"), "exclusive": False, "reservation": None}))
    assert "mail-type=END,FAIL" in asked
    assert not [option for option in asked if option.startswith(("exclusive", "reservation"))]


def test_no_line_of_the_script_can_come_from_a_value():
    with pytest.raises(ConfigError, match="line break"):
        script(sbatch={"comment": "x\nrm -rf /"})


@pytest.mark.parametrize(("grace", "asked"), [(0.0, 1), (2.5, 3), (1e6, 65535)])
def test_the_signal_before_the_limit_comes_a_grace_before_it(grace, asked):
    assert f"signal=B:USR2@{asked}" in options(script(grace=grace))


@pytest.mark.parametrize(("seconds", "written"), [(59.2, "0-00:01:00"), (90061, "1-01:01:01")])
def test_times_are_written_as_days_and_clock(seconds, written):
    assert written == slurm_time(seconds)
