"""HTTP client with limits per host, robots.txt, and protection of the local network."""
