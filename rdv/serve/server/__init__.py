"""The rendezvous server is a thin loop around the engine."""
