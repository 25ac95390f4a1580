"""An OCI runtime: bundles become containers by the command line that podman, containerd and others speak."""
