"""What is known of an image that was made: how it was made, what is in it, and whether it can be made again."""
