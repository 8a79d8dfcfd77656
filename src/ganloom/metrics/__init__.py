"""How good generated pictures are: distances to real ones, coverage of them, copies of them."""
