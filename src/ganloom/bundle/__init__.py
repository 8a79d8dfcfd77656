"""Bundles: trained generators with a small app, as a folder or zip file to publish."""
