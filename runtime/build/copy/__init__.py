"""COPY, ADD and WORKDIR: what is copied, where it lands, and the layer that it becomes."""
