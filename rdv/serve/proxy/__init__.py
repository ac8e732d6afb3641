"""The proxy serves HTTP: it writes requests to the input stream and returns results to clients."""
