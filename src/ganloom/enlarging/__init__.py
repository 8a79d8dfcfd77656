"""A small super-resolution network (the enlarger), trained on the originals of a collection."""
