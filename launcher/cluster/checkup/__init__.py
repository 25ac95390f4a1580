"""What would fail on this cluster (`launch doctor --cluster`): Slurm, the shared LAUNCH_HOME and, by a probe, its nodes."""
