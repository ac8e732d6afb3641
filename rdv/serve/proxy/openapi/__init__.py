"""Describes a proxy's HTTP interface: OpenAPI 3.1 at /openapi.json, and a page of it at /docs."""
