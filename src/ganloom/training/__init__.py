"""Training: the loop, its data, augmentation, averaging, checkpoints and records."""
