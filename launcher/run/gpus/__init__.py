"""GPUs of a run: the queue for them, their lease, their watch."""
