"""A model worker reads requests, refuses those it would answer too late, and evaluates the rest."""
