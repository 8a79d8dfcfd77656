"""The report of a run: `build.build` makes the page."""
