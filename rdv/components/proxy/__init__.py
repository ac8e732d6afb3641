"""The proxy: the hot door. Requests go into the input stream, results come back to the client."""
