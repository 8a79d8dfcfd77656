"""Enlarging: a small super-resolution network, trained on the collection's own originals."""
