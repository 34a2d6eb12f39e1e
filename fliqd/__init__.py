"""fliqd calls HTTP endpoints on time."""

__version__ = "0.1.0"
