"""`python -m runtime`: the OCI runtime's command line."""

from __future__ import annotations

from runtime.oci_runtime.entry import exit_now, main

if __name__ == "__main__":
    exit_now(main())
