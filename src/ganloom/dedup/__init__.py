"""Near-duplicates: the same picture found twice, resized, recompressed, flipped or turned.

A perceptual hash proposes pairs, small colour thumbnails and then details confirm them, and groups
are built around leaders, so that nobody joins a group over a chain of lookalikes. For crops and
strong edits, a network's features propose and a search for the one picture inside the other
confirms.
"""
