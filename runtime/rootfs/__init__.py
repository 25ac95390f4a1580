"""What is mounted where in a container."""
