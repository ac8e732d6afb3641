"""The processes of a decision: proxy, worker, server. They never import each other: they meet in
topics, whose names are in `places`.
"""
