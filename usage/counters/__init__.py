"""Counting what limits and budgets bound: `memory` in this process, `redis` for all processes together."""
