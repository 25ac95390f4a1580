"""`launch runs`: what ran, and what to do with it."""
