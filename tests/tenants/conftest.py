"""Shared with the gateway's tests: a tenant that has everything."""

from tests.gateway.conftest import world

__all__ = ["world"]
