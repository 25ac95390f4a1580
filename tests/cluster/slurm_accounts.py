"""The accounts of a throw-away Slurm (slurm_bed.py): slurmdbd on a MariaDB of its own, in its directory. Then sacct answers."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

_UP_WITHIN_S = 60.0

_DAEMON = """\
AuthType=auth/munge
AuthInfo=socket={root}/munge.sock
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={port}
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database}
StorageUser=slurm
StoragePass=x
StorageLoc=accounts
PidFile={root}/slurmdbd.pid
LogFile={root}/slurmdbd.log
"""
_SQL = "create database accounts; create user slurm@'127.0.0.1' identified by 'x'; grant all on accounts.* to slurm@'127.0.0.1';"


def accounting_settings(root: Path, port: int) -> dict[str, object]:
    """What slurm.conf says of it."""
    return {
        "AccountingStorageType": "accounting_storage/slurmdbd",
        "AccountingStorageHost": "127.0.0.1",
        "AccountingStoragePort": port,
        "AccountingStoragePass": root / "munge.sock",
        "AccountingStorageTRES": "gres/gpu",
    }


@contextmanager
def accounts(root: Path, environ: dict[str, str], *, port: int, database: int) -> Iterator[None]:
    """slurmdbd listens on *port* for the body. munged runs; slurmdbd itself ends by its pid file, as the other daemons do."""
    with ExitStack() as owned:
        owned.enter_context(_mariadb(root, database))
        (root / "slurmdbd.conf").write_text(_DAEMON.format(root=root, port=port, database=database))
        (root / "slurmdbd.conf").chmod(0o600)
        subprocess.run(["slurmdbd"], env=environ, check=True, capture_output=True)
        _wait(["sacctmgr", "--noheader", "show", "cluster"], environ)
        subprocess.run(["sacctmgr", "-i", "-Q", "add", "cluster", "bed"], env=environ, check=True, capture_output=True)
        yield


@contextmanager
def _mariadb(root: Path, port: int) -> Iterator[None]:
    data, socket = root / "database", root / "database.sock"
    made = ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--user=root", "--skip-test-db"]
    subprocess.run([*made, "--auth-root-authentication-method=normal"], check=True, capture_output=True)
    places = [f"--datadir={data}", f"--socket={socket}", f"--pid-file={root}/database.own-pid"]
    listens = ["--user=root", "--bind-address=127.0.0.1", f"--port={port}", "--innodb-buffer-pool-size=32M"]
    with (root / "database.log").open("wb") as log:
        server = subprocess.Popen(["mariadbd", "--no-defaults", *places, *listens], stdout=log, stderr=log)
    try:
        client = ["--no-defaults", "-uroot", "-S", str(socket)]
        _wait(["mariadb-admin", *client, "ping"], None)
        subprocess.run(["mariadb", *client, "-e", _SQL], check=True, capture_output=True)
        yield
    finally:
        server.kill()  # its files go, too
        server.wait()


def _wait(argv: list[str], environ: dict[str, str] | None) -> None:
    deadline = time.monotonic() + _UP_WITHIN_S
    while subprocess.run(argv, env=environ, capture_output=True, check=False).returncode != 0:
        assert time.monotonic() < deadline, f"not up: {' '.join(argv)}"
        time.sleep(0.05)
