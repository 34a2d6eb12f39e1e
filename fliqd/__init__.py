"""fliqd calls HTTP endpoints on time."""

__version__ = "0.1.0"
RELEASED_MS = 1_795_305_600_000  # 2026-11-22; a clock that stands before this has not been set
