"""Runs on a cluster: its own scheduler places them, we write the job and read what became of it."""
