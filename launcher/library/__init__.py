"""What `import launcher` gives: launch, watch, compare and search runs from a script or a notebook."""
