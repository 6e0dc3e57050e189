"""The documents that describe the API: OpenAPI 3.1 and AsyncAPI 3."""
