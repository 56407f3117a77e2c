"""Sparse autoencoders in the files of other libraries: SAELens, sparsify, dictionary_learning."""
