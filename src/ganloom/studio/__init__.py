"""The studio: a local web app beside the pipeline. Its first page is curation."""
