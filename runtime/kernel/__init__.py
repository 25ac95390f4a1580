"""System calls, typed. The only place of ctypes."""
