"""An image written as a Dockerfile with its context, for those who build with docker, podman or buildah."""
