"""The operations that every API, dialect and page calls."""
