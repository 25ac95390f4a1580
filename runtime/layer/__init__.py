"""Directory trees as manifests, and manifests as tar streams."""
