"""The studio: a local web app that curates, generates, mixes and edits."""
