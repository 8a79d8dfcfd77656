"""Seamless tiles and large cloths from square samples."""
