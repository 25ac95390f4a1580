"""Speaking to Slurm's programs: stand-ins in PATH that answer with what the real ones said, and note how they were called."""

from __future__ import annotations

import signal

import pytest

from launcher.cluster.engine import JobEnd, JobPhase
from launcher.cluster.slurm.slurm import Slurm
from launcher.errors import LaunchError


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """`programs(squeue="…", …)`: each a shell script's body."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def make(**bodies):
        for name, body in bodies.items():
            (tmp_path / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {tmp_path}/calls\n{body}\n')
            (tmp_path / name).chmod(0o755)

    make.calls = lambda: (tmp_path / "calls").read_text().splitlines()
    return make


UNKNOWN = "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1"
NO_ACCOUNTING = "echo 'Slurm accounting storage is disabled' >&2; exit 1"


def test_a_script_is_handed_over_and_the_job_known(programs, tmp_path):
    programs(sbatch=f"cat > {tmp_path}/script; echo '17;mini'")
    assert "17" == Slurm().submit("#!/bin/sh\ntrue\n")
    assert "#!/bin/sh\ntrue\n" == (tmp_path / "script").read_text()


def test_a_refusal_is_in_slurms_own_words(programs):
    programs(sbatch="echo 'sbatch: error: Batch job submission failed: Invalid partition name specified' >&2; exit 1")
    with pytest.raises(LaunchError, match="`sbatch` failed: Batch job submission failed: Invalid partition name specified"):
        Slurm().submit("")


def test_what_sbatch_would_refuse_is_told_before_and_silence_is_no_refusal(programs):
    programs(sbatch="cat > /dev/null; echo 'allocation failure: Invalid partition name specified' >&2; exit 1")
    assert "allocation failure: Invalid partition name specified" == Slurm().refusal("#!/bin/sh\n#SBATCH --partition=nope\n")
    assert "sbatch --test-only --partition=nope" == programs.calls()[-1]
    programs(sbatch="cat > /dev/null; echo 'sbatch: Job 9 to start' >&2")
    assert Slurm().refusal("#!/bin/sh\n") is None


def test_a_job_that_the_controller_has_forgotten_is_looked_up_in_the_accounts(programs):
    programs(squeue=UNKNOWN, sacct="echo '17|TIMEOUT|node1|0:0'")
    assert JobEnd.TIMEOUT is Slurm().poll(["17"])["17"].end


def test_without_accounts_a_forgotten_job_is_over_and_nobody_says_how(programs):
    programs(squeue=UNKNOWN, sacct=NO_ACCOUNTING)
    status = Slurm().poll(["17"])["17"]
    assert (JobPhase.ENDED, JobEnd.UNKNOWN) == (status.phase, status.end)


def test_a_job_that_the_controller_lost_is_over_whatever_the_accounts_say(programs):
    """Killed soon after it took a job, the controller knows nothing of it; sacct calls it pending for ever."""
    programs(squeue=UNKNOWN, sacct="echo '17|PENDING||0:0'; echo '18|COMPLETED|node1|0:0'")
    found = Slurm().poll(["17", "18"])
    assert (JobPhase.ENDED, JobEnd.UNKNOWN) == (found["17"].phase, found["17"].end)
    assert JobEnd.COMPLETED is found["18"].end
    assert ["squeue", "sacct", "squeue"] == [call.split()[0] for call in programs.calls()]


def test_a_job_that_the_controller_knows_when_asked_again_goes_on(programs, tmp_path):
    second = f"test -e {tmp_path}/asked && echo '17|RUNNING|None|node1|0|0:0|N/A|' && exit 0; touch {tmp_path}/asked; {UNKNOWN}"
    programs(squeue=second, sacct="echo '17|RUNNING|node1|0:0'")
    assert JobPhase.RUNNING is Slurm().poll(["17"])["17"].phase


def test_a_controller_that_does_not_answer_ends_no_run(programs):
    programs(squeue="echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1")
    with pytest.raises(LaunchError, match="Unable to contact slurm controller"):
        Slurm().poll(["17"])


def test_a_running_jobs_supervisor_alone_hears_a_signal(programs):
    programs(squeue="echo '17|RUNNING|None|node1|0|0:0|N/A|'", scancel="")
    Slurm().signal("17", signal.SIGTERM)
    assert "scancel --batch --signal=TERM 17" == programs.calls()[-1]


def test_a_waiting_job_is_taken_out_of_the_line(programs, tmp_path):
    state = f"cat {tmp_path}/state"
    (tmp_path / "state").write_text("17|PENDING|Priority||0|0:0|N/A|\n")
    programs(squeue=state, scancel=f"echo '17|CANCELLED|None||0|0:0|N/A|' > {tmp_path}/state")
    Slurm().signal("17", signal.SIGTERM)
    assert "scancel --state=PENDING 17" in programs.calls()


@pytest.mark.parametrize(
    "state",
    [
        pytest.param("CONFIGURING", id="its node is being powered up"),
        pytest.param("SPECIAL_EXIT", id="it is held back"),
        pytest.param("COMPLETING", id="it is being requeued"),
        pytest.param("SUSPENDED", id="it stands still"),
    ],
)
def test_a_job_that_neither_runs_nor_stands_in_line_is_cancelled_for_good(programs, state):
    """`scancel --state=PENDING` passes it over, and a signal reaches nobody."""
    programs(squeue=f"echo '17|{state}|None|node1|1|0:0|N/A|'", scancel="")
    Slurm().signal("17", signal.SIGTERM)
    assert "scancel 17" == programs.calls()[-1]


def test_a_job_that_is_over_hears_nothing(programs):
    programs(squeue="echo '17|COMPLETED|None|node1|0|0:0|N/A|'", scancel="")
    Slurm().signal("17", signal.SIGTERM)
    assert ["squeue"] == [call.split()[0] for call in programs.calls()]


def test_a_job_that_begins_meanwhile_has_its_grace(programs, tmp_path):
    (tmp_path / "state").write_text("17|PENDING|Priority||0|0:0|N/A|\n")
    programs(squeue=f"cat {tmp_path}/state", scancel=f"echo '17|RUNNING|None|node1|0|0:0|N/A|' > {tmp_path}/state")
    Slurm().signal("17", signal.SIGTERM)
    assert "scancel --batch --signal=TERM 17" == programs.calls()[-1]


def test_a_job_that_is_over_can_be_ended_again(programs):
    programs(scancel="echo 'scancel: error: Kill job error on job id 17: Job/step already completing or completed' >&2; exit 1")
    Slurm().cancel("17")


def test_a_machine_without_slurm_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LaunchError, match="`sbatch` is not installed here"):
        Slurm().submit("")


def test_what_is_configured_goes_before_variables_that_sbatch_reads(programs):
    programs(sbatch="cat > /dev/null; echo 17")
    Slurm().submit('#!/bin/sh\n#SBATCH --partition=gpu\n#SBATCH --comment="a \\"b\\""\n\nexec x\n')
    assert 'sbatch --parsable --export=ALL --partition=gpu --comment=a "b"' == programs.calls()[-1]


@pytest.mark.parametrize("name", ["SBATCH_CLUSTERS", "SLURM_CLUSTERS"])
def test_a_job_for_another_cluster_is_refused(programs, monkeypatch, name):
    """It would be looked for here, and its run closed as lost."""
    programs(sbatch="echo '17;b'")
    monkeypatch.setenv(name, "b")
    with pytest.raises(LaunchError, match=f"`{name}=b`: a job goes to the cluster of this machine"):
        Slurm().submit("")


def test_a_persons_wishes_for_what_is_printed_hide_no_job(programs, tmp_path, monkeypatch):
    for name in ("SQUEUE_PARTITION", "SLURM_CLUSTERS", "SACCT_FORMAT", "SLURM_CONF"):
        monkeypatch.setenv(name, "x")
    programs(squeue=f"env | grep =x$ > {tmp_path}/heard; echo '17|RUNNING|None|node1|0|0:0|N/A|'")
    Slurm().poll(["17"])
    assert ["SLURM_CONF=x"] == (tmp_path / "heard").read_text().split()


def test_a_job_hears_nothing_of_the_job_that_submits_it(programs, tmp_path, monkeypatch):
    for name in (
        "SLURM_RESTART_COUNT",
        "SLURM_JOB_ID",
        "SBATCH_ARRAY_INX",
        "SBATCH_WAIT",
        "SLURM_CONF",
        "SBATCH_ACCOUNT",
        "TOKEN",
    ):
        monkeypatch.setenv(name, "3")
    programs(sbatch=f"cat > /dev/null; env | grep =3$ | sort > {tmp_path}/handed; echo 17")
    Slurm().submit("")
    assert ["SBATCH_ACCOUNT=3", "SLURM_CONF=3", "TOKEN=3"] == (tmp_path / "handed").read_text().split()
