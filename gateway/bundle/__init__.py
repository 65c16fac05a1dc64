"""The gateway's door for Python. See docs/python.md.

text, tokens = LLMBundle(tenant_id, "chat").chat("Be brief.", [{"role": "user", "content": "Hello"}])
"""

from gateway.bundle.bundle import LLM4Tenant, LLMBundle
from gateway.bundle.door import close
from gateway.bundle.errors import NotAuthorized

__all__ = ["LLM4Tenant", "LLMBundle", "NotAuthorized", "close"]
