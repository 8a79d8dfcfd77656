"""Metrics of generated images: distances to real images, coverage, copies."""
