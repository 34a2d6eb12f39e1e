"""Where jobs are kept: `base.py` says what a store promises, `sqlite/` keeps it."""
