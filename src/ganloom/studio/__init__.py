"""The studio: a local web app to curate, generate, mix, edit and weave."""
