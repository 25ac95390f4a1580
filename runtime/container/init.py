"""PID 1 of a container: starts the program, passes signals on, reaps, keeps what must live as long as the container, and records
how the program ended.

It holds the read ends of the program's output, the gateway's listener, and lease descriptors, so that the death of the
supervisor harms nothing: whoever adopts the run gets them through the init socket. While nobody is there it writes the output to
the logs itself. It is a fork of the supervisor that never execs, so it may import nothing once the root is changed.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from runtime.container.handshake import channel, receive, send
from runtime.container.inherited_fds import InheritedFds
from runtime.container.logs import LogPump, OutputLog
from runtime.container.program import Program, exec_program
from runtime.container.pty import open_pty
from runtime.container.rank_tasks import FAILED, RankTask, RankTasks, rank_variables, say
from runtime.container.side_programs import SidePrograms, next_request
from runtime.container.spec import ProcessExit, World
from runtime.container.staying import Stay
from runtime.kernel import processes
from runtime.light_dataclasses import dataclass, field
from runtime.network import loopback

if TYPE_CHECKING:
    from runtime.container.owner_reports import OwnerReports

_FORWARDED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
    signal.SIGCONT,
)
"""Sent to init itself, they reach the program too. PID 1 gets no signal that it has no handler for."""

_ENDING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGKILL})
"""What ends a container without a program of its own."""

_READ_WITHIN_S = 11.0
"""How long a follower may take to read the last of the output. One that was killed while it made a user namespace leaves a child
that keeps its connection for ten seconds (`namespaces.py`)."""
_LOOK_AGAIN_MS = 1


@dataclass(slots=True)
class Init:
    """The loop of PID 1."""

    program: Program
    inherited: InheritedFds
    listener: socket.socket | None
    ranks: int
    rank_grace_s: float
    world: World | None = None
    """Where ranks of several machines meet; None: these are all."""
    rank_aliases: tuple[tuple[str, str], ...] = ()
    tasks: RankTasks | None = None
    """Who comes for the ranks; None: they begin at once."""
    stay: Stay | None = None
    """Of a container that has no program of its own."""
    running: dict[int, int] = field(default_factory=dict)
    """pid → rank"""
    outcome: ProcessExit | None = None
    kill_at: float | None = None
    connections: dict[int, socket.socket] = field(default_factory=dict)
    """Who follows the container: its creator, or who adopted it."""
    env: dict[str, str] = field(default_factory=dict)
    """The program's whole environment, once it has started."""
    side: SidePrograms = field(default_factory=SidePrograms)
    pump: LogPump | None = None
    woken: int = -1
    terminal: int | None = None
    """The master of the program's terminal, which is its stdout for whoever follows it."""
    owner_reports: OwnerReports | None = None

    @property
    def port(self) -> int | None:
        """The listener's."""
        return None if self.listener is None else int(self.listener.getsockname()[1])

    def run(self) -> int:
        """The exit code to end with, after the program has ended and is recorded."""
        self._watch_signals()
        self._reap()  # who held the layers' trees (`child.py`), if that ended before anybody watched
        self.connections = {self.inherited.control.fileno(): self.inherited.control}
        extra = self._wait_at_gate()
        if extra is None:
            return 0
        self.env = {**self.program.env, **extra}
        self.world = self.world or World("127.0.0.1", loopback.free_port() if self.ranks > 1 else 0, 0, self.ranks)
        if self.tasks is None:
            self._start(range(self.ranks))
        while self.running or self._stays() or (self.tasks is not None and self.tasks.absent):
            self._step(self._wait_ms())
        assert self.outcome is not None
        ended_at = time.time()
        self._see_output_read()
        self._keep_owner_notes()
        self._record(self.outcome, ended_at)
        if self.inherited.adoption is not None:
            # Before the callers' connections: whoever sees the end of one and comes again is refused, not left waiting.
            self.inherited.adoption.close()
        return self.outcome.shell_code & 0xFF

    def _stays(self) -> bool:
        """Whether a container without a program of its own goes on: until it is to end, and those in it have left."""
        if self.stay is None:
            return False
        gpus = self.stay.look()
        for connection in self.connections.values() if gpus is not None else ():
            send(connection, {"gpus": gpus})
        if not self.stay.is_ending:
            return True
        if self.stay.leave_by is None:
            self.stay.leave_by = time.monotonic() + self.rank_grace_s
            self.side.signal_all(signal.SIGHUP)
        if self.side.pids and time.monotonic() < self.stay.leave_by:
            return True
        self.outcome = ProcessExit(None, self.stay.ended_by) if self.stay.ended_by else ProcessExit(0, None)
        return False

    def _see_output_read(self) -> None:
        """Wait until the output is in the logs: a follower may be killed before it has read the last of it, and what is in the
        pipes then would go with init. What the program left behind says no more."""
        if self.inherited.logs is None:
            return
        self.side.pids.clear()  # they end with the container, not by a signal: their callers see its end
        with suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        give_up_at = time.monotonic() + _READ_WITHIN_S
        while self.pump is None and self._has_unread_output() and time.monotonic() < give_up_at:
            self._step(_LOOK_AGAIN_MS)
        if self.pump is not None:
            self.pump.drain()

    def _has_unread_output(self) -> bool:
        poller = select.poll()
        for pipe in (self._stdout, self.inherited.stderr_read):
            poller.register(pipe, select.POLLIN)
        return any(event & select.POLLIN for _pipe, event in poller.poll(0))

    def _watch_signals(self) -> None:
        self.woken, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        processes.reset_signals()
        for number in (*_FORWARDED, signal.SIGCHLD):
            signal.signal(number, lambda _number, _frame: None)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)

    def _wait_at_gate(self) -> dict[str, str] | None:
        """The extra variables to start with; None when the creator is gone or asked for the end before the start."""
        while True:
            message = receive(self.inherited.control)
            if message is None:
                return None
            document, _fds = message
            if "start" in document:
                extra: dict[str, str] = document["start"]
                return extra
            if "signal" in document:
                self._record(ProcessExit(None, document["signal"]), time.time())
                return None

    def _start(self, ranks: Sequence[int], task: RankTask | None = None) -> None:
        """Begin *ranks* of the program, as *task* came for."""
        assert self.world is not None
        slave = None if self.program.terminal is None else self._open_terminal(*self.program.terminal)
        for rank in ranks:
            of_rank = rank_variables(rank, self.ranks, self.world, self.rank_aliases)
            answering, asking = channel() if self.program.seccomp_asking is not None else (None, None)
            pid = processes.fork_deaf()
            if pid == 0:
                code = 125
                try:
                    kept = (slave, asking.fileno() if asking else None, self.program.user_namespace)
                    processes.close_fds(keep=[*(fd for fd in kept if fd is not None), *(task.fds if task else ())])
                    of_rank |= task.variables() if task else {}
                    code = exec_program(self.program, {**self.env, **of_rank}, asking, slave)
                except BaseException as error:
                    say(f"the program can't be started: {error}")
                finally:
                    os._exit(code)
            self.running[pid] = rank
            if answering is not None and asking is not None:
                asking.close()
                self._listen_for_owners(answering)
        if slave is not None:
            os.close(slave)

    def _open_terminal(self, rows: int, columns: int) -> int:
        """The slave of the program's terminal. Its master is ours, and of those who follow the program or type there."""
        root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.terminal, slave = open_pty(root, rows, columns)
        os.close(root)
        send(self.inherited.control, {"terminal": True}, (self.terminal,))
        return slave

    @property
    def _stdout(self) -> int:
        return self.inherited.stdout_read if self.terminal is None else self.terminal

    def _listen_for_owners(self, answering: socket.socket) -> None:
        """Take the listener of the program's filter; none comes when it ended before, or when its filter cannot ask."""
        with answering:
            message = receive(answering)
        if message is not None and message[1]:
            # Loaded by `child.py`: nothing can be found from here.
            from runtime.container.owner_reports import OwnerReports

            self.owner_reports = OwnerReports(message[1][0])

    def _step(self, wait_ms: float | None) -> None:
        """Wait for something to happen, and deal with it."""
        poller = select.poll()
        for fd in (self.woken, *self.connections, *self.side.callers):
            poller.register(fd, select.POLLIN)
        if self.inherited.adoption is not None:
            poller.register(self.inherited.adoption, select.POLLIN)
        for pipe in self.pump.open_pipes if self.pump else ():
            poller.register(pipe, select.POLLIN)
        if self.owner_reports is not None:
            poller.register(self.owner_reports.listener, select.POLLIN)
        for fd, event in poller.poll(wait_ms):
            if fd == self.woken:
                self._signals(os.read(self.woken, 512))
            elif self.owner_reports is not None and fd == self.owner_reports.listener:
                self._take_owner_reports(event)
            elif self.inherited.adoption is not None and fd == self.inherited.adoption.fileno():
                self.side.welcome(self.inherited.adoption)
            elif fd in self.connections:
                self._handle_follower(fd)
            elif fd in self.side.callers:
                self._handle_caller(fd)
            elif self.pump is not None:
                self.pump.pump(fd)
        if self.kill_at is not None and time.monotonic() >= self.kill_at:
            self.kill_at = None
            self._forward_signal(signal.SIGKILL)
        if self.tasks is not None and self.tasks.have_failed():
            self._note_rank_exit(FAILED)

    def _wait_ms(self) -> float | None:
        moments = (
            self.kill_at,
            self.tasks.fail_at if self.tasks is not None else None,
            self.stay.next_look_at if self.stay is not None else None,
        )
        waits = [max(0.0, (moment - time.monotonic()) * 1000) + 1 for moment in moments if moment is not None]
        return min(waits, default=None)

    def _take_owner_reports(self, event: int) -> None:
        assert self.owner_reports is not None
        if event & select.POLLIN:
            self.owner_reports.serve()
            return
        # Nobody is left who has the filter.
        self._keep_owner_notes()
        os.close(self.owner_reports.listener)
        self.owner_reports = None

    def _keep_owner_notes(self) -> None:
        if self.owner_reports is not None and self.inherited.owner_notes is not None:
            os.pwrite(self.inherited.owner_notes, self.owner_reports.document(), 0)

    def _signals(self, numbers: bytes) -> None:
        for number in numbers:
            if number != signal.SIGCHLD:
                self._forward_signal(number)
        self._reap()

    def _forward_signal(self, number: int) -> None:
        if self.stay is not None and number in _ENDING:
            self.stay.end(number)
        if self.tasks is not None and number in _ENDING:
            self.tasks.end()
            self.outcome = self.outcome or (None if self.running else ProcessExit(None, number))
        for pid in self.running:
            os.kill(pid, number)  # our own child, not reaped yet: it can't be another's number

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self.running:
                rank, how = self.running.pop(pid), as_exit(status)
                self._note_rank_exit(how if self.tasks is None else self.tasks.judge(rank, how, self.side.callers))
            else:
                self.side.ended(pid, as_exit(status), leaving=None if self.stay is None else self.stay.ended_by)

    def _note_rank_exit(self, ended: ProcessExit) -> None:
        failed = ended.code != 0
        if self.outcome is None or (failed and self.outcome.code == 0):
            self.outcome = ended
        if failed and self.tasks is not None:
            self.tasks.end()
        if failed and self.running and self.kill_at is None:
            # The other ranks would wait for this one in a collective for as long as their timeout says.
            self._forward_signal(signal.SIGTERM)
            self.kill_at = time.monotonic() + self.rank_grace_s

    def _handle_follower(self, fd: int) -> None:
        message = next_request(self.connections[fd])
        if message is None:
            self.connections.pop(fd).close()
            if self.inherited.adoption is None:
                # Nobody can ever ask how it goes on: its creator waited for it, and is dead.
                os._exit(128 + signal.SIGKILL)
            if not self.connections and self.inherited.logs is not None:
                self.pump = LogPump((self._stdout, self.inherited.stderr_read), OutputLog(self.inherited.logs))
            return
        if "signal" in message[0]:
            self._forward_signal(message[0]["signal"])
        elif "gpus" in message[0] and self.stay is not None:
            self.stay.regain_gpus(message[1])

    def _handle_caller(self, fd: int) -> None:
        """Somebody who connected wants to follow the container, or to run something in it."""
        message = next_request(self.side.callers[fd])
        if message is None:
            self.side.hang_up(fd)
            if self.tasks is not None:
                self.tasks.note_gone(fd, self.running.values())
        elif "task" in message[0]:
            self._handle_task(fd, message[0]["task"], message[1])
        elif "use" in message[0] and self.stay is not None:
            self.stay.use()
        elif "adopt" in message[0]:
            self._adopt(self.side.callers.pop(fd))
        elif "run" in message[0]:
            if self.stay is not None:
                self.stay.use()
            self.side.start(fd, message[0]["run"], message[1], self.program, self.env)
        elif "terminal" in message[0]:
            send(self.side.callers[fd], {"terminal": True}, () if self.terminal is None else (self.terminal,))
        elif "signal" in message[0]:
            self.side.pass_on(fd, message[0]["signal"])

    def _handle_task(self, fd: int, said: dict[str, Any], fds: list[int]) -> None:
        if self.tasks is not None and (task := self.tasks.take(fd, said, fds)) is not None:
            self._start([task.rank], task)
        for each in fds:
            os.close(each)

    def _adopt(self, connection: socket.socket) -> None:
        if self.pump is not None:
            self.pump.flush()
            self.pump = None  # the adopter reads from here on
        own = os.pidfd_open(os.getpid())
        listener = (self.listener.fileno(),) if self.listener is not None else ()
        document = {
            "adopted": self.inherited.container_id,
            "port": self.port,
            "gpus": None if self.stay is None or self.stay.gpus is None else self.stay.gpus.state,
        }
        send(connection, document, (own, self._stdout, self.inherited.stderr_read, *listener))
        os.close(own)
        self.connections[connection.fileno()] = connection

    def _record(self, ended: ProcessExit, at: float) -> None:
        fd = self.inherited.exit_record
        if fd is None:
            return
        used = resource.getrusage(resource.RUSAGE_CHILDREN)  # orphans become children of process 1: all that it reaped is in it
        spent = {"peak_process_bytes": used.ru_maxrss << 10, "cpu_s": round(used.ru_utime + used.ru_stime, 3)}
        line = json.dumps({"code": ended.code, "signal": ended.signal, "at": round(at, 3), **spent}) + "\n"
        os.pwrite(fd, line.encode(), 0)
        os.ftruncate(fd, len(line))
        os.fsync(fd)


def as_exit(status: int) -> ProcessExit:
    """A wait status as a ProcessExit."""
    code = os.waitstatus_to_exitcode(status)
    return ProcessExit(code, None) if code >= 0 else ProcessExit(None, -code)
