"""Models of an MLflow registry: find and download versions, follow aliases, write promotions back.

`rdv.decision.registry` says how a decision sees them. Everything here speaks to the server by its
REST API; MLflow itself is not imported.
"""
