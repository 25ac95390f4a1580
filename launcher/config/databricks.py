"""Addresses of Databricks' MLflow. They are refused: much of the API would answer, and the rest (logins, names of experiments,
storage of artifacts) is Databricks' own, so that a run would be recorded by half.
"""

from __future__ import annotations

import re

WHY = "it is Databricks', whose logins, experiments and storage are not those of an MLflow server"
INSTEAD = (
    "`tracking=none` keeps the run's directory only; a program may still log to Databricks itself, "
    "with a `network`, `secrets` (DATABRICKS_HOST, DATABRICKS_TOKEN) and `mlflow.set_tracking_uri`"
)

_SCHEME = re.compile(r"databricks(-uc)?(:.*)?", re.DOTALL)
_DOMAINS = r"databricks\.(com|us|mil|azure\.us|azure\.cn)|azuredatabricks\.net"
_HOST = re.compile(rf"https?://[^/?#]*\.({_DOMAINS})\.?(:\d*)?([/?#].*)?", re.DOTALL)


def is_databricks(uri: str) -> bool:
    return bool(_SCHEME.fullmatch(uri.lower()) or _HOST.fullmatch(uri.lower()))
