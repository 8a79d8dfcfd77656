"""Pictures from trained generators: latents, batches, animations."""
