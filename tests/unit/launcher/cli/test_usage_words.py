"""What a run used, for people."""

from __future__ import annotations

from launcher.cli.runs.summary import usage_words


def test_everything_in_one_line() -> None:
    usage = {
        "peak_memory_bytes": 141 << 20,
        "peak_process_bytes": 120 << 20,
        "memory_bytes": 5,
        "cpu_s": 12.34,
        "peak_pids": 7,
        "io_read_bytes": 41_000,
        "io_written_bytes": 0,
        "oom_kills": 0,
        "cpu_throttled_s": 0.0,
        "cpu_waited_s": 0.4,
        "memory_waited_s": 0.0,
        "io_waited_s": 1.25,
    }
    words = "memory 141 MiB at most, largest process 120 MiB, 12.3 s of CPU, 7 threads at most, read 41 KB"
    assert f"{words}; waited 0.40 s for CPU, 1.2 s for disks" == usage_words(usage)


def test_an_ordinary_user_on_v1_has_what_init_saw() -> None:
    assert "largest process 30 MiB, 1.5 s of CPU" == usage_words({"peak_process_bytes": 30 << 20, "cpu_s": 1.5, "oom_kills": 0})


def test_what_a_later_version_adds_is_shown_by_its_name() -> None:
    assert "1.0 s of CPU, energy_joules 7" == usage_words({"cpu_s": 1.0, "energy_joules": 7})


def test_gpus_cost_hours_and_energy() -> None:
    assert "0.68 GPU-hours, 312 Wh on GPUs" == usage_words({"gpu_hours": 0.6801, "gpu_energy_wh": 311.6})
