"""What another schedule would have answered, from recorded arrivals."""
