"""A running cluster for each module, shared by its tests."""

from tests.gateway.conftest import cluster

__all__ = ["cluster"]
