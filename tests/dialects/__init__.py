"""The stand-in APIs, each held against what its reference says."""
