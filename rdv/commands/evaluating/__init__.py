"""What the commands that learn from the log share."""
