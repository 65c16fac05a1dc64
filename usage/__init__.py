"""Metering: usage records, roll-ups, budgets, reports. Above `tenants`, below `gateway`."""
