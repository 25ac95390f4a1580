"""`launch gpus`: the GPUs of this machine."""
