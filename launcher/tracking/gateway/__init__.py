"""What a run's program sees of MLflow: a server of its own on loopback."""
