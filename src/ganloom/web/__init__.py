"""Asking the web for pages and files: politely, within limits, and never inside the own network."""
