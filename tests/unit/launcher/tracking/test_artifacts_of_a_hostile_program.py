"""What a program leaves may have any name and depth; regular files are sent to MLflow, and nothing keeps them from it."""

from __future__ import annotations

import os
from pathlib import Path

from launcher.tracking.mlflow.artifacts import of_program, pending, spooled
from launcher.tracking.mlflow.description import Description
from launcher.tracking.record.record_files import output_digests
from runtime.rootfs.removal import remove_tree
from runtime.state_dir import RunDir


def test_no_link_pipe_or_depth_is_sent_or_keeps_others_from_being_sent(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path / "run")
    top = run_dir.artifacts
    (top / "a").mkdir(parents=True)
    (tmp_path / "secret").write_text("the host's")
    (top / "link").symlink_to(tmp_path / "secret")
    (top / "directory").symlink_to(tmp_path)
    os.mkfifo(top / "pipe")
    (top / "a/file").touch()
    Path(os.fsdecode(os.fsencode(top) + b"/odd\xff\n")).touch()
    before = Path.cwd()
    os.chdir(top)
    try:
        for _ in range(2500):
            os.mkdir("d")
            os.chdir("d")
        Path("deep").touch()
    finally:
        os.chdir(before)
    assert ["odd\udcff\n", "a/file"] == [upload.path for upload in spooled(run_dir, sent={})]
    assert {"odd\udcff\n", "a/file"} == output_digests(top).keys()
    remove_tree(top)
    assert not top.exists()


def files_of(directory: Path, *names: str) -> None:
    for name in names:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(f"the program's {name}")


def sent_of(run_dir: RunDir) -> tuple[dict[str, str], list[str]]:
    """What of it goes where, and what is said about it."""
    said: list[str] = []
    uploads = list(pending(run_dir, Description("e", "r", "ada", 0), sent={}, refused=said.append))
    return {upload.path: upload.file.read_text() for upload in uploads}, said


def test_the_forged_plan_does_not_replace_the_record(tmp_path: Path) -> None:
    """`/outputs/launch/plan.json` was the plan that `rerun --from` ran, and `/outputs/logs/stdout.txt` what the run had said."""
    run_dir = RunDir(tmp_path / "run")
    for directory in (run_dir.outputs, run_dir.artifacts):
        files_of(directory, "launch/plan.json", "logs/stdout.txt", "weights")
    run_dir.stdout.write_text("what it said")
    run_dir.journal.touch()
    sent, said = sent_of(run_dir)
    assert "what it said" == sent["logs/stdout.txt"]
    assert not any(content.startswith("the program's") for path, content in sent.items() if path.startswith(("launch/", "logs/")))
    assert {"outputs/launch/plan.json", "outputs/logs/stdout.txt", "weights"} <= sent.keys()
    assert 1 == len(said)
    assert "as `outputs/launch/…`: that name is the launcher's" in said[0]


def test_a_file_called_as_the_record_is_kept_from_its_place_too(tmp_path: Path) -> None:
    """`launch` as a file would leave no room for the directory."""
    run_dir = RunDir(tmp_path / "run")
    files_of(run_dir.outputs, "launch", "logs", "launch.txt", "outputs/launch", "outputs/outputs/x")
    run_dir.journal.touch()
    assert {"launch.txt", "outputs/launch", "outputs/outputs/launch", "outputs/logs", "outputs/outputs/x"} == {
        path for path in sent_of(run_dir)[0] if path.split("/")[0] not in ("launch", "logs")
    } - {"launch/journal.jsonl"}


def test_what_no_server_can_name_keeps_nothing_else_from_being_sent(tmp_path: Path) -> None:
    """A path of 1,500 parts was a RecursionError, and with it the end of all sending."""
    said: list[str] = []
    deep = "/".join("d" * 1500)
    files = [(path, tmp_path) for path in (deep, "x" * 1025, "weights", "weights/part", "small")]
    assert ["weights", "small"] == [path for path, _ in of_program(files, refused=said.append)]
    assert said[0].startswith("3 outputs not sent to MLflow, the first `d/d/d/")


def test_what_is_escaped_on_the_way_to_the_terminal_is_a_name(tmp_path: Path) -> None:
    said: list[str] = []
    assert [] == list(of_program([("\x1b]0;title\x07" + "x" * 1100, tmp_path)], refused=said.append))
    assert "\x1b" not in said[0]
