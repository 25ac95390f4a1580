"""NVML, driver files, leases and CDI edits. The only place of pynvml."""
