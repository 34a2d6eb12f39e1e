"""What is true about jobs: values and decisions, no I/O."""
