"""What `rdv load` is made of: rows, what is counted of the answers, and how it is shown."""
