"""What happens by itself: deciding that a job is due, sending it, recording what came back."""
