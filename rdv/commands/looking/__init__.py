"""What `rdv status` is made of: reading the streams, and showing what they say."""
