"""Uploads files with MLflow's own client, for servers that don't take uploads: `python -m launcher.tracking.mlflow.upload_main`.

Reads `{"artifact_uri": ..., "files": [[path, file], ...]}` from stdin. The storage's own credentials (AWS_*, ...) come from the
environment. A process of its own, because `import mlflow` takes seconds and hundreds of megabytes.
"""

from __future__ import annotations

import json
import posixpath
import sys
import tempfile
from pathlib import Path
from typing import Any


def main() -> int:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    wanted = json.load(sys.stdin)
    repository: Any = get_artifact_repository(wanted["artifact_uri"])
    with tempfile.TemporaryDirectory(prefix="launch-upload-") as names:
        for number, (path, file) in enumerate(wanted["files"]):
            directory, name = posixpath.split(path)
            # The client names an artifact after its file; ours may be called otherwise (stdout.log → logs/stdout.txt).
            named = Path(names, str(number), name)
            named.parent.mkdir()
            named.symlink_to(file)
            repository.log_artifact(str(named), directory or None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
