"""What the classes for LangChain, LlamaIndex, Haystack, PyTerrier and beir have in common: documents, metadata, filters."""
