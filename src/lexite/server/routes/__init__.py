"""The route table of the API: a file for each kind of thing, each with a function that makes its router."""
