"""ganloom: from a few hundred images to a trained image generator and a report."""

__version__ = "0.2.0"
