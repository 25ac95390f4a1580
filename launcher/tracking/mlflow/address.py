"""Where MLflow is: the local server's socket, or `tracking.uri` with the caller's credentials.

Credentials come from where MLflow's own client takes them: `MLFLOW_TRACKING_TOKEN`, `MLFLOW_TRACKING_USERNAME` and
`MLFLOW_TRACKING_PASSWORD`, `~/.mlflow/credentials`. They are never written down. In the address they are refused: it is part of
the configuration, which is recorded, uploaded and shown to the program. Talking to the server is `rest.py`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from launcher.errors import ConfigError
from runtime.light_dataclasses import dataclass, field

_END_BYTES = 4096


@dataclass(frozen=True, slots=True)
class LocalAddress:
    """The server of this LAUNCH_HOME."""

    state_root: Path

    @property
    def socket(self) -> Path:
        return self.state_root / "mlflow" / "server.sock"

    @property
    def artifacts(self) -> Path:
        """Where it keeps what it shows as `mlflow-artifacts:/`."""
        return self.state_root / "mlflow" / "artifacts"

    @property
    def log(self) -> Path:
        """What it says."""
        return self.state_root / "mlflow" / "server.log"

    def last_words(self) -> str | None:
        """The last line of its log: of one that cannot load MLflow, the exception."""
        try:
            with open(self.log, "rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - _END_BYTES))
                lines = log.read(_END_BYTES).decode(errors="replace").splitlines()
        except OSError:
            return None
        return next((line.strip() for line in reversed(lines) if line.strip()), None)

    def __str__(self) -> str:
        return f"the local MLflow server (`{self.socket}`)"


@dataclass(frozen=True, slots=True)
class RemoteAddress:
    """A server of the user's, by http or https."""

    scheme: str
    host: str
    port: int
    prefix: str
    """Path below which MLflow answers; without a slash at the end."""
    authorization: str | None = field(default=None, repr=False)

    @property
    def uri(self) -> str:
        default = {"http": 80, "https": 443}[self.scheme]
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}{'' if self.port == default else f':{self.port}'}{self.prefix}"

    def __str__(self) -> str:
        return f"the MLflow server `{self.uri}`"


Address = LocalAddress | RemoteAddress


def parse_uri(uri: str, *, environ: Mapping[str, str] = os.environ) -> RemoteAddress:
    """A `tracking.uri` as an address. Raises ConfigError for one that cannot be or may not be used."""
    from urllib.parse import urlsplit

    from launcher.config import databricks
    from runtime.http.proxies import without_user_info

    parts = urlsplit(uri)
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            f"`tracking.uri` has a user or password in it: `{without_user_info(uri)}`",
            hint="the configuration is recorded with each run; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead",
        )
    if databricks.is_databricks(uri):
        raise ConfigError(f"`{without_user_info(uri)}` is no server to track on: {databricks.WHY}", hint=databricks.INSTEAD)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            f"`tracking.uri` is not the address of an MLflow server: `{without_user_info(uri)}`",
            hint="write `http://HOST:PORT` or `https://HOST`, `tracking=local` for the local server, `tracking=none` for none",
        )
    try:
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"`tracking.uri` has no valid port: `{without_user_info(uri)}`") from error
    return RemoteAddress(
        scheme=parts.scheme,
        host=parts.hostname,
        port=port or (443 if parts.scheme == "https" else 80),
        prefix=parts.path.rstrip("/"),
        authorization=_authorization(environ),
    )


def _authorization(environ: Mapping[str, str]) -> str | None:
    # The order is that of mlflow/utils/rest_utils.py: a user name wins over a token.
    user, password = environ.get("MLFLOW_TRACKING_USERNAME"), environ.get("MLFLOW_TRACKING_PASSWORD")
    token = environ.get("MLFLOW_TRACKING_TOKEN")
    if not (user and password) and not token:
        user, password = _credentials_file(environ)
    if user and password:
        from base64 import b64encode

        return "Basic " + b64encode(f"{user}:{password}".encode()).decode()
    return f"Bearer {token}" if token else None


def _credentials_file(environ: Mapping[str, str]) -> tuple[str | None, str | None]:
    path = Path(environ.get("HOME", "/")) / ".mlflow" / "credentials"
    if not path.is_file():
        return None, None
    from configparser import ConfigParser

    parser = ConfigParser(interpolation=None)
    parser.read(path)
    if "mlflow" not in parser:
        return None, None
    return parser["mlflow"].get("mlflow_tracking_username"), parser["mlflow"].get("mlflow_tracking_password")
