"""What can be wrong around a daemon, each found out and told with what to do; secrets are never read out."""
