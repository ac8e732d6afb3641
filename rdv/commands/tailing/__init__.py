"""What `rdv tail` is made of: which records, and how they are shown."""
