"""What an image starts from, pinned: a Debian base of ours, an image of a registry or in files, the image of a Dockerfile."""
