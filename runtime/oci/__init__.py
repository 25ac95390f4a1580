"""Documents of the OCI specifications; no I/O."""
