"""A package at work: photo → tensors → segments → answer."""
