"""`launch images`: what the store holds, and what to do with it."""
