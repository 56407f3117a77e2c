"""Leaves out doctests of modules whose framework is not installed; their own tests say so when they are skipped."""

from __future__ import annotations

from importlib.util import find_spec

FRAMEWORKS = {
    "beir": "beir",
    "haystack": "haystack",
    "langchain": "langchain_core",
    "llama_index": "llama_index",
    "pyterrier": "pyterrier",
}
missing = [module for module, package in FRAMEWORKS.items() if find_spec(package) is None]
collect_ignore = [f"src/lexite/integrations/{module}.py" for module in missing]
