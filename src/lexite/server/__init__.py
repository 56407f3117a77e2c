"""The server: an API over indexes, a page to search, read and steer, and tools for agents (MCP)."""
