"""`launch build -f`: Dockerfiles, with docker's options."""
