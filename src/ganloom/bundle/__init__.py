"""Bundles: trained generators in a folder that runs and is published on its own."""
