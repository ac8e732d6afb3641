"""A rule that stands in for the server."""

version = "1"


def predict(rows):
    return [{"score": 1.0 if row.get("amount", 0) > 1000 else 0.0} for row in rows]
