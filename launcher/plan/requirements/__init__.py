"""Requirements of an experiment: read, resolved by uv, locked with hashes."""
