"""Reads descriptors and registry, and writes what the mesh needs: generated code, the edge, OpenAPI."""
