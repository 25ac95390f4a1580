"""The GPUs and other devices of a run: what is asked of this machine, whether the image fits them, what they add to a
container.
"""
