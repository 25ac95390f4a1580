"""The queue of runs for GPUs: who may go on now, and with which devices."""
