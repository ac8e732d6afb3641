"""The processes of a decision: proxy, worker and server.

They never import each other; they communicate by topics, whose names are in `places`.
"""
