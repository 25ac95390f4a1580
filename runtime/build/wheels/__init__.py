"""Wheels as layers: fetched or built, laid out, compiled by the image's own interpreter."""
