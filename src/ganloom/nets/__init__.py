"""Networks: one module per kind, each with ``generator`` and ``discriminator``, and blocks."""
