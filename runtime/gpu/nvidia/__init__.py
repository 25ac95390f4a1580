"""NVIDIA GPUs: the driver, what NVML and the kernel module tell, what an image needs of them."""
