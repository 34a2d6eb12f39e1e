"""HTTP/1.1 over connections of our own: one request for each call, never one more."""
