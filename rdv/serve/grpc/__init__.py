"""Serves the Open Inference Protocol by gRPC: a proxy whose clients come by another way."""
