"""The command line: `serve` runs the daemon, everything else asks it over its API."""
