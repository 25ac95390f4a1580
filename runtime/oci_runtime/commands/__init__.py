"""One file a command of the OCI runtime."""
