"""Near-duplicates: originals that show the same picture, resized, recompressed, flipped or rotated.

A perceptual hash proposes pairs. Small colour thumbnails, then details, confirm them. Each image is
compared with the keepers of groups only, so that a chain of similar images does not form a group.
Crops and strong edits are proposed by a network's features, and confirmed by locating one image in
the other.
"""
