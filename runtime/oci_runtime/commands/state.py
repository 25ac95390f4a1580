"""`state ID`."""

from __future__ import annotations

import json

from runtime.oci_runtime import record
from runtime.oci_runtime.main import Context, one_id
from runtime.oci_runtime.options import Option, Parsed

SYNOPSIS = "ID"
OPTIONS: tuple[Option, ...] = ()


def run(given: Parsed, context: Context) -> int:
    container = record.read(context.root, one_id(given))
    state = {**container.state(), "created": container.created_at, "owner": container.owner}
    print(json.dumps(state, indent=2))
    return 0
