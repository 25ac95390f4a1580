"""GPUs of a machine: which there are, who may use them, what a container gets for them, how they do while a run has them."""
