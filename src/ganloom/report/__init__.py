"""The report of a run; ``build.build`` creates the page."""
