"""OpenSSH's own client, `sftp -D`, against the server of a container's files; and what no client would say."""

from __future__ import annotations

import os
import shlex
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from runtime.container.sftp_server import SftpServer, _BadMessage, serve_sftp

SERVER = "import sys; from runtime.container.sftp_server import serve_sftp; sys.exit(serve_sftp(0, 1))"


def sftp(directory: Path, *lines: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """What its user types, line by line, in *directory*; the first that fails is the last."""
    server = shlex.join((sys.executable, "-c", f"import os; os.chdir({str(directory)!r}); {SERVER}"))
    argv = ["sftp", "-q", "-b", "-", "-D", server]
    return subprocess.run(argv, input="\n".join(lines) + "\n", text=True, capture_output=True, timeout=120, check=check)


@pytest.fixture
def there(tmp_path: Path) -> Path:
    (tmp_path / "there").mkdir()
    return tmp_path / "there"


@pytest.mark.requires("sftp")
def test_files_come_and_go_with_content_mode_and_times(tmp_path: Path, there: Path) -> None:
    content = os.urandom((1 << 20) + 7)
    (tmp_path / "model.pt").write_bytes(content)
    (tmp_path / "model.pt").chmod(0o640)
    os.utime(tmp_path / "model.pt", (1_000_000_000, 1_100_000_000))
    sftp(there, f"put -p {tmp_path}/model.pt 'a file'", f"get -p 'a file' {tmp_path}/back.pt")
    for copy in (there / "a file", tmp_path / "back.pt"):
        found = copy.stat()
        assert (content, 0o640, 1_100_000_000) == (copy.read_bytes(), found.st_mode & 0o7777, int(found.st_mtime))
    (tmp_path / "model.pt").write_bytes(content + b"more")
    (there / "a file").write_bytes(content[:70_000])
    sftp(there, f"reput {tmp_path}/model.pt 'a file'")
    assert (there / "a file").read_bytes() == content + b"more"


@pytest.mark.requires("sftp")
def test_directories_links_and_names_are_made_changed_and_removed(tmp_path: Path, there: Path) -> None:
    for number in range(250):
        (there / f"many{number}").touch()
    (there / "many7").write_text("seven")
    (there / "sub").mkdir()
    shown = sftp(there, "ls -1 many*", "ls -l many7", "pwd", "cd sub", "pwd").stdout.splitlines()
    assert 250 == sum(line.startswith("many") for line in shown)
    assert any(line.startswith("-rw-r--r--") and line.endswith(" many7") and " 5 " in line for line in shown)
    assert [f"Remote working directory: {there}", f"Remote working directory: {there}/sub"] == [
        one for one in shown if "Remote" in one
    ]
    sftp(
        there, "rm many1*", "mkdir new", "rename many7 new/seven", "symlink seven new/link", "ln new/seven twin", "chmod 600 twin"
    )
    assert (b"seven", 0o100600) == ((there / "new/link").read_bytes(), (there / "new/seven").stat().st_mode)
    assert "seven" == os.readlink(there / "new/link")
    assert not (there / "many1").exists()
    (tmp_path / "tree/deep").mkdir(parents=True)
    (tmp_path / "tree/deep/leaf").write_text("leaf")
    sftp(there, f"put -r {tmp_path}/tree", f"get -r tree {tmp_path}/tree2", "rm new/*", "rmdir new")
    assert "leaf" == (there / "tree/deep/leaf").read_text() == (tmp_path / "tree2/deep/leaf").read_text()
    assert not (there / "new").exists()


@pytest.mark.requires("sftp")
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("get missing /dev/null", "not found"),
        ("put /etc/hostname none/at/all", "No such file or directory"),
        ("rmdir full", "Failure"),
        ("mkdir full", "Failure"),
        ("rename -l full/x full/y", "Failure"),
        ("cd full/x", "not a directory"),
    ],
)
def test_what_cannot_be_done_is_refused_and_changes_nothing(there: Path, line: str, words: str) -> None:
    (there / "full").mkdir()
    for name in "xy":
        (there / "full" / name).write_text(name)
    refused = sftp(there, line, check=False)
    assert (1, True) == (refused.returncode, words.lower() in refused.stderr.lower()), refused.stderr
    assert "y" == (there / "full/y").read_text()


@settings(deadline=None, max_examples=300)
@given(kind=some.integers(0, 255), content=some.binary(max_size=60))
def test_nothing_that_is_said_ends_it_but_a_message_that_is_none(kind: int, content: bytes) -> None:
    if kind in (6, 9, 11, 13, 14, 15, 18, 20, 200):  # these change files; a wrong path could be meant
        kind = 3
    if kind == 3:  # OPEN, for reading only
        content = struct.pack(">I", len(content)) + content + struct.pack(">II", 1, 0)
    try:
        answer = SftpServer().answer(struct.pack(">BI", kind, 7) + content)
    except _BadMessage:
        return
    assert kind == 1 or struct.pack(">I", 7) == answer[1:5]


@pytest.mark.parametrize("said", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\x05\x03", b"\0\0\0\x05\x04\0\0\0\1"])
def test_its_session_ends_when_what_comes_is_no_request(said: bytes) -> None:
    reading, writing = os.pipe()
    os.write(writing, said)
    os.close(writing)
    assert serve_sftp(reading, writing) in (0, 1)
    os.close(reading)
