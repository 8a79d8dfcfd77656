"""Seamless tiles and large cloths made from square samples."""
