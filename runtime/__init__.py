"""What a machine does: layers, images, containers, GPUs. Standard library only at import time; never imports launcher."""
