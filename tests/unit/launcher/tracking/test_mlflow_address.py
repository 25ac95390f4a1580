"""`tracking.uri` and the caller's credentials."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.errors import ConfigError
from launcher.tracking.mlflow.address import LocalAddress, parse_uri
from launcher.tracking.mlflow.connection import Connection, MlflowUnreachable


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://mlflow.lab:5000", "http://mlflow.lab:5000"),
        ("https://mlflow.lab/", "https://mlflow.lab"),
        ("https://lab:443/mlflow/", "https://lab/mlflow"),
        ("http://[::1]:80", "http://[::1]"),
    ],
)
def test_an_address(uri: str, shown: str) -> None:
    assert shown == parse_uri(uri, environ={}).uri


@pytest.mark.parametrize("uri", ["sqlite:///x.db", "./mlruns", "databricks", "http://", "http://lab:port", "http://u:p@lab"])
def test_what_is_no_address_of_a_server_is_exit_2(uri: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_uri(uri, environ={})
    assert 2 == refused.value.exit_code
    assert "u:p" not in refused.value.message


@pytest.mark.parametrize(
    "uri",
    [
        "databricks",
        "databricks-uc",
        "databricks://profile",
        "DATABRICKS://a:b",
        "https://adb-1.2.azuredatabricks.net",
        "https://x.cloud.databricks.com:443/api",
    ],
)
def test_databricks_is_refused_with_what_to_do(uri: str) -> None:
    with pytest.raises(ConfigError, match="Databricks'") as refused:
        parse_uri(uri, environ={})
    assert 2 == refused.value.exit_code
    assert "tracking=none" in str(refused.value.hint)


@pytest.mark.parametrize("uri", ["https://databricks.lab", "https://lab/databricks", "http://lab?x=.databricks.com/"])
def test_a_server_that_only_sounds_like_databricks_is_one(uri: str) -> None:
    assert parse_uri(uri, environ={})


@pytest.mark.parametrize(
    ("environ", "authorization"),
    [
        ({}, None),
        ({"MLFLOW_TRACKING_TOKEN": "t"}, "Bearer t"),
        ({"MLFLOW_TRACKING_USERNAME": "a", "MLFLOW_TRACKING_PASSWORD": "b"}, "Basic YTpi"),
        ({"MLFLOW_TRACKING_USERNAME": "a", "MLFLOW_TRACKING_PASSWORD": "b", "MLFLOW_TRACKING_TOKEN": "t"}, "Basic YTpi"),
        ({"MLFLOW_TRACKING_USERNAME": "a"}, None),
    ],
)
def test_credentials_of_the_environment(environ: dict[str, str], authorization: str | None) -> None:
    address = parse_uri("http://lab", environ=environ)
    assert authorization == address.authorization
    assert "YTpi" not in repr(address)


def test_credentials_of_mlflows_own_file(tmp_path: Path) -> None:
    (tmp_path / ".mlflow").mkdir()
    (tmp_path / ".mlflow" / "credentials").write_text("[mlflow]\nmlflow_tracking_username = a\nmlflow_tracking_password = b%\n")
    assert "Basic YTpiJQ==" == parse_uri("http://lab", environ={"HOME": str(tmp_path)}).authorization


def test_a_local_server_that_does_not_come_up_is_quoted(tmp_path: Path) -> None:
    """Another package of its environment, an old alembic, may keep MLflow from being imported."""
    (tmp_path / "mlflow").mkdir()
    address = LocalAddress(tmp_path)
    with pytest.raises(MlflowUnreachable, match=r"cannot reach the local MLflow server \(`.*`\): [^;]*$"):
        Connection(address, timeout_s=1).request("GET", "/health", headers={})
    address.log.write_text("x" * 9000 + "\nTraceback (most recent call last):\nImportError: cannot import name `_literal`\n\n")
    with pytest.raises(MlflowUnreachable, match=r"; its log ends with `ImportError: cannot import name `_literal``"):
        Connection(address, timeout_s=1).request("GET", "/health", headers={})
