"""Images: decoding and encoding, tar shards of originals, arrays and contact sheets."""
