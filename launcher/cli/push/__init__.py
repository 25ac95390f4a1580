"""What a push says while it sends."""
