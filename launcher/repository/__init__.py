"""Somebody's repository, read for `launch init`: what its environment is, how it is started, what it fetches and prints."""
