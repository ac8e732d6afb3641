"""What `rdv replay` needs besides the library: a worker's rules, and how to show what it found."""
