"""The rendezvous server: a thin loop around the engine."""
