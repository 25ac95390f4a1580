"""What a program is told that has only a part of a GPU. Nothing enforces it: the driver gives each process what it asks for.

Two frameworks take (nearly) all memory of a GPU at their start unless they are told otherwise, and would push out whoever shares
it: JAX takes three quarters, TensorFlow everything. PyTorch grows; `torch.cuda.set_per_process_memory_fraction` bounds it.
"""

from __future__ import annotations

_CONTEXT = 0.9
"""Of a part, what tensors may take; the rest is for the CUDA context and the libraries' kernels."""


def part_env(share: float, memory_bytes: int) -> dict[str, str]:
    """Variables for a program with *share* of a GPU, *memory_bytes* of its memory (0: the driver doesn't tell)."""
    env = {
        "LAUNCH_GPU_SHARE": f"{share:g}",
        "XLA_PYTHON_CLIENT_MEM_FRACTION": f"{share * _CONTEXT:.3g}",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    }
    return {**env, "LAUNCH_GPU_MEMORY_BYTES": str(memory_bytes)} if memory_bytes else env
