"""A decision runs as processes of three kinds: proxy, worker and server.

They never import each other; they communicate by topics (`rdv.rendezvous.topology`).
"""
