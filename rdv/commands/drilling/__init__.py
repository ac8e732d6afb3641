"""What `rdv drill` shows."""
