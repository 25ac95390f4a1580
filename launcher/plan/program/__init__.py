"""What runs in the container: command and user, environment, mounts and limits."""
