"""Who may run now, and on which GPUs, cpus and memory."""
