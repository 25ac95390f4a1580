"""Logs on disk: the order of both streams, bounds that move nothing, a disk that is full."""

from __future__ import annotations

import os
import resource
import signal
import time
from contextlib import suppress

import pytest

from launcher.run.output import Output, Piece, lines_from
from launcher.run.supervisor.logs import DEFAULT_LIMIT, close_holes, log_limit, opened_logs
from runtime.container.logs import RECORD, STDERR, STDOUT, LogFiles, LogPump, OutputLog
from runtime.state_dir import RunDir


def write(run_dir: RunDir, *chunks: tuple[int, bytes], kept: int | None = None, settled: bool = True) -> None:
    with opened_logs(run_dir) as files:
        log = OutputLog(LogFiles(*files.descriptors(), kept))
        reader, writer = os.pipe()
        for stream, chunk in chunks:
            os.write(writer, chunk)
            with suppress(BlockingIOError):
                while log.copy(stream, reader):
                    pass
        if settled:
            log.flush()
        os.close(reader)
        os.close(writer)


def shown(run_dir: RunDir) -> list[tuple[int, bytes]]:
    return [(piece.stream, piece.data) for piece in Output(run_dir).new_pieces()]


def test_both_streams_come_back_in_their_order(run_dir: RunDir) -> None:
    chunks = [(STDERR, b"a\n"), (STDOUT, b"b\n"), (STDERR, b"c\n"), (STDOUT, b"d"), (STDERR, b"e\n"), (STDOUT, b"f\n")]
    write(run_dir, *chunks)
    assert chunks == shown(run_dir)
    assert b"b\ndf\n" == run_dir.stdout.read_bytes()


def test_a_stream_alone_costs_a_record_each_ten_milliseconds(run_dir: RunDir) -> None:
    write(run_dir, *[(STDOUT, b"x\n")] * 1000)
    assert run_dir.output_index.stat().st_size < 100 * RECORD.size
    assert b"x\n" * 1000 == b"".join(data for _stream, data in shown(run_dir))


def test_what_a_killed_writer_owed_the_index_is_shown_all_the_same(run_dir: RunDir) -> None:
    write(run_dir, (STDOUT, b"a\n"), (STDOUT, b"b\n"), settled=False)
    assert [(STDOUT, b"a\n"), (STDOUT, b"b\n")] == shown(run_dir)
    write(run_dir, (STDERR, b"c\n"), (STDOUT, b"d\n"))
    assert [(STDOUT, b"a\n"), (STDERR, b"c\n"), (STDOUT, b"b\nd\n")] == shown(run_dir)


def test_a_follower_gets_each_byte_once(run_dir: RunDir) -> None:
    output = Output(run_dir)
    assert [] == list(output.new_pieces())
    for chunk in ((STDOUT, b"a"), (STDERR, b"b\n"), (STDOUT, b"c\n")):
        write(run_dir, chunk, settled=False)
        assert [chunk] == [(piece.stream, piece.data) for piece in output.new_pieces()]


def test_a_run_of_an_older_launch_has_no_order_but_all_of_its_output(run_dir: RunDir) -> None:
    run_dir.stdout.write_bytes(b"out\n")
    run_dir.stderr.write_bytes(b"err\n")
    assert [(STDOUT, b"out\n"), (STDERR, b"err\n")] == shown(run_dir)


def test_a_flood_keeps_its_beginning_and_its_end(run_dir: RunDir) -> None:
    lines = [b"%099d\n" % number for number in range(40_000)]
    kept = 1 << 20
    write(run_dir, *((STDOUT, line) for line in lines), kept=kept)
    assert run_dir.stdout.stat().st_size == 4_000_000
    assert run_dir.stdout.stat().st_blocks * 512 <= 2 * kept + 8192
    output = Output(run_dir)
    content = b"".join(piece.data for piece in output.new_pieces())
    assert output.left_out == 4_000_000 - len(content) > 0
    assert content.startswith(lines[0])
    assert content.endswith(lines[-1])
    assert b"\0" not in content


def test_a_log_with_a_hole_is_a_plain_file_when_the_run_is_over(run_dir: RunDir) -> None:
    chunks = [(number % 2, b"%d %099d\n" % (number % 2, number)) for number in range(40_000)]
    write(run_dir, *chunks, kept=1 << 20)
    before = shown(run_dir)
    close_holes(run_dir)
    for path in (run_dir.stdout, run_dir.stderr):
        assert path.stat().st_size < 3 << 20
        assert path.read_bytes().count(b"bytes are left out here]\n") == 1
        assert path.stat().st_mode & 0o777 == 0o600
    after = shown(run_dir)
    assert before[:1000] == after[:1000]
    assert before[-1000:] == after[-1000:]
    assert sorted(path.name for path in run_dir.root.iterdir()) == ["output.index", "stderr.log", "stdout.log"]


def test_a_log_without_a_hole_is_left_alone(run_dir: RunDir) -> None:
    write(run_dir, (STDOUT, b"a\n"))
    inode = run_dir.stdout.stat().st_ino
    close_holes(run_dir)
    assert inode == run_dir.stdout.stat().st_ino


def test_a_full_disk_drops_what_does_not_fit_and_no_more(run_dir: RunDir) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        write(run_dir, (STDOUT, b"x" * 1500), (STDERR, b"still here\n"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert [(STDOUT, b"x" * 1000), (STDERR, b"still here\n")] == shown(run_dir)


def test_a_pump_copies_what_there_is_and_ends_with_its_pipes(run_dir: RunDir) -> None:
    (out, out_end), (err, err_end) = os.pipe(), os.pipe()
    os.write(err_end, b"e" * 70_000 if os.set_blocking(err_end, False) else b"e" * 60_000)
    os.write(out_end, b"o")
    os.close(out_end)
    with opened_logs(run_dir) as files:
        pump = LogPump((out, err), OutputLog(files))
        pump.drain()
        assert pump.open_pipes == (err,)
    assert run_dir.stdout.read_bytes() == b"o"
    assert len(run_dir.stderr.read_bytes()) == 60_000
    for fd in (out, err, err_end):
        os.close(fd)


def test_writers_that_are_killed_one_after_the_other_lose_no_byte(run_dir: RunDir) -> None:
    (out, out_end), (err, err_end) = os.pipe(), os.pipe()
    lines = [b"%d\n" % number for number in range(20_000)]
    program = os.fork()
    if program == 0:
        for line in lines:
            os.write(out_end, line)
        os._exit(0)
    os.close(out_end)
    with opened_logs(run_dir) as files:
        for _ in range(100):
            killed = os.fork()
            if killed == 0:
                log = OutputLog(files)
                while True:
                    with suppress(BlockingIOError):
                        log.copy(STDOUT, out)
            time.sleep(0.002)
            os.kill(killed, signal.SIGKILL)
            os.waitpid(killed, 0)
        pump = LogPump((out, err), OutputLog(files))
        while out in pump.open_pipes:
            pump.drain()
    os.waitpid(program, 0)
    assert b"".join(lines) == run_dir.stdout.read_bytes()
    for fd in (out, err, err_end):
        os.close(fd)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("", DEFAULT_LIMIT), ("64MiB", 64 << 20), ("2G", 2 << 30), ("123", 123), ("0", None), ("a lot", DEFAULT_LIMIT)],
)
def test_the_limit_is_a_size(value: str, expected: int | None) -> None:
    assert expected == log_limit({"LAUNCH_LOG_LIMIT": value})


def pieces(*texts: tuple[int, str]) -> list[Piece]:
    begins = [True, True]
    made = []
    for stream, text in texts:
        made.append(Piece(stream, 0.0, text.encode(), begins[stream]))
        begins[stream] = text.endswith("\n")
    return made


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        pytest.param(0, "", id="none"),
        pytest.param(1, "f\n", id="the last"),
        pytest.param(2, "d\nf\n", id="a line that goes on counts where it began"),
        pytest.param(3, "C1\nC2\nd\nf\n".replace("C1\n", ""), id="within a piece"),
        pytest.param(4, "C1\nC2\nd\nf\n", id="of both streams"),
        pytest.param(5, "b\nC1\nC2\nd\nf\n", id="not what goes on with an older line"),
        pytest.param(99, "ab\nC1\nC2\nd\nf\n".replace("ab", "a\nb"), id="all"),
    ],
)
def test_the_last_lines_of_both_streams_together(count: int, expected: str) -> None:
    said = pieces((0, "a\nb\n"), (1, "C1\nC2\n"), (0, "d"), (0, "\n"), (1, "f\n"))
    assert expected == b"".join(piece.data for piece in lines_from(iter(said), count)).decode()


def test_the_rest_of_a_line_that_is_too_old_is_not_shown() -> None:
    said = pieces((0, "old"), (1, "x\n"), (0, " rest\nnew\n"))
    assert "new\n" == b"".join(piece.data for piece in lines_from(iter(said), 1)).decode()
    assert "x\nnew\n" == b"".join(piece.data for piece in lines_from(iter(said), 2)).decode()


def test_a_line_of_ten_megabytes_is_one_line(run_dir: RunDir) -> None:
    write(run_dir, (STDOUT, b"first\n"), *[(STDOUT, b"x" * 65536)] * 160, (STDOUT, b"\n"), (STDOUT, b"last\n"))
    last = lines_from(Output(run_dir).new_pieces(), 2)
    assert 160 * 65536 + 6 == sum(len(piece.data) for piece in last)
