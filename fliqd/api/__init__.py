"""The REST API under `/v1`: documents in, operations called, documents out."""
