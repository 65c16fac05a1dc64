"""Local runtimes and cloud endpoints that are discovered and watched. Above `providers`, below `tenants`."""
